"""FedSAM: local steps are taken by the gradient at the worst weights nearby, so that clients look for flat minima.

Qu, Li, Duan, Liu, Tang, Lu, "Generalized Federated Learning via Sharpness Aware Minimization", ICML 2022, Algorithm 1
(FedSAM), after Foret, Kleiner, Mobahi, Neyshabur, "Sharpness-Aware Minimization", ICLR 2021.

Both gradients are taken on the same batch with the same dropout masks. Batch norm learns from the first alone. The
norm runs over the parameters that the batch's task uses. The paper steps by SGD; here the clients' optimiser does.
"""

from __future__ import annotations

from pydantic import Field

from fedmeki_bench.api import Rule


class FedSamParams(Rule.Params):
    """Parameters of FedSAM."""

    rho: float = Field(
        0.05, ge=0, description="how far the weights are moved uphill; SAM's value: the paper tunes it, not tuned here"
    )


class FedSam(Rule[FedSamParams]):
    """FedAvg whose clients descend by the gradient at weights that were moved uphill."""

    title = "FedSAM"
    paper = "Qu et al., ICML 2022, Algorithm 1"
    assumes = {"optimizer": "sgd"}
    neutral = {"rho": 0.0}

    def step(self, ctx, params, batch, received):
        loss = super().step(ctx, params, batch, received)
        if self.params.rho == 0:
            return loss
        import torch  # here, so that a list of rules loads no torch

        # what no sample of the batch reaches, such as the vector for an absent modality, has no gradient
        gradients = torch.autograd.grad(loss, list(params.values()), allow_unused=True)
        uphill = {name: g for name, g in zip(params, gradients, strict=True) if g is not None}
        norm = torch.stack([g.norm() for g in uphill.values()]).norm()
        scale = self.params.rho / (norm + 1e-12)  # rho g / ||g||
        return ctx.loss({name: params[name] + scale * g for name, g in uphill.items()}, batch)
