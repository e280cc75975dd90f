"""FedALA: each weight of a client's head starts between its own value and the global one, where its loss is smallest.

Zhang, Hua, Wang, Song, Xue, Ma, Guan, "FedALA: Adaptive Local Aggregation for Personalized Federated Learning", AAAI
2023, Equations 4 and 5 and Algorithm 1.

The layers that are aggregated so, the paper's p highest, are here a task's decoder; encoders are overwritten. The
weights W are learnt on the model as it is scored (running statistics, no dropout), task by task: one pass a round, and
when a client meets the global model for the first time after it has trained, until the losses of the last ten passes
spread by less than 0.1, as in the published code, 50 passes at most. As there, a client is scored with what it would
start from now, made of what it receives and of its own model. The samples that W is learnt on are drawn anew each time.
"""

from __future__ import annotations

from statistics import pstdev

from pydantic import Field

from fedmeki_bench.api import Rule

_PASSES, _LAST, _SETTLED = 50, 10, 0.1


class FedAlaParams(Rule.Params):
    """Parameters of FedALA; the defaults are the paper's."""

    eta: float = Field(1.0, ge=0, description="learning rate of the weights W; with 0 they stay 1: FedAvg")
    share: float = Field(0.8, gt=0, le=1, description="s, share of a client's samples that W is learnt on")


class FedAla(Rule[FedAlaParams]):
    """FedAvg whose clients start from an elementwise mixture of their own head and the global one."""

    title = "FedALA"
    paper = "Zhang et al., AAAI 2023, Eq. 4-5"
    views = ("personal", "aggregated")
    neutral = {"eta": 0.0}

    def client_update(self, ctx, received):
        ctx.load(received)
        for unit, (start, weights) in self._starts(ctx, received).items():
            ctx.model.load(start)
            ctx.memory.setdefault("W", {})[unit] = weights
        ctx.train(self, received)
        ctx.keep_personal()
        return ctx.update()

    def personal(self, ctx, received):
        own = ctx.model.values.restrict(ctx.units)
        for start, _ in self._starts(ctx, received).values():
            own.load(start)
        return own

    def _starts(self, ctx, received):
        """Head -> what it starts from, and its weights W; for heads that the client has trained before."""
        local, found = ctx.personal(), {}
        for task in ctx.data:
            unit = f"decoder.{task}"
            if local is not None and unit in local.units:
                known = ctx.memory.get("W", {}).get(unit)
                found[unit] = self._start(ctx, received, task, local.restrict([unit]), known)
        return found

    def _start(self, ctx, received, task, local, known):
        import torch  # here, so that a list of rules loads no torch

        part = ctx.data[task]
        weights = local.zeros() if known is None else known.clone()
        if known is None:
            weights.flat.fill_(1.0)

        def mixed(name):  # Eq. 4: local + (global - local) W
            return torch.lerp(local[name], received[name], weights[name])

        count = max(1, int(self.params.share * len(part)))
        drawn = torch.randperm(len(part), generator=ctx.generator("W", task))[:count].sort().values
        training, losses = ctx.training(self, received, data={task: part.take(drawn.numpy())}), []
        while len(losses) < (_PASSES if known is None else 1):
            losses.append(0.0)
            for batch in training.batches():
                head = {name: mixed(name).requires_grad_() for name in local}
                loss = ctx.loss(head, batch, training=False)
                losses[-1] += float(loss.detach()) * len(batch.labels) / count
                gradients = torch.autograd.grad(loss, list(head.values()), allow_unused=True)
                for name, g in zip(head, gradients, strict=True):
                    if g is not None:  # Eq. 5; none for the vector of a modality that no sample lacks
                        weights[name].sub_(g * (received[name] - local[name]), alpha=self.params.eta).clamp_(0, 1)
            if len(losses) > _LAST and pstdev(losses[-_LAST:]) < _SETTLED:
                break
        for name in local:
            local[name].copy_(mixed(name))
        return local, weights
