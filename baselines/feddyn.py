"""FedDyn: each client's loss is bent so that all clients' optima meet at the global one.

Acar, Zhao, Matas, Mattina, Whatmough, Saligrama, "Federated Learning Based on Dynamic Regularization", ICLR 2021,
Equation 1 and Algorithm 1.

The paper tunes alpha with SGD. Under Adam, whose steps are of the size of its learning rate whatever the loss, alpha
only weighs the regulariser against the loss's gradient: with 10 it holds the clients where they began, with 0.1 the
server overshoots. The default was chosen on `valid` under the profile `demo` (docs/defaults.md).

The paper's server keeps h and uses h / alpha; here s = h / alpha is kept, which doesn't contain alpha. So the server's
correction does not vanish with alpha; alpha = 0 means no regulariser at all, neither here nor there: FedAvg.

The paper weighs clients alike; under weights by samples h is the sum over all clients with these weights, whoever takes
part. (Version 2 normalised them over the clients of a round, so that h drifted off at participation below 1.)
"""

from __future__ import annotations

from pydantic import Field

from fedmeki_bench.api import Mean, Rule


class FedDynParams(Rule.Params):
    """Parameters of FedDyn."""

    alpha: float = Field(
        0.3, ge=0, description="strength of the regulariser; 0 is FedAvg; the server overshoots if it is too small "
        "for the size of the local steps, the clients stand still if it is too large; the default was chosen on "
        "`valid` among 0.1, 0.3, 1, 3 and 10 with local Adam (the paper tunes it, with SGD)"
    )  # fmt: skip


class FedDyn(Rule[FedDynParams]):
    """FedAvg with a dynamic regulariser: a linear term from the client's memory and a proximal one."""

    title = "FedDyn"
    paper = "Acar et al., ICLR 2021, Algorithm 1"
    assumes = {"optimizer": "sgd"}
    version = 3
    neutral = {"alpha": 0.0}

    def local_loss(self, loss, outputs, params, received, ctx):
        if self.params.alpha == 0:
            return loss
        g = ctx.memory["g"]
        linear = sum((g[name] * w).sum() for name, w in params.items())  # <grad L_k(theta_k^{t-1}), theta>
        distance = sum((w - received[name]).square().sum() for name, w in params.items())  # ||theta - theta^{t-1}||^2
        return loss - linear + self.params.alpha / 2 * distance  # Eq. 1

    def client_update(self, ctx, received):
        if self.params.alpha == 0:
            return super().client_update(ctx, received)
        g = ctx.memory.setdefault("g", ctx.model.values.zeros(buffers=False))
        update = super().client_update(ctx, received)
        # grad L_k(theta_k^t) = grad L_k(theta_k^{t-1}) - alpha (theta_k^t - theta^{t-1})
        for unit in update.model.units:
            before, after = (m.segment(unit, trained_only=True) for m in (received.model, update.model))
            g.segment(unit).add_(after - before, alpha=-self.params.alpha)
        return update

    def aggregate(self, server, updates):
        if self.params.alpha == 0:
            return super().aggregate(server, updates)
        s = server.memory.setdefault("s", server.model.zeros(buffers=False))
        step, drift = Mean(server.model.zeros(buffers=False)), Mean(s.zeros())
        for update in server.changes(updates):
            step.add(update.change, update.share)
            drift.add(update.change, update.total_share)
        for unit in step.clients:
            s.segment(unit).sub_(
                drift.value.segment(unit)
            )  # h^t = h^{t-1} - alpha / m sum of (theta_k^t - theta^{t-1})
            step.value.segment(unit).sub_(s.segment(unit))  # theta^t = mean of theta_k^t - h^t / alpha
        server.apply(step.value.restrict(step.clients))
