"""Harmony: encoders are trained modality by modality in one federation, then fused by clients that are biased alike.

Ouyang, Xie, Fu, Cheng, Pan, Ling, Xing, Zhou, Huang, "Harmony: Heterogeneous Multi-Modal Federated Learning through
Disentangled Model Training", MobiSys 2023: modality-wise federated learning, then federated fusion learning.

First stage: FedAvg of networks of one modality each. Here a client hides the other modalities of its samples, so that a
linear decoder's part for this modality is the paper's classifier of it; a modality that no sample may lack can't be
hidden and is trained along. Second stage: each client goes on from the resulting encoders with all it has and keeps
them; how far each has turned (cosine distance, as in the published code) is its bias; the server groups clients by
their biases, divided by the largest of a modality, with k-means, and averages decoders within a group, clients alike.

The paper leaves clients of one modality at the first stage; here they take part in the second like all others. Its
allocation of time to modalities is left out: training time is nobody's subject here. k-means begins from the first
client and those furthest off, so that nothing is drawn. The encoders of the first stage are sent again in each round.
"""

from __future__ import annotations

from pydantic import Field

from fedmeki_bench.api import Rule, Update


class HarmonyParams(Rule.Params):
    """Parameters of Harmony."""

    first: float = Field(0.5, gt=0, le=1, description="share of the rounds that the first stage takes; not tuned here")
    groups: int = Field(2, ge=1, le=100, description="how many groups of clients there are at most; not tuned here")


class Harmony(Rule[HarmonyParams]):
    """FedAvg of encoders, each modality by itself; then own encoders, and decoders shared by clients biased alike."""

    title = "Harmony"
    paper = "Ouyang et al., MobiSys 2023"
    views = ("personal",)

    def broadcast(self, server, client, units):
        payload = super().broadcast(server, client, units)
        heads = server.memory.get("heads", {}).get(client, {})
        payload.extra = {unit: head.clone() for unit, head in heads.items() if unit in units}
        return payload

    def client_update(self, ctx, received):
        if ctx.round < self.params.first * ctx.settings.rounds:
            ctx.load(received)
            for modality in sorted({m for task in ctx.data for m in ctx.model.tasks[task]}):
                ctx.train(self, received, data=_alone(ctx, modality))
            return ctx.update()
        self.personal(ctx, received)
        ctx.train(self, received)
        ctx.keep_personal()
        update = ctx.update()
        heads = {unit: update.model.restrict([unit]) for unit in ctx.units if unit.startswith("decoder.")}
        biases = {u: _turned(received.model, update.model, u) for u in ctx.units if u not in heads}
        return Update(ctx.client, extra=heads, numbers=biases, loss=update.loss, steps=update.steps)

    def personal(self, ctx, received):
        ctx.load_personal(received)
        for head in received.extra.values():
            ctx.model.load(head)
        return ctx.model.values.restrict(ctx.units)

    def aggregate(self, server, updates):
        if server.round < self.params.first * server.computing.settings.rounds:
            return super().aggregate(server, updates)
        heads, told = server.memory.setdefault("heads", {}), list(updates)  # decoders alone: small
        groups = _groups([update.numbers for update in told], self.params.groups)
        for group in set(groups):
            members = [update for update, of in zip(told, groups, strict=True) if of == group]
            for unit in {unit for update in members for unit in update.extra}:
                having = [update for update in members if unit in update.extra]
                mean = sum((update.extra[unit] for update in having[1:]), having[0].extra[unit]) * (1 / len(having))
                for update in having:
                    heads.setdefault(update.client, {})[unit] = mean.clone()


def _alone(ctx, modality):
    """Task -> the client's samples with this modality and, as far as they may be hidden, no other."""
    found = {}
    for task, part in ctx.data.items():
        if modality in ctx.model.tasks[task] and modality not in part.lacking:
            others = set(ctx.model.tasks[task]) - {modality}
            found[task] = part.hiding(others & set(part.cohort.optional))
    return found


def _turned(before, after, unit):
    """The cosine distance of a unit's parameters."""
    import torch  # here, so that a list of rules loads no torch

    one, other = (model.segment(unit, trained_only=True) for model in (before, after))
    return 1.0 - float(torch.cosine_similarity(one, other, dim=0))


def _groups(biases, k):
    """The group of each client, by k-means on its biases; a bias that a client does not have is 0."""
    import torch

    names = sorted({name for client in biases for name in client})
    points = torch.tensor([[client.get(name, 0.0) for name in names] for client in biases], dtype=torch.float64)
    points = points / points.amax(dim=0).clamp(min=1e-12)
    centres = points[:1]
    while len(centres) < min(k, len(points.unique(dim=0))):
        furthest = torch.cdist(points, centres).amin(dim=1).argmax()
        centres = torch.cat([centres, points[furthest : furthest + 1]])
    groups = None
    while groups is None or not groups.equal(torch.cdist(points, centres).argmin(dim=1)):
        groups = torch.cdist(points, centres).argmin(dim=1)
        held = [points[groups == g] for g in range(len(centres))]
        centres = torch.stack([of.mean(dim=0) if len(of) else c for of, c in zip(held, centres, strict=True)])
    return groups.tolist()
