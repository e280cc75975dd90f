"""Knowledge that travels as what models say of public samples, in place of weights or beside them."""

from __future__ import annotations

from pydantic import Field

from fedmeki_bench.api import Mean, Payload, Rule, Update


class FedDfParams(Rule.Params):
    """Parameters of FedDF."""

    epochs: int = Field(1, ge=1, le=1000, description="passes over the public samples per round; the paper takes steps")
    lr: float | None = Field(None, gt=0, description="learning rate of the distillation; the clients' if not given")


class FedDF(Rule[FedDfParams]):
    """FedAvg's mean, distilled from the ensemble of the clients' models on public samples, without their labels.

    Lin, Kong, Stich, Jaggi, "Ensemble Distillation for Robust Model Fusion in Federated Learning", NeurIPS 2020,
    Algorithm 1. The paper averages the clients' logits evenly; here by their weights, evenly under weighting=uniform.
    """

    title = "FedDF"
    paper = "Lin et al., NeurIPS 2020, Algorithm 1"

    def aggregate(self, server, updates):
        mean, teachers = Mean(server.model), []
        for update in updates:
            mean.add(update.model, update.share)
            teachers.append(update)
        server.model.load(mean.value)  # line 7: the student starts from the mean
        ctx = server.computing
        known = {task for task in ctx.public if any(t.share.get(f"decoder.{task}") for t in teachers)}

        def distance(params, batch):  # line 11: AVGLOGITS
            unit = f"decoder.{batch.task}"
            wanted = sum(
                t.share[unit] * ctx.forward(t.model, batch).logits.detach() for t in teachers if t.share.get(unit)
            )
            return ctx.model.imitation(ctx.outputs(batch)[1], wanted, batch.task)

        public = {task: part for task, part in ctx.public.items() if task in known}
        tuned, done = ctx.fine_tune(server.model, public, epochs=self.params.epochs, lr=self.params.lr, loss=distance)
        server.model.load(tuned)
        if done.steps:
            server.report("distillation loss", done.loss)


class FedMdParams(Rule.Params):
    """Parameters of FedMD."""

    epochs: int = Field(1, ge=1, le=1000, description="passes over the public samples per round, towards the consensus")


class FedMD(Rule[FedMdParams]):
    """Models stay with the clients; what travels is what they say of public samples, and their mean, the consensus.

    Li, Wang, "FedMD: Heterogenous Federated Learning via Model Distillation", NeurIPS 2019 workshop, Algorithm 1. The
    public samples are at every client beforehand, so they count no bytes.
    """

    title = "FedMD"
    paper = "Li and Wang, 2019, Algorithm 1"
    views = ("personal",)
    uses_public = True
    any_architecture = True

    def broadcast(self, server, client, units):
        return Payload(extra={n: v for n, v in server.memory.items() if f"decoder.{n}" in units})  # Distribute

    def client_update(self, ctx, received):
        public = {task: part for task, part in ctx.public.items() if task in ctx.data}
        ctx.load_personal(received)
        if ctx.personal() is None:
            ctx.train(self, received, data=public)  # Transfer learning: on public labels first
        agreed = {task: part for task, part in public.items() if task in received.extra}
        ctx.train(Digest(), received, data=agreed, epochs=self.params.epochs)
        ctx.train(self, received)  # Revisit
        ctx.keep_personal()
        update = ctx.update(**{task: ctx.logits(task, part) for task, part in public.items()})  # Communicate
        return Update(ctx.client, extra=update.extra, loss=update.loss, steps=update.steps)

    def aggregate(self, server, updates):
        consensus = {}
        for update in updates:
            for task, logits in update.extra.items():
                consensus[task] = consensus.get(task, 0.0) + update.share[f"decoder.{task}"] * logits  # Aggregate
        server.memory.update(consensus)


class Digest(Rule):
    """Training towards the consensus that was received."""

    def step(self, ctx, params, batch, received):
        wanted = received.extra[batch.task][batch.index]
        return ctx.model.imitation(ctx.outputs(batch)[1], wanted, batch.task)
