"""One training loop, for clients and for the server: batches in, steps on the flat buffer, a mean loss out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from fedmeki_bench import seeds
from fedmeki_bench.data.holdings import there
from fedmeki_bench.errors import RunFailed

if TYPE_CHECKING:
    from fedmeki_bench.data.cohort import CohortPart
    from fedmeki_bench.models.client_model import ClientModel, Outputs
    from fedmeki_bench.profiles import Profile

LossHook = Callable[[Tensor, "Outputs", Mapping[str, Tensor], "Batch"], Tensor]
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
class Batch:
    """The samples of one step as the model takes them.

    Attributes:
        task: its name.
        inputs: modality -> (batch, *shape).
        labels: what the loss compares with: (batch,), or (batch, K) of a task with several findings.
    """

    task: str
    inputs: Mapping[str, Tensor]
    labels: Tensor


def without(inputs: Mapping[str, Tensor]) -> frozenset[str]:
    """The modalities of which no sample of a batch has an array, from what ``ClientModel.to_inputs`` gave."""
    return frozenset(modality for modality, x in inputs.items() if there(modality) in inputs and not len(x))


@dataclass(frozen=True, slots=True)
class Trained:
    """Outcome of a training call: mean loss over steps, how many steps were taken, and how many moved each unit."""

    loss: float
    steps: int
    unit_steps: Mapping[str, int] = field(default_factory=dict)


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


def optimiser(values: Tensor, grads: Tensor, settings: Profile, lr: float) -> torch.optim.Optimizer:
    """An optimiser over one unit's flat segment: one tensor however many layers it has."""
    parameter = nn.Parameter(values)
    parameter.grad = grads
    kinds: dict[str, type[torch.optim.Optimizer]] = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}
    kind: Callable[..., torch.optim.Optimizer] = kinds[settings.optimizer]
    return kind([parameter], lr=lr, weight_decay=settings.weight_decay)


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
    loss_hook: LossHook | None = None,
    gradient_hook: GradientHook | None = None,
) -> Trained:
    """Minimise the loss of each task's kind over the steps, in place.

    A step touches only the units its task uses, and no encoder of a modality that none of its samples has: their
    gradients are clipped together, and each unit has its own optimiser state, so other units' moments do not move.

    Raises:
        Diverged: the loss is not finite; the sentence says where.
    """
    model.train()
    optimisers: dict[str, torch.optim.Optimizer] = {}
    lacking = {task: part.lacking for task, part in data.items()}
    parameters = {task: model.parameters_of(task, lacking[task]) for task in data}
    gradients = {task: {n: p.grad for n, p in ps.items() if p.grad is not None} for task, ps in parameters.items()}
    targets = {task: torch.from_numpy(part.targets) for task, part in data.items()}
    kinds = {task: model.labels[task].how for task in data}
    total, taken = torch.zeros((), device=model.device), 0
    unit_steps: dict[str, int] = {}
    autocast = (
        torch.autocast(model.device.type, dtype=torch.bfloat16) if settings.precision == "bf16" else nullcontext()
    )
    with torch.enable_grad():
        for step in steps:
            part = data[step.task]
            labels = targets[step.task][torch.from_numpy(step.index)].to(model.device)
            batch = Batch(step.task, model.to_inputs(part.batch(step.index)), labels)
            units = model.units(step.task, without(batch.inputs))
            # dropout masks, like batches, depend on the task's own step count and on nothing that ran before
            torch.manual_seed(seeds.derive(seed, "dropout", step.task, *stream, step.number))
            with autocast:
                outputs = model(step.task, batch.inputs)
            loss = kinds[step.task].loss(outputs.logits, labels)
            if loss_hook is not None:
                loss = loss_hook(loss, outputs, parameters[step.task], batch)
            segments = {u: model.grads.segment(u, trained_only=True) for u in units}
            for gradient in segments.values():
                gradient.zero_()
            loss.backward()
            if gradient_hook is not None:
                with torch.no_grad():
                    gradient_hook(gradients[step.task], parameters[step.task])
            norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in segments.values()]))
            scale = torch.clamp(settings.clip / (norm + 1e-6), max=1.0)
            for unit, gradient in segments.items():
                gradient.mul_(scale)
                if unit not in optimisers:
                    values = model.values.segment(unit, trained_only=True)
                    optimisers[unit] = optimiser(values, gradient, settings, lr or settings.lr)
                optimisers[unit].step()
                unit_steps[unit] = unit_steps.get(unit, 0) + 1
            total += loss.detach()
            taken += 1
    mean = float(total) / taken if taken else float("nan")
    if taken and not math.isfinite(mean):
        raise Diverged(f"the loss became {mean} {where}; a smaller lr may help")
    return Trained(mean, taken, unit_steps)
