"""FedNova: clients that take more local steps no longer pull the mean towards their own optimum.

Wang, Liu, Liang, Joshi, Poor, "Tackling the Objective Inconsistency Problem in Heterogeneous Federated Optimization",
NeurIPS 2020, Equations 7 to 10 with a_i = (1, ..., 1), so that ||a_i||_1 = tau_i, the number of local steps.

The paper derives a_i for SGD. With local Adam, whose steps are normalised already, counting them is the same choice.
With several tasks each unit has its own tau_i: a step moves only the units its task uses.
"""

from __future__ import annotations

from fedmeki_bench.api import Mean, Rule


class FedNova(Rule):
    """FedAvg with each client's change divided by its number of local steps."""

    title = "FedNova"
    paper = "Wang et al., NeurIPS 2020, Eq. 7-10"
    version = 1

    def client_update(self, ctx, received):
        update = super().client_update(ctx, received)
        update.numbers = {f"tau.{unit}": float(steps) for unit, steps in ctx.steps.items()}
        return update

    def aggregate(self, server, updates):
        mean, tau_eff = Mean(server.model), {}
        direction = server.model.zeros(buffers=False)
        for update in updates:
            mean.add(update.model, update.share)  # batch-norm statistics stay this mean
            for unit, p in update.share.items():
                x, y = (m.segment(unit, trained_only=True) for m in (server.model, update.model))
                tau = update.numbers[f"tau.{unit}"]
                direction.segment(unit).add_(y - x, alpha=p / tau)  # - eta p_i d_i, Eq. 8: d_i is the change per step
                tau_eff[unit] = tau_eff.get(unit, 0.0) + p * tau  # Eq. 10
        for unit, tau in tau_eff.items():
            x, y = server.model.segment(unit, trained_only=True), mean.value.segment(unit, trained_only=True)
            y.copy_(x + tau * direction.segment(unit))  # Eq. 7: x - tau_eff sum of p_i eta d_i
        server.model.load(mean.value)
