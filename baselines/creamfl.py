"""CreamFL: models stay where they are; what travels is how they represent public samples, modality by modality.

Yu, Liu, Wang, Xu, Liu, "Multimodal Federated Learning via Contrastive Representation Ensemble", ICLR 2023, arXiv
2302.08888: inter-modal and intra-modal contrast at the clients, global-local contrastive aggregation and distillation
at the server. The terms, their constants and the order of a round are those of the published code (FLAIR-THU/CreamFL).

A round: the server represents the public samples. Each client, after training on its own samples, makes a pass over
those it has a modality of (there one after each local epoch, here one after all): towards the server's representations
of the same modality, against its own previous ones, and towards those of every other modality, against all other
samples'; it sends its own. Per sample, a client's weight is the softmax over clients of the log-probability that its
representation finds the sample among the server's of another modality; the server learns the weighted mean.

Decisions where the paper has pictures and captions, always both:

- Several other modalities: contrasts and log-probabilities are their mean. A sample that lacks a modality has no
  representation in it, sends none and is no negative. Where it has no other modality, and so for a task of one, there
  is no inter-modal contrast, and clients count alike.
- The map into the common space, which the paper learns, is drawn from the seed, orthonormal and the same for everybody;
  the encoders' last layers turn with what is learnt. So a model is that of every other rule.
- The paper's server retrieves captions, and its representations are its answer. Here a decoder reads them, so the
  server learns public labels (which it did once before the first round) and the ensemble in the same steps; the
  distance is the squared one per sample, its weight chosen on `valid` of the paired stand-in (0, 1, 5, 30; one seed).
"""

from __future__ import annotations

from functools import lru_cache

from pydantic import Field

from fedmeki_bench.api import Payload, Rule, Update, derive

_ROWS = 1024  # representations that are compared with all others at once


class CreamFlParams(Rule.Params):
    """Parameters of CreamFL."""

    width: int = Field(64, ge=2, le=4096, description="width of the common space; 256 in the published code")
    temperature: float = Field(0.5, gt=0, description="tau of the clients' contrasts; the published code's")
    gamma: float = Field(0.5, ge=0, description="weight of the clients' contrasts; the published code's")
    kd: float = Field(1.0, ge=0, description="weight of the distance to the ensemble in what the server learns")
    epochs: int = Field(1, ge=1, le=1000, description="passes over the public samples per round, clients' and server's")


class CreamFL(Rule[CreamFlParams]):
    """Representations of public samples travel, contrasted between modalities; the server learns their ensemble."""

    title = "CreamFL"
    paper = "Yu et al., ICLR 2023"
    views = ("aggregated", "personal")
    counts = "clients"
    any_architecture = True
    uses_public = True

    def select(self, server, candidates, drawn, ask):
        ctx = server.computing
        if server.round == 0:  # the server has learnt from public labels before anybody hears of it
            server.model.load(ctx.fine_tune(server.model, ctx.public, epochs=self.params.epochs)[0])
        ctx.model.load(server.model)
        server.memory["seen"] = {task: self.represented(ctx, task) for task, part in ctx.public.items() if len(part)}
        return drawn

    def broadcast(self, server, client, units):
        known = server.memory.get("seen", {})
        told = {task: tables for task, tables in known.items() if f"decoder.{task}" in units}
        return Payload(extra=_rows(server.computing, told))

    def client_update(self, ctx, received):
        ctx.load_personal(received)
        own = {
            task: [modality for modality in ctx.model.tasks[task] if f"encoder.{modality}" in ctx.units]
            for task in ctx.data
            if len(ctx.public.get(task, ()))
        }
        before = {task: self.represented(ctx, task) for task in own}
        ctx.train(self, received)
        if received.extra and self.params.gamma:
            contrast = Contrast(self, ctx, received, own, before)
            encoders = [unit for unit in ctx.units if unit.startswith("encoder.")]
            ctx.train(contrast, received, data=contrast.data, units=encoders, epochs=self.params.epochs)
        ctx.keep_personal()
        done = ctx.update()
        after = {task: {m: table for m, table in self.represented(ctx, task).items() if m in own[task]} for task in own}
        return Update(ctx.client, extra=_rows(ctx, after), loss=done.loss, steps=done.steps)

    def aggregate(self, server, updates):
        import torch  # here, so that a list of rules loads no torch

        ctx, wanted, told = server.computing, {}, list(updates)
        for task, seen in server.memory.get("seen", {}).items():
            there = _there(ctx, task)
            for modality in seen:
                name = f"{task}.{modality}"
                tables = [_table(u.extra[name], there[modality]) for u in told if name in u.extra]
                if tables:
                    weights = weighed(tables, modality, seen, there)
                    wanted.setdefault(task, {})[modality] = (weights[..., None] * torch.stack(tables)).sum(dim=0)

        def both(params, batch):
            loss, outputs = ctx.outputs(batch)
            index = batch.index.to(loss.device)
            gaps = [
                (self.projected(ctx, batch.task, m, outputs.features) - ensemble[index]).square().sum(dim=-1)
                for m, ensemble in wanted[batch.task].items()
            ]
            has = torch.stack([_there(ctx, batch.task)[m][index] for m in wanted[batch.task]])
            return loss + self.params.kd * (has * torch.stack(gaps)).sum() / has.sum().clamp(min=1)

        public = {task: ctx.public[task] for task in wanted}
        tuned, done = ctx.fine_tune(server.model, public, epochs=self.params.epochs, loss=both)
        server.model.load(tuned)
        if done.steps:
            server.report("server loss", done.loss)

    def represented(self, ctx, task):
        """Modality -> how the work model represents each public sample in it, (samples, width); 0 where it lacks it."""
        features, _ = ctx.features(task, ctx.public[task])
        return {m: self.projected(ctx, task, m, features) * has[:, None] for m, has in _there(ctx, task).items()}

    def projected(self, ctx, task, modality, features):
        """The part of features that is a modality's, as unit vectors of the common space, (batch, width)."""
        from torch.nn.functional import normalize

        own = features[:, ctx.model.columns(task)[modality]].float()
        return normalize(own @ _space(ctx.seed, modality, own.shape[1], self.params.width).to(own.device))


class Contrast(Rule):
    """Training on public samples: towards how the server represents them, away from how this client did before."""

    def __init__(self, rule, ctx, received, own, before):
        super().__init__()
        self.rule, self.own, self.before = rule, own, before
        self.there = {task: _there(ctx, task) for task in own}
        self.seen = {
            task: {m: _table(received.extra[f"{task}.{m}"], has) for m, has in there.items()}
            for task, there in self.there.items()
        }
        self.places, self.data = {}, {}
        for task, modalities in own.items():  # samples of which this client can say something
            self.places[task] = sum(self.there[task][m] for m in modalities).nonzero()[:, 0]
            self.data[task] = ctx.public[task].take(self.places[task].tolist())

    def step(self, ctx, params, batch, received):
        task = batch.task
        _, outputs = ctx.outputs(batch)
        at = self.places[task][batch.index.to(outputs.features.device)]
        own = {m: self.rule.projected(ctx, task, m, outputs.features) for m in self.own[task]}
        tau = self.rule.params.temperature
        return self.rule.params.gamma * contrasts(own, at, self.seen[task], self.before[task], self.there[task], tau)


def contrasts(own, at, seen, before, there, tau):
    """Intra-modal plus inter-modal contrast of a batch.

    Args:
        own: modality -> representations of a client, (batch, width).
        at: (batch,) which of the public samples they are.
        seen: modality -> the server's, (samples, width).
        before: the same of the client's previous model.
        there: modality -> which samples have it, (samples,).
        tau: the temperature.
    """
    import torch
    from torch.nn.functional import softplus

    intra, inter = [], 0.0
    for modality, rows in own.items():
        z, here = rows[there[modality][at]], at[there[modality][at]]
        further = (z * (before[modality][here] - seen[modality][here])).sum(dim=-1)
        intra.append(softplus(further / tau))  # -log(e^g / (e^g + e^p))
        pairs = [
            -log_match(z[both], here[both], seen[other], there[other], tau)
            for other in seen
            if other != modality and len(both := there[other][here].nonzero()[:, 0])
        ]
        if pairs:
            inter = inter + torch.cat(pairs).mean()
    return torch.cat(intra).mean() + inter


def weighed(tables, modality, seen, there):
    """The clients' weights per sample, (clients, samples), by how well they match the server across modalities.

    Args:
        tables: each client's representations in one modality, (samples, width).
        modality: which one.
        seen, there: see :func:`contrasts`.
    """
    import torch

    scores = torch.zeros(len(tables), len(tables[0]), device=tables[0].device)
    others = [other for other in seen if other != modality]
    for other in others:
        for at in (there[modality] & there[other]).nonzero()[:, 0].split(_ROWS):
            for score, table in zip(scores, tables, strict=True):
                score[at] += log_match(table[at], at, seen[other], there[other], 1.0)
    among = sum((there[other].float() for other in others), torch.zeros_like(scores[0]))
    return (scores / among.clamp(min=1)).softmax(dim=0)


def log_match(rows, at, table, has, tau):
    """Log-probability that each row finds its own sample among those of another modality, (rows,).

    Args:
        rows: (rows, width).
        at: (rows,) which samples they are.
        table: the other modality's representations, (samples, width).
        has: which samples have it, (samples,).
        tau: the temperature.
    """
    similar = (rows @ table.T / tau).masked_fill(~has, float("-inf"))
    return similar.log_softmax(dim=-1).gather(1, at[:, None])[:, 0]


def _there(ctx, task):
    """Modality -> which of the task's public samples have it, (samples,) of bool."""
    import torch

    part, device = ctx.public[task], ctx.model.device
    return {m: torch.from_numpy(part.having(m)).to(device) for m in ctx.model.tasks[task]}


def _rows(ctx, tables):
    """What travels of task -> modality -> (samples, width): the rows of samples that have the modality."""
    return {f"{task}.{m}": table[_there(ctx, task)[m]] for task, of in tables.items() for m, table in of.items()}


def _table(rows, has):
    """The opposite: (samples, width), 0 where a sample lacks the modality."""
    table = rows.new_zeros(len(has), rows.shape[1])
    table[has] = rows
    return table


@lru_cache(maxsize=64)
def _space(seed, modality, wide, width):
    """The map of a modality's features into the common space, (wide, width): orthonormal, the same for everybody."""
    import torch

    random = torch.Generator().manual_seed(derive(seed, "creamfl", modality, wide))
    return torch.nn.init.orthogonal_(torch.empty(wide, width), generator=random)
