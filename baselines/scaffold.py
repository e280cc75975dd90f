"""SCAFFOLD: control variates take the drift of each client's gradients out.

Karimireddy, Kale, Mohri, Reddi, Stich, Suresh, "SCAFFOLD: Stochastic Controlled Averaging for Federated Learning",
ICML 2020, Algorithm 1 with Option II.

Option II's new control variate c_i - c + (x - y_i) / (K eta_l) is, under SGD, the mean of the K raw local gradients.
That mean is what is computed here, so that it means the same under any local optimiser and under gradient clipping
(which comes after the correction). K is counted per unit, because a step moves only the units its task uses.
"""

from __future__ import annotations

from pydantic import Field

from fedmeki_bench.api import Mean, Rule


class ScaffoldParams(Rule.Params):
    """Parameters of SCAFFOLD."""

    server_lr: float = Field(1.0, gt=0, description="the server's step size eta_g; 1 takes the mean, as the paper")


class Scaffold(Rule[ScaffoldParams]):
    """FedAvg with local gradients corrected by control variates; sends twice as much, both ways."""

    title = "SCAFFOLD"
    paper = "Karimireddy et al., ICML 2020, Algorithm 1, Option II"
    version = 1

    def broadcast(self, server, client, units):
        payload = super().broadcast(server, client, units)
        payload.extra["c"] = self._c(server).restrict(units)
        return payload

    def correct_gradients(self, grads, params, received, ctx):
        c, c_i, total = received.extra["c"], ctx.memory["c_i"], ctx.memory["total"]
        for name, g in grads.items():
            total[name].add_(g)
            g.add_(c[name] - c_i[name])  # line 10: g_i(y_i) - c_i + c

    def client_update(self, ctx, received):
        c_i = ctx.memory.setdefault("c_i", ctx.model.values.zeros(buffers=False))
        ctx.memory["total"] = c_i.zeros()
        update = super().client_update(ctx, received)
        total = ctx.memory.pop("total")
        delta = c_i.restrict(ctx.units)
        for unit, steps in ctx.steps.items():
            new = total.segment(unit) / steps  # line 12: c_i^+
            delta.segment(unit).copy_(new - c_i.segment(unit))
            c_i.segment(unit).copy_(new)  # line 14
        update.extra["delta_c"] = delta  # line 13
        return update

    def aggregate(self, server, updates):
        c = self._c(server)
        mean, delta_c = Mean(server.model), Mean(c.zeros())
        for update in updates:
            mean.add(update.model, update.share)
            delta_c.add(update.extra["delta_c"], update.share)  # line 16, with the weights of the model's mean
        for unit, sampled in mean.clients.items():
            x, y = server.model.segment(unit, trained_only=True), mean.value.segment(unit, trained_only=True)
            y.add_(y - x, alpha=self.params.server_lr - 1)  # line 17: x + eta_g (mean of y_i - x)
            c.segment(unit).add_(delta_c.value.segment(unit), alpha=sampled / server.holders[unit])  # c + |S|/N delta_c
        server.model.load(mean.value)

    def _c(self, server):
        """The server's control variate, zero at first: for parameters, not for batch-norm statistics."""
        return server.memory.setdefault("c", server.model.zeros(buffers=False))
