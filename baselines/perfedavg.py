"""Per-FedAvg: an initial model from which each client gets far by one gradient step on its own data.

Fallah, Mokhtari, Ozdaglar, "Personalized Federated Learning with Theoretical Guarantees: A Model-Agnostic Meta-Learning
Approach", NeurIPS 2020, Algorithm 1 with the first-order approximation (FO) of its section 5: the Hessian is left out.

The paper draws two independent batches per step; here they are the two halves of one, so that a sample still counts
once in an epoch. Samples that differ in which modalities they have are not halved: both gradients are of the whole
batch. Batch norm learns from the first of the two. A client's personal model is one step of size alpha from what it
receives, along the gradient over all its private samples of the task to be scored, as a model is scored (running
statistics, no dropout). With alpha 0 nothing is adapted and no batch is halved: FedAvg.
"""

from __future__ import annotations

from pydantic import Field

from fedmeki_bench.api import Rule, RunFailed


class PerFedAvgParams(Rule.Params):
    """Parameters of Per-FedAvg."""

    alpha: float = Field(
        0.01, ge=0, description="size of the step by which a model is made personal; 0 is FedAvg; not tuned here"
    )


class PerFedAvg(Rule[PerFedAvgParams]):
    """FedAvg of the gradients that a model has after one step: first-order model-agnostic meta-learning."""

    title = "Per-FedAvg (FO)"
    paper = "Fallah et al., NeurIPS 2020, Algorithm 1 (FO)"
    assumes = {"optimizer": "sgd"}
    views = ("personal", "aggregated")
    neutral = {"alpha": 0.0}

    def step(self, ctx, params, batch, received):
        if self.params.alpha == 0:
            return super().step(ctx, params, batch, received)
        import torch  # here, so that a list of rules loads no torch

        try:
            first, second = batch.halves()
        except RunFailed:
            first = second = batch
        loss, _ = ctx.outputs(first)
        gradients = torch.autograd.grad(loss, list(params.values()), allow_unused=True)  # of f_i(w, D)
        steps = {name: g for name, g in zip(params, gradients, strict=True) if g is not None}
        adapted = {name: params[name] - self.params.alpha * g for name, g in steps.items()}
        return ctx.loss(adapted, second)  # its gradient is that of f_i(w - alpha grad f_i(w, D), D')

    def personal(self, ctx, received):
        own, gradient = ctx.model.values.restrict(ctx.units), ctx.gradient(ctx.data)
        for unit in gradient.units:
            own.segment(unit, trained_only=True).add_(gradient.segment(unit), alpha=-self.params.alpha)
        return own
