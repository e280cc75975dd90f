"""What a client and the server can both compute with the resident work model: outputs, losses, features, steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import ReferenceType, ref

import numpy as np
import torch

from fedmeki_bench import seeds
from fedmeki_bench.errors import RunFailed
from fedmeki_bench.models.batch import Batch
from fedmeki_bench.models.training import Loss, Training, autocast

if TYPE_CHECKING:
    from torch import Tensor

    from fedmeki_bench.data.cohort import CohortPart
    from fedmeki_bench.models.client_model import ClientModel, Outputs
    from fedmeki_bench.models.flat import FlatTensors
    from fedmeki_bench.profiles import Profile

_BATCH = 256


@dataclass(frozen=True, slots=True)
class Measured:
    """The mean loss of a model over a task's samples, and how many there are."""

    loss: float
    samples: int


class Computing:
    """Base of what rules and stages are handed at a client and at the server.

    Methods that take ``values`` compute under those weights, by name; what they lack, or all, is the work model's own.
    Nothing changes by it: no batch-norm statistic of the model or of ``values``, and no random stream.

    Attributes:
        model: the resident work model; its weights are whatever was loaded last.
        settings: the run's profile (lr, epochs, ...).
        seed: the run's seed; derive streams from it, never draw from a global generator.
        round: 0-based communication round.
        began: the round in which the phase began, where tasks follow one another; else 0.
        batch: the batch of the step under way or, after it, of the last one.
    """

    def __init__(
        self, model: ClientModel, settings: Profile, *, seed: int, round: int, where: tuple[str | int, ...]
    ) -> None:
        self.model, self.settings, self.seed, self.round = model, settings, seed, round
        self.began = 0
        self.batch: Batch | None = None
        self._where = where
        self._under_way: ReferenceType[Training] | None = None  # whose optimiser is of the model's size

    @property
    def _training(self) -> Training | None:
        return None if self._under_way is None else self._under_way()

    @property
    def elapsed(self) -> int:
        """How many rounds of the phase are over: what schedules go by and what names the streams of training.

        So a phase trains as a run of its own would. A rule's generators and its memory go on from phase to phase.
        """
        return self.round - self.began

    def generator(self, *stream: str | int) -> torch.Generator:
        """A generator on a stream of this place and round; the same name gives the same numbers again."""
        return torch.Generator().manual_seed(seeds.derive(self.seed, "rule", *self._where, self.round, *stream))

    def forward(self, values: Mapping[str, Tensor], batch: Batch, *, training: bool = False) -> Outputs:
        """The model's outputs on a batch under other weights (a previous model, the received one).

        By default the weights are evaluated as a model is scored, with running statistics and without dropout, as MOON
        (Li et al., CVPR 2021) and distillation do with the previous and the received model; ``training`` asks for batch
        statistics and dropout, with the masks of the step under way. Gradients reach ``values`` where they are attached
        to the graph.
        """
        step = self._training
        dropout = step.dropout if training and step is not None else None
        with autocast(self.model, self.settings):
            return self.model.functional(values, batch.task, batch.inputs, training=training, dropout=dropout)

    def loss(self, values: Mapping[str, Tensor], batch: Batch, *, training: bool = True) -> Tensor:
        """The loss of the batch's task under other weights, a scalar; as in a training step unless told otherwise."""
        outputs = self.forward(values, batch, training=training)
        return self.model.loss(outputs, batch)

    def outputs(self, batch: Batch) -> tuple[Tensor, Outputs]:
        """The task's own loss in the step under way and the outputs behind it: of the work model, in training mode.

        Batch norm learns from this pass; :meth:`loss` and :meth:`forward` are without such effects.

        Raises:
            RunFailed: outside a step.
        """
        if (step := self._training) is None:
            raise RunFailed("outputs of a step are asked for outside training; ctx.forward evaluates a batch anywhere")
        return step.task_loss(batch)

    def evaluate(
        self, data: Mapping[str, CohortPart], values: Mapping[str, Tensor] | None = None
    ) -> dict[str, Measured]:
        """Task -> mean loss as a model is scored, and the number of samples; tasks without samples are left out."""
        found = {}
        for task, part in data.items():
            total = 0.0
            for batch in self._whole(task, part):
                total += float(self.loss(values or {}, batch, training=False).detach()) * len(batch.labels)
            if len(part):
                found[task] = Measured(total / len(part), len(part))
        return found

    def gradient(self, data: Mapping[str, CohortPart]) -> FlatTensors:
        """The gradient of the work model's mean loss as a model is scored, summed over tasks; of the units they use."""
        used = {unit for task, part in data.items() for unit in self.model.units(task, part.lacking)}
        found = self.model.values.restrict(used, buffers=False) * 0.0
        for task, part in data.items():
            parameters = self.model.parameters_of(task, part.lacking)
            for batch in self._whole(task, part):
                with torch.enable_grad():
                    loss = self.loss({}, batch, training=False) * (len(batch.labels) / len(part))
                gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
                for name, gradient in zip(parameters, gradients, strict=True):
                    if gradient is not None:
                        found[name].add_(gradient)
        return found

    def features(
        self, task: str, part: CohortPart, values: Mapping[str, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """The features that a task's decoder reads, (n, width), and the labels that go with them."""
        found = [(self._outputs(values, batch).features.float(), batch.labels) for batch in self._whole(task, part)]
        return torch.cat([features for features, _ in found]), torch.cat([labels for _, labels in found])

    def logits(self, task: str, part: CohortPart, values: Mapping[str, Tensor] | None = None) -> Tensor:
        """What a task's decoder gives, in the order of the samples: (n,), or (n, outputs) where there are several."""
        return torch.cat([self._outputs(values, batch).logits.float() for batch in self._whole(task, part)])

    def _outputs(self, values: Mapping[str, Tensor] | None, batch: Batch) -> Outputs:
        with torch.no_grad():
            return self.forward(values or {}, batch)

    def _whole(self, task: str, part: CohortPart) -> Iterator[Batch]:
        """All samples in order."""
        targets = self.model.targets(part)
        for start in range(0, len(part), _BATCH):
            index = np.arange(start, min(start + _BATCH, len(part)))
            yield self.model.batch(task, part, index, targets)

    def _follow(self, training: Training, loss: Loss) -> Training:
        """A training with this loss, whose step under way is known here.

        It is not kept alive: a client's moments go when its training does, or memory would grow with the clients.
        """
        under_way = ref(training)

        def followed(params: Mapping[str, Tensor], batch: Batch) -> Tensor:
            self.batch, self._under_way = batch, under_way
            return loss(params, batch)

        training.loss = followed
        return training
