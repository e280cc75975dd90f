"""One training loop, for clients and for the server: batches in, steps on the flat buffer, a mean loss out."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from fedmeki_bench import seeds
from fedmeki_bench.errors import RunFailed
from fedmeki_bench.models.batch import Batch, without
from fedmeki_bench.models.optimiser import Optimiser, optimiser

if TYPE_CHECKING:
    from fedmeki_bench.data.cohort import CohortPart
    from fedmeki_bench.models.client_model import ClientModel, Outputs
    from fedmeki_bench.profiles import Profile

Loss = Callable[[Mapping[str, Tensor], "Batch"], Tensor]
GradientHook = Callable[[Mapping[str, Tensor], Mapping[str, Tensor]], None]


class Diverged(RunFailed):
    """The loss stopped being a finite number."""


@dataclass(frozen=True, slots=True)
class Step:
    """One optimiser step: a task, which of its samples, and its number among the task's steps."""

    task: str
    index: np.ndarray
    number: int


@dataclass(frozen=True, slots=True)
class Trained:
    """Outcome of a training call.

    Attributes:
        loss: the mean over steps.
        steps: how many were taken.
        unit_steps: unit -> how many moved it.
        skipped: batches with too few samples for a step.
    """

    loss: float
    steps: int
    unit_steps: Mapping[str, int] = field(default_factory=dict)
    skipped: int = 0

    def __add__(self, other: Trained) -> Trained:
        """Both together: the mean over the steps of both."""
        if not (self.steps and other.steps):
            found = self if self.steps else other
            return replace(found, skipped=self.skipped + other.skipped)
        steps = self.steps + other.steps
        units = dict(self.unit_steps)
        for unit, more in other.unit_steps.items():
            units[unit] = units.get(unit, 0) + more
        return Trained(
            (self.loss * self.steps + other.loss * other.steps) / steps, steps, units, self.skipped + other.skipped
        )


def schedule(
    data: Mapping[str, CohortPart], *, epochs: int, batch_size: int, seed: int, stream: tuple[str | int, ...]
) -> Iterator[Step]:
    """Every sample once per epoch; the tasks' batches interleaved evenly.

    A task's batches and their order depend on (seed, stream, task) alone, so tasks that share no unit train
    exactly as they would alone.

    Args:
        data: task -> samples.
        stream: names the random stream, e.g. ``("client", 3, "round", 7)``.
    """
    counters = dict.fromkeys(data, 0)
    for epoch in range(epochs):
        planned: list[tuple[float, str, np.ndarray]] = []
        for task, part in data.items():
            order = seeds.generator(seed, "batches", task, *stream, epoch).permutation(len(part))
            batches = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
            planned += [((i + 0.5) / len(batches), task, batch) for i, batch in enumerate(batches)]
        for _, task, batch in sorted(planned, key=lambda item: (item[0], item[1])):
            yield Step(task, batch, counters[task])
            counters[task] += 1


def autocast(model: ClientModel, settings: Profile) -> AbstractContextManager[object]:
    """The arithmetic of the forward pass: bfloat16 where the profile asks for it, else float32."""
    return torch.autocast(model.device.type, dtype=torch.bfloat16) if settings.precision == "bf16" else nullcontext()


class Training:
    """Optimiser steps on a model's flat buffer, one at a time; :func:`train` takes all of a schedule.

    A step touches only the units its task uses, and no encoder of a modality that none of its samples has: their
    gradients are clipped together, and each unit has its own optimiser state, so other units' moments do not move.

    Args:
        model: trained in place.
        data: task -> samples.
        settings: optimiser, clipping, precision, batch size.
        seed: the run's seed.
        stream: with the seed names the random streams of batches and dropout.
        where: for error messages, e.g. ``in round 3 at client 1``.
        lr: learning rate; the profile's if not given.
        units: the units to train; all others stand still, in evaluation mode, and take no gradient. None trains all.
        loss: parameters and batch -> the loss to minimise; by default the loss of the task's kind.
        gradient_hook: changes gradients in place before clipping.
        pace: the part of each task's steps that :meth:`batches` gives, one at least; that of a straggler is below 1.

    Attributes:
        dropout: seed of the dropout masks of the step under way.
    """

    def __init__(
        self,
        model: ClientModel,
        data: Mapping[str, CohortPart],
        settings: Profile,
        *,
        seed: int,
        stream: tuple[str | int, ...],
        where: str,
        lr: float | None = None,
        units: Collection[str] | None = None,
        loss: Loss | None = None,
        gradient_hook: GradientHook | None = None,
        pace: float = 1.0,
    ) -> None:
        self.pace = pace
        self.model, self.data, self.settings = model, data, settings
        self.seed, self.stream, self.where, self.lr = seed, stream, where, lr or settings.lr
        self._still = frozenset() if units is None else frozenset(model.values.units) - frozenset(units)
        self.loss = loss or (lambda params, batch: self.task_loss(batch)[0])
        self._gradient_hook = gradient_hook
        self._optimisers: dict[str, Optimiser] = {}
        self._parameters = {
            task: {
                n: p
                for n, p in model.parameters_of(task, part.lacking).items()
                if model.values.layout.entries[n].unit not in self._still
            }
            for task, part in data.items()
        }
        self._gradients = {
            task: {n: p.grad for n, p in ps.items() if p.grad is not None} for task, ps in self._parameters.items()
        }
        self._targets = {task: model.targets(part) for task, part in data.items()}
        self._taken = dict.fromkeys(data, 0)
        self._skipped = 0
        self._total, self._unit_steps = torch.zeros((), device=model.device), dict[str, int]()
        self.dropout = 0

    def task_loss(self, batch: Batch) -> tuple[Tensor, Outputs]:
        """The loss of the task's kind under the model's own weights, in training mode, and the outputs behind it."""
        with autocast(self.model, self.settings):
            outputs = self.model(batch.task, batch.inputs)
        return self.model.loss(outputs, batch), outputs

    def batches(self, epochs: int = 1) -> Iterator[Batch]:
        """Every sample once per epoch, in an order of its own each time; the tasks' batches interleaved evenly.

        Where the profile says ``local_steps``, so many of each task, in as many passes as that takes; a rule that asks
        for other passes than the profile's, such as more for a head, gets those.
        """
        size = self.settings.batch_size
        steps = self.settings.local_steps if epochs == self.settings.local_epochs else 0
        each = {task: -(-len(part) // size) for task, part in self.data.items()}
        planned = {task: steps or epochs * n for task, n in each.items()}
        if steps:
            epochs = max((-(-steps // n) for n in each.values() if n), default=0)
        for step in schedule(self.data, epochs=epochs, batch_size=size, seed=self.seed, stream=self.stream):
            if step.number < max(1, int(self.pace * planned[step.task])):
                yield self.batch(step)

    def batch(self, step: Step) -> Batch:
        """The samples of a step of a schedule."""
        return self.model.batch(step.task, self.data[step.task], step.index, self._targets[step.task])

    def step(self, batch: Batch) -> None:
        """One optimiser step; none if the batch's task uses no unit that is trained, or it has too few samples."""
        model = self.model
        units = [u for u in model.units(batch.task, without(batch.inputs)) if u not in self._still]
        if not units:
            return
        if len(batch.labels) < model.least:
            self._skipped += 1
            return
        # dropout masks, like batches, depend on the task's own step count and on nothing that ran before
        self.dropout = seeds.derive(self.seed, "dropout", batch.task, *self.stream, self._taken[batch.task])
        self._taken[batch.task] += 1
        seeds.restart(model.device, self.dropout)
        with torch.enable_grad(), model.standing_still(self._still):
            if not model.training:
                model.train()
            loss = self.loss(self._parameters[batch.task], batch)
            segments = {u: model.grads.segment(u, trained_only=True) for u in units}
            for gradient in segments.values():
                gradient.zero_()
            loss.backward()
            if self._gradient_hook is not None:
                with torch.no_grad():
                    self._gradient_hook(self._gradients[batch.task], self._parameters[batch.task])
        norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in segments.values()]))
        scale = torch.clamp(self.settings.clip / (norm + 1e-6), max=1.0)
        for unit, gradient in segments.items():
            gradient.mul_(scale)
            if unit not in self._optimisers:
                values = model.values.segment(unit, trained_only=True)
                self._optimisers[unit] = optimiser(values, gradient, self.settings, self.lr)
            self._optimisers[unit].step()
            self._unit_steps[unit] = self._unit_steps.get(unit, 0) + 1
        self._total += loss.detach()

    @property
    def trained(self) -> Trained:
        """What has been done so far.

        Raises:
            Diverged: the loss is not finite; the sentence says where.
        """
        taken = sum(self._taken.values())
        mean = float(self._total) / taken if taken else float("nan")
        if taken and not math.isfinite(mean):
            raise Diverged(f"the loss became {mean} {self.where}; a smaller lr may help")
        return Trained(mean, taken, dict(self._unit_steps), self._skipped)


def train(
    model: ClientModel,
    data: Mapping[str, CohortPart],
    steps: Iterator[Step],
    settings: Profile,
    *,
    seed: int,
    stream: tuple[str | int, ...],
    where: str,
    lr: float | None = None,
) -> Trained:
    """Minimise the loss of each task's kind over the steps, in place; see :class:`Training`."""
    training = Training(model, data, settings, seed=seed, stream=stream, where=where, lr=lr)
    for step in steps:
        training.step(training.batch(step))
    return training.trained
