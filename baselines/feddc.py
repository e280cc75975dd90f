"""FedDC: each client remembers how far it has drifted, trains against it, and sends its model with the drift added.

Gao, Fu, Li, Chen, Xu, Xu, "FedDC: Federated Learning with Non-IID Data via Local Drift Decoupling and Correction", CVPR
2022, Equations 4 to 9 and Algorithm 1.

The gradient term G, (g_i - g) / (eta K), holds SCAFFOLD's control variates, which the published code keeps as SCAFFOLD
does (Option II): under SGD c_i is the mean of a client's last local gradients before this correction. That mean is what
is computed here, so that it means the same under any local optimiser and under clipping. K is counted per unit.

The server's c is the mean of all c_i, weighted by samples, whoever takes part, and the model the mean of those sent.
Both the drift and the model are of parameters; batch-norm statistics are averaged.
"""

from __future__ import annotations

from pydantic import Field

from fedmeki_bench.api import Mean, Rule


class FedDCParams(Rule.Params):
    """Parameters of FedDC."""

    alpha: float = Field(
        0.01, ge=0, description="weight of the penalty on drift; a value of the paper's, which tunes it; not tuned here"
    )


class FedDC(Rule[FedDCParams]):
    """FedAvg of models corrected by the clients' drifts, with a penalty on drift and control variates."""

    title = "FedDC"
    paper = "Gao et al., CVPR 2022, Algorithm 1"
    assumes = {"optimizer": "sgd"}

    def broadcast(self, server, client, units):
        payload = super().broadcast(server, client, units)
        payload.extra["c"] = self._c(server).restrict(units)
        return payload

    def local_loss(self, loss, outputs, params, received, ctx):
        h = ctx.memory["h"]
        penalty = sum((h[name] + theta - received[name]).square().sum() for name, theta in params.items())
        return loss + self.params.alpha / 2 * penalty  # R_i: ||h_i + theta_i - w||^2

    def correct_gradients(self, grads, params, received, ctx):
        c, c_i, total = received.extra["c"], ctx.memory["c_i"], ctx.memory["total"]
        for name, g in grads.items():
            total[name].add_(g)
            g.add_(c[name] - c_i[name])  # gradient of G_i

    def client_update(self, ctx, received):
        h, c_i = (ctx.memory.setdefault(n, ctx.model.values.zeros(buffers=False)) for n in ("h", "c_i"))
        ctx.memory["total"] = h.zeros()
        update = super().client_update(ctx, received)
        total, delta = ctx.memory.pop("total"), c_i.restrict(ctx.units)
        for unit, steps in ctx.steps.items():
            new = total.segment(unit) / steps
            delta.segment(unit).copy_(new - c_i.segment(unit))
            c_i.segment(unit).copy_(new)
        for unit in update.model.units:
            theta, w = (m.segment(unit, trained_only=True) for m in (update.model, received.model))
            theta.add_(h.segment(unit).add_(theta - w))  # h_i + (theta_i^+ - theta_i), and theta_i^+ + h_i^+ to be sent
        update.extra["delta_c"] = delta
        return update

    def aggregate(self, server, updates):
        mean, delta_c = Mean(server.model), Mean(self._c(server).zeros())
        for update in updates:
            mean.add(update.model, update.share)  # w: mean of theta_i^+ + h_i^+
            delta_c.add(update.extra["delta_c"], update.total_share)
        self._c(server).flat.add_(delta_c.value.flat)
        server.model.load(mean.value)

    def _c(self, server):
        return server.memory.setdefault("c", server.model.zeros(buffers=False))
