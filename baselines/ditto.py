"""Ditto: beside FedAvg's global model each client trains a personal one, held near the global one.

Li, Hu, Beirami, Smith, "Ditto: Fair and Robust Federated Learning Through Personalization", ICML 2021, Equation
"Ditto" and Algorithm 1: min over v_k of F_k(v_k) + lambda / 2 ||v_k - w*||^2.

A personal model starts from the global model that its client receives first. What is sent is trained before and apart
from it, so the global model is FedAvg's bit for bit.
"""

from __future__ import annotations

from pydantic import Field

from fedmeki_bench.api import Rule


class DittoParams(Rule.Params):
    """Parameters of Ditto."""

    lam: float = Field(1.0, ge=0, description="lambda, pull to the global model; tuned in the paper; 0 trains alone")
    epochs: int | None = Field(
        None, ge=1, le=1000, description="passes over the data for the personal model; local_epochs if not given"
    )


class Ditto(Rule[DittoParams]):
    """FedAvg for the global model, and personal models tied to it by a proximal term, scored per client."""

    title = "Ditto"
    paper = "Li et al., ICML 2021, Algorithm 1"
    version = 1
    views = ("personal", "aggregated")
    neutral = {}

    def local_loss(self, loss, outputs, params, received, ctx):
        distance = sum((v - received[name]).square().sum() for name, v in params.items())  # ||v_k - w^t||^2
        return loss + self.params.lam / 2 * distance

    def client_update(self, ctx, received):
        ctx.load(received)
        ctx.train(Rule(), received)  # w_k: FedAvg's local steps, without the proximal term
        update = ctx.update()
        ctx.load_personal(received)  # v_k
        ctx.train(self, received, epochs=self.params.epochs)
        ctx.keep_personal()
        return update
