"""FedProto: clients exchange the mean features of each class, and no model.

Tan, Long, Liu, Zhou, Lu, Jiang, Zhang, "FedProto: Federated Prototype Learning across Heterogeneous Clients", AAAI
2022, Equations 3 to 8 and Algorithm 1.

Models stay with their clients, which are scored with them. A task has a prototype per class, its features being those
that the decoder reads: two for yes or no, one per class or level, and where a label holds several findings one per
finding, the mean over the samples that have it; a sample counts for each finding it has. A number has no classes: such
a task is trained by each client alone.

The server's prototype is the mean over clients weighted by their samples of the class; Equation 6 divides by the number
of clients once more, the published code doesn't weigh. A class that no client of a round has keeps its prototype. The
distance is the mean squared difference, as in the published code. Prototypes are taken after local training, of the
model as it is scored.
"""

from __future__ import annotations

from pydantic import Field

from fedmeki_bench.api import Payload, Rule, Update


class FedProtoParams(Rule.Params):
    """Parameters of FedProto."""

    lam: float = Field(
        1.0, ge=0, description="lambda, pull of features to prototypes; the paper's, for MNIST; 0 trains alone"
    )


class FedProto(Rule[FedProtoParams]):
    """Clients that train models of their own, drawn towards common mean features of each class."""

    title = "FedProto"
    paper = "Tan et al., AAAI 2022, Algorithm 1"
    views = ("personal",)

    def keeps(self, tensor):
        return True

    def broadcast(self, server, client, units):
        known = server.memory.get("prototypes", {})
        return Payload(extra={task: table.clone() for task, table in known.items() if f"decoder.{task}" in units})

    def local_loss(self, loss, outputs, params, received, ctx):
        table = received.extra.get(ctx.batch.task)
        if self.params.lam == 0 or table is None:
            return loss
        member = _membership(ctx.model.labels[ctx.batch.task], ctx.batch.labels) * (table[:, -1] > 0)
        squares = (outputs.features.float()[:, None] - table[:, :-1]).square().mean(dim=-1)  # (batch, classes)
        return loss + self.params.lam * (member * squares).sum() / member.sum().clamp(min=1)  # Eq. 7

    def client_update(self, ctx, received):
        import torch  # here, so that a list of rules loads no torch

        ctx.load(received)
        ctx.train(self, received)
        trained = ctx.update()
        update = Update(ctx.client, loss=trained.loss, steps=trained.steps)
        for task, part in ctx.data.items():
            features, labels = ctx.features(task, part)
            member = _membership(ctx.model.labels[task], labels)
            samples = member.sum(dim=0)[:, None]
            if samples.any():  # per class the mean features, Eq. 3, and of how many samples
                update.extra[task] = torch.cat([member.T @ features / samples.clamp(min=1), samples], dim=1)
        return update

    def aggregate(self, server, updates):
        known, sums = server.memory.setdefault("prototypes", {}), {}
        for update in updates:
            for task, table in update.extra.items():
                counted = table.clone()
                counted[:, :-1] *= table[:, -1:]
                sums[task] = sums.get(task, 0) + counted
        for task, table in sums.items():
            table[:, :-1] /= table[:, -1:].clamp(min=1)  # Eq. 6
            absent = table[:, -1] == 0
            if task in known:
                table[absent] = known[task][absent]
            known[task] = table


def _membership(spec, labels):
    """(samples, classes) ones where a sample counts for a class; without classes where a label is a number."""
    import torch  # here, so that a list of rules loads no torch

    if spec.how.whole:
        return torch.nn.functional.one_hot(labels.long(), max(len(spec.classes), 2)).float()
    return (labels.reshape(len(labels), -1)[:, : len(spec.classes)] == 1).float()  # NaN: not annotated
