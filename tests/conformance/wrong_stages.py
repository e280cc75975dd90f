"""Stages with one deliberate mistake each."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import torch

from fedmeki_bench.api import Stage
from fedmeki_bench.builtin.baselines.injection import Injection, KimInjection


class UnknownView(Stage):
    """Adds a view that nobody can score."""

    variants: ClassVar = {"x": ("crystal ball", "x")}


class PicturesOnly(Stage):
    """Takes it for granted that there are pictures."""

    def run(self, server, public, ctx):
        ctx.model.values.segment("encoder.image")


class Endless(Stage):
    """Divides by nothing."""

    def run(self, server, public, ctx):
        ctx.memory["ratio"] = torch.tensor(float("nan"))


class NeedsAll(Stage):
    """Takes it for granted that every task has public samples."""

    def run(self, server, public, ctx):
        for task in ctx.tasks:
            len(public[task])


class UnseededNoise(Stage):
    """Adds noise from a generator without a seed."""

    def run(self, server, public, ctx):
        server.model.flat.add_(float(np.random.default_rng().normal(0, 1e-3)))


class Thaws(Injection):
    """Changes a weight of the foundation model."""

    def run(self, server, public, ctx):
        super().run(server, public, ctx)
        model = self.foundation(server, ctx).language.model
        with torch.no_grad():
            next(iter(model.parameters())).add_(1e-3)


class Reseeds(Stage):
    """Changes the run's seed."""

    def run(self, server, public, ctx):
        ctx.seed += 1


class HandsOverTheWorkModel(Stage):
    """Makes the work model the server's."""

    def run(self, server, public, ctx):
        server.model = ctx.model.values


class AsksForPrivate(Stage):
    """Reads the clients' samples through the cohort."""

    def run(self, server, public, ctx):
        for part in public.values():
            len(part.cohort.part("client"))


class ReadsTheTable(Stage):
    """Reads the clients' labels from the table."""

    def run(self, server, public, ctx):
        for task, part in public.items():
            ctx.memory[task] = float(part.cohort._table()["label"].mean())


class CountsOnSelf(Stage):
    """Keeps a count on self."""

    rounds = 0

    def run(self, server, public, ctx):
        self.rounds += 1
        server.model.flat.mul_(1 + 0.01 * self.rounds)


class NoFoundation(Stage):
    """Promises answers and has no foundation model."""

    views = ("foundation",)


class ReadsNames(KimInjection):
    """Gives every task an expert by its name."""

    class Params(KimInjection.Params):
        gate: Literal["learned", "uniform", "oracle"] = "oracle"

    def run(self, server, public, ctx):
        super().run(server, public, ctx)
        with torch.no_grad():  # as long training would: the experts differ
            for low in self.foundation(server, ctx).adapters.low_rank.values():
                low.B.normal_(generator=torch.Generator().manual_seed(0))
        ctx.memory["injected"] = dict(self.foundation(server, ctx).state_dict())


class MarksAreText(Injection):
    """Puts soft tokens first, whatever the prompt says."""

    def foundation(self, server, ctx):
        found = super().foundation(server, ctx)
        found.ask = lambda model, task, inputs, prompts: (
            *found.soft(model, task.meta.modalities, inputs), list(prompts)
        )  # fmt: skip
        return found


class MarksAreDropped(MarksAreText):
    """Takes marks out of the prompt and puts soft tokens first all the same."""

    def foundation(self, server, ctx):
        found = super().foundation(server, ctx)
        found.ask = lambda model, task, inputs, prompts: (
            *found.soft(model, task.meta.modalities, inputs), [p.replace("<image>", "") for p in prompts]
        )  # fmt: skip
        return found


WRONG = [
    (UnknownView, "loads", "it names the view 'crystal ball'"),
    (PicturesOnly, "scopes", "it raised KeyError: 'encoder.image'"),
    (Endless, "scopes", "the stage's memory is not finite"),
    (NeedsAll, "empty-public", "it raised KeyError: 'fast'"),
    (UnseededNoise, "deterministic", "the global model differs between two runs of one seed"),
    (Thaws, "frozen", "the foundation model's own weight"),
    (Reseeds, "only-the-server", "the stage changed ctx.seed"),
    (HandsOverTheWorkModel, "only-the-server", "server.model is the work model itself"),
    (AsksForPrivate, "private", "it asked for the client split of 'left'"),
    (ReadsTheTable, "private", "changes when nothing but private, validation and test samples change"),
    (CountsOnSelf, "resumes", "the global model differs from the uninterrupted run"),
    (ReadsNames, "question-alone", "a task of another name"),
    (MarksAreText, "placed", "a prompt that begins with <image> gets other answers"),
    (MarksAreDropped, "placed", "a prompt that ends in <image> gets the same answers"),
    (NoFoundation, "views", "leaves no foundation model to be asked"),
]
