"""FedNova: clients that take more local steps no longer pull the mean towards their own optimum.

Wang, Liu, Liang, Joshi, Poor, "Tackling the Objective Inconsistency Problem in Heterogeneous Federated Optimization",
NeurIPS 2020, Equations 7 to 10 with a_i = (1, ..., 1), so that ||a_i||_1 = tau_i, the number of local steps.

The paper derives a_i for SGD. With local Adam, whose steps are normalised already, counting them is the same choice.
With several tasks each unit has its own tau_i: a step moves only the units its task uses.
"""

from __future__ import annotations

from fedmeki_bench.api import Rule


class FedNova(Rule):
    """FedAvg with each client's change divided by its number of local steps."""

    title = "FedNova"
    paper = "Wang et al., NeurIPS 2020, Eq. 7-10"
    assumes = {"optimizer": "sgd"}
    version = 1

    def client_update(self, ctx, received):
        update = super().client_update(ctx, received)
        update.numbers = {f"tau.{unit}": float(steps) for unit, steps in ctx.steps.items()}
        return update

    def aggregate(self, server, updates):
        direction, tau_eff = server.model.zeros(buffers=False), {}
        for update in server.changes(updates):
            for unit, p in update.share.items():
                tau = update.numbers[f"tau.{unit}"]
                # - eta p_i d_i, Eq. 8: d_i is the change per step
                direction.segment(unit).add_(update.change.segment(unit), alpha=p / tau)
                tau_eff[unit] = tau_eff.get(unit, 0.0) + p * tau  # Eq. 10
        for unit, tau in tau_eff.items():
            direction.segment(unit).mul_(tau)
        server.apply(direction.restrict(tau_eff))  # Eq. 7: x - tau_eff sum of p_i eta d_i
