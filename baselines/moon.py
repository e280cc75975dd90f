"""MOON: a client's features are drawn towards those of the received model and away from those of its own previous one.

Li, He, Song, "Model-Contrastive Federated Learning", CVPR 2021, Equations 3 and 4 and Algorithm 1.

The paper puts a projection head between encoder and output layer; here the features that a task's decoder reads are
compared, so that the model is that of every other rule. A client that trains a unit for the first time has no previous
model of it: what it receives stands in for it, the two similarities are equal and the term has no gradient. Received
and previous model are evaluated as a model is scored, the model under training as it trains.
"""

from __future__ import annotations

from pydantic import Field

from fedmeki_bench.api import Rule


class MoonParams(Rule.Params):
    """Parameters of MOON."""

    mu: float = Field(
        1.0, ge=0, description="weight of the contrastive term; tuned in the paper among 0.1, 1, 5 and 10, not here"
    )
    temperature: float = Field(0.5, gt=0, description="tau, by which similarities are divided; the paper's value")


class Moon(Rule[MoonParams]):
    """FedAvg with a contrastive term between the features of three models: trained, received, previous."""

    title = "MOON"
    paper = "Li et al., CVPR 2021, Eq. 3-4"
    neutral = {"mu": 0.0}

    def local_loss(self, loss, outputs, params, received, ctx):
        if self.params.mu == 0:
            return loss
        import torch  # here, so that a list of rules loads no torch
        from torch.nn.functional import normalize, softplus

        with torch.no_grad():
            z_glob, z_prev = (
                normalize(ctx.forward(model, ctx.batch).features) for model in (received, ctx.memory["previous"])
            )
        further = (normalize(outputs.features) * (z_prev - z_glob)).sum(dim=-1)  # sim(z, z_prev) - sim(z, z_glob)
        # Eq. 3: -log(e^g / (e^g + e^p)) = log(1 + e^(p - g)), exactly flat where both models are one
        return loss + self.params.mu * softplus(further / self.params.temperature).mean()  # Eq. 4

    def client_update(self, ctx, received):
        if self.params.mu == 0:
            return super().client_update(ctx, received)
        ctx.load_personal(received, "previous")
        ctx.memory["previous"] = ctx.model.values.restrict(ctx.units)
        update = super().client_update(ctx, received)
        del ctx.memory["previous"]
        ctx.keep_personal("previous")
        return update
