"""APFL: each client's personal model is a mixture of one of its own and of its copy of the global one.

Deng, Kamani, Mahdavi, "Adaptive Personalized Federated Learning", arXiv 2003.13461 (2020), Algorithm 1; alpha by its
gradient, section 4.

In every step the mixture alpha v + (1 - alpha) w stands in the work model, takes the step of v (the gradient with
respect to v is alpha times the mixture's), and v moves as the mixture does: so the clients' optimiser is that of v.
Batch-norm statistics of v are those that the mixture sees. One alpha per client serves all its tasks; it moves in
every step, as Algorithm 1 has it. The published code mixes outputs, the paper weights; here weights.

The copies of the global model are trained as FedAvg's, before and apart from it: so is what the server combines.
"""

from __future__ import annotations

from pydantic import Field

from fedmeki_bench.api import Rule


class ApflParams(Rule.Params):
    """Parameters of APFL."""

    alpha: float = Field(
        0.5, ge=0, le=1, description="share of a client's own model in its mixture, at first; not tuned here"
    )
    adaptive: bool = Field(True, description="alpha follows its gradient; else it stays")
    alpha_lr: float | None = Field(
        None, gt=0, description="learning rate of alpha; the clients', as the paper, if not given"
    )


class Apfl(Rule[ApflParams]):
    """FedAvg for the global model, and personal mixtures of it with models of the clients' own."""

    title = "APFL"
    paper = "Deng et al., arXiv 2003.13461 (2020), Algorithm 1"
    assumes = {"optimizer": "sgd"}
    views = ("personal", "aggregated")
    neutral = {}

    def correct_gradients(self, grads, params, received, ctx):
        alpha, apart = ctx.memory["alpha"], ctx.memory["apart"]
        if self.params.adaptive:
            slope = float(sum((g * apart[name]).sum() for name, g in grads.items()))  # <v - w, grad f(mixture)>
            lr = self.params.alpha_lr or ctx.settings.lr * ctx.settings.lr_decay**ctx.elapsed
            ctx.memory["alpha"] = min(max(alpha - lr * slope, 0.0), 1.0)
        for g in grads.values():
            g.mul_(alpha)

    def client_update(self, ctx, received):
        ctx.memory.setdefault("alpha", self.params.alpha)
        ctx.load_personal(received, "v")
        v = ctx.model.values.restrict(ctx.units)
        ctx.load(received)
        shared, own = ctx.training(Rule(), received), ctx.training(self, received)
        for batch in shared.batches(ctx.settings.local_epochs):
            used = ctx.model.units(batch.task, ctx.data[batch.task].lacking)
            before, w = v.restrict(used), ctx.model.values.restrict(used)
            mixture = _mixture(before, w, ctx.memory["alpha"])
            ctx.memory["apart"] = before - w
            ctx.model.load(mixture)
            own.step(batch)
            v.load(ctx.model.values.restrict(used) + (before - mixture))
            ctx.model.load(w)
            shared.step(batch)
        ctx.memory.pop("apart", None)
        ctx.trained(shared)
        update = ctx.update()
        ctx.model.load(v)
        ctx.keep_personal("v")
        ctx.model.load(_mixture(v, update.model, ctx.memory["alpha"]))
        ctx.keep_personal()
        return update


def _mixture(v, w, alpha):
    """Parameters alpha v + (1 - alpha) w; batch-norm statistics of v."""
    mixed = v.clone()
    mixed.load((v * alpha + w * (1 - alpha)).restrict(v.units, buffers=False))
    return mixed
