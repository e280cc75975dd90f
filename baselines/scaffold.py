"""SCAFFOLD: control variates take the drift of each client's gradients out.

Karimireddy, Kale, Mohri, Reddi, Stich, Suresh, "SCAFFOLD: Stochastic Controlled Averaging for Federated Learning",
ICML 2020, Algorithm 1 with Option II.

Option II's new control variate c_i - c + (x - y_i) / (K eta_l) is, under SGD, the mean of the K raw local gradients.
That mean is what is computed here, so that it means the same under any local optimiser and under gradient clipping
(which comes after the correction). K is counted per unit, because a step moves only the units its task uses.

The paper weighs clients alike; under weights by samples c is the mean of all c_i with these weights, whoever takes
part. (Version 1 normalised them over the clients of a round, so that c drifted off at participation below 1.)
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
    assumes = {"optimizer": "sgd"}
    version = 2

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
        mean, delta_c = Mean(server.model), Mean(self._c(server).zeros())
        for update in updates:
            mean.add(update.model, update.share)
            delta_c.add(update.extra["delta_c"], update.total_share)  # line 16, times |S|/N: c is the mean of all c_i
        for unit in mean.clients:
            x, y = (m.segment(unit, trained_only=True) for m in (server.model, mean.value))
            y.add_(y - x, alpha=self.params.server_lr - 1)  # line 17: x + eta_g (mean of y_i - x)
            self._c(server).segment(unit).add_(delta_c.value.segment(unit))  # c + |S|/N delta_c
        server.model.load(mean.value)

    def _c(self, server):
        """The server's control variate, zero at first: for parameters, not for batch-norm statistics."""
        return server.memory.setdefault("c", server.model.zeros(buffers=False))
