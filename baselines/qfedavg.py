"""q-FedAvg: clients with a larger loss count for more, so that the model serves them more alike.

Li, Sanjabi, Beirami, Smith, "Fair Resource Allocation in Federated Learning", ICLR 2020, Algorithm 2 (q-FedAvg).

The paper draws clients by their samples and weighs those drawn alike; here all clients of a round are weighted by their
shares p_k, which is the same objective, the sum of p_k F_k^(q+1) / (q+1). With several tasks each unit has its own F_k
and step size: loss and change of the tasks that use it. With one task that is the paper's.

L stands for the Lipschitz constant of the loss, 1 / eta in the paper, for clients that step by SGD. Under Adam the
change of a round is far longer than eta times a gradient, and so small a step would be left of it that nothing moves;
the default is for Adam, not tuned here.
"""

from __future__ import annotations

from pydantic import Field

from fedmeki_bench.api import Rule


class QFedAvgParams(Rule.Params):
    """Parameters of q-FedAvg."""

    q: float = Field(
        1.0, ge=0, description="how much more large losses count; 0 is FedAvg; tuned in the paper, not here"
    )
    lipschitz: float = Field(0.01, gt=0, description="L; 1 / lr in the paper, for clients that train with SGD")


class QFedAvg(Rule[QFedAvgParams]):
    """FedAvg with changes weighted by powers of the clients' losses, and a step size to match."""

    title = "q-FedAvg"
    paper = "Li et al., ICLR 2020, Algorithm 2"
    assumes = {"optimizer": "sgd"}
    neutral = {"q": 0.0}
    neutral_bitwise = False  # w + sum of p_k (w_k - w) rounds where FedAvg takes the mean itself

    def client_update(self, ctx, received):
        ctx.load(received)
        losses, q, L = ctx.evaluate(ctx.data), self.params.q, self.params.lipschitz
        update = super().client_update(ctx, received)
        change = update.model.restrict(update.model.units, buffers=False) - received.model
        for unit in update.model.units:
            tasks = [t for t, part in ctx.data.items() if unit in ctx.model.units(t, part.lacking)]
            units = {u for t in tasks for u in ctx.model.units(t, ctx.data[t].lacking)}
            square = sum(float(change.segment(u).square().sum()) for u in units) * L**2  # ||Delta w_k||^2
            samples = sum(losses[t].samples for t in tasks)
            F = sum(losses[t].loss * losses[t].samples for t in tasks) / samples + 1e-10  # as the published code
            update.numbers |= {f"F^q.{unit}": F**q, f"h.{unit}": q * F ** (q - 1) * square + L * F**q}
        return update

    def aggregate(self, server, updates):
        step, total = server.model.zeros(buffers=False), {}
        for update in server.changes(updates):
            for unit, p in update.share.items():
                weight = p * self.params.lipschitz * update.numbers[f"F^q.{unit}"]
                step.segment(unit).add_(update.change.segment(unit), alpha=weight)  # - Delta_k = - F_k^q L (w - w_k)
                total[unit] = total.get(unit, 0.0) + p * update.numbers[f"h.{unit}"]
        for unit, h in total.items():
            step.segment(unit).div_(h)
        server.apply(step.restrict(total))  # w - sum of Delta_k / sum of h_k
