"""Learning without labels: what a pretext is, and the client model that is trained by one.

Self-supervised pre-training is federated training with another head and another loss: ``decoder.<task>`` is the
pretext's head, the loss is the pretext's, and labels are not read. So every rule, engine, checkpoint and count of bytes
is what it is for labelled training, and the encoders that come out are units like any others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from fedmeki_bench import seeds
from fedmeki_bench.errors import RunFailed
from fedmeki_bench.models.client_model import ClientModel, Outputs

if TYPE_CHECKING:
    from fedmeki_bench.data.cohort import CohortPart
    from fedmeki_bench.kinds.kind import LabelSpec
    from fedmeki_bench.models.batch import Batch
    from fedmeki_bench.models.encoder import Encoder

Pooled = Callable[[Mapping[str, Tensor]], Tensor]
"""Inputs of a batch -> the features that a decoder would read, (batch, width)."""


class Pretext:
    """Base of pretexts; plug-ins are declared in the entry-point group ``fedmeki_bench.pretexts``.

    What is random in a step (views, masks) is drawn from torch's global stream, which begins anew at every step.

    Attributes:
        version: raised, as a plain number, whenever its numbers change; part of a run's identity from 2 on.
        paper: where it was published.
        least: samples that a batch needs; smaller ones are skipped and counted, and a client that has fewer samples of
            a task takes no part in it.
    """

    class Params(BaseModel):
        """No parameters unless a subclass declares some."""

        model_config = ConfigDict(extra="forbid")

    version: ClassVar[int] = 1
    paper: ClassVar[str] = ""
    least: ClassVar[int] = 1

    def __init__(self, params: Any = None) -> None:
        self.params: Any = params if params is not None else self.Params()

    def check(self, encoders: Mapping[str, type[Encoder]]) -> None:
        """Refuse encoders, by modality, that can't be trained in this way.

        Raises:
            InputError: says which, and what to take instead.
        """

    def head(self, encoders: Mapping[str, Encoder]) -> nn.Module:
        """What stands in the place of a task's decoder, for the encoders of its modalities in order."""
        raise NotImplementedError

    def losses(
        self, head: nn.Module, encoders: Mapping[str, Encoder], inputs: Mapping[str, Tensor], pooled: Pooled
    ) -> tuple[Tensor, Tensor]:
        """The loss of each sample of a batch, (batch,), and features behind it, (batch, width).

        Args:
            head: of the task.
            encoders: of its modalities, in order.
            inputs: what ``ClientModel.to_inputs`` gave: (batch, *shape) per modality or, where samples differ in how
                many arrays they have, those that are there one after another and ``<modality>_there``.
            pooled: the encoders' pooled features of such inputs.
        """
        raise NotImplementedError


class PretextModel(ClientModel):
    """Encoders and, in the place of decoders, the heads of a pretext; reads no label.

    Args:
        pretext: the loss, and what it is computed with.
        seed: initial weights, and what is drawn when the model is evaluated.
        how: what else :class:`ClientModel` takes.
    """

    def __init__(self, tasks: Mapping[str, Any], *, pretext: Pretext, seed: int, **how: Any) -> None:
        self.pretext, self._seed = pretext, seed
        super().__init__(tasks, seed=seed, **{**how, "labels": None})
        self.labels = _Unread()
        self.least = pretext.least

    def make_decoder(self, task: str, width: int, hidden: int) -> nn.Module:
        """The pretext's head."""
        return self.pretext.head(self._encoders(task))

    def targets(self, part: CohortPart) -> Tensor:
        """Nothing is compared with labels, and none is read: zeros, one per sample."""
        return torch.zeros(len(part))

    def forward(self, task: str, inputs: Mapping[str, Tensor]) -> Outputs:
        """The loss of each sample in the place of logits, (batch,), and features; the same draws whenever evaluated."""
        with self._drawing(task):
            losses, features = self.pretext.losses(
                self.head(task), self._encoders(task), inputs, lambda given: self.features(task, given)
            )
        return Outputs(losses, features)

    def loss(self, outputs: Outputs, batch: Batch) -> Tensor:
        """The mean over the samples of the batch, a scalar."""
        return outputs.logits.mean()

    def imitation(self, outputs: Outputs, wanted: Tensor, task: str) -> Tensor:
        """See :class:`ClientModel`.

        Raises:
            RunFailed: always, for this model has no logits.
        """
        raise RunFailed("pre-training without labels has no logits to be distilled: take a rule that averages weights")

    def _encoders(self, task: str) -> dict[str, Any]:
        return {modality: self.encoders[modality] for modality in self.tasks[task]}

    @contextmanager
    def _drawing(self, task: str) -> Iterator[None]:
        """In training, from the step's own stream; in evaluation the same every time, and no stream moves."""
        if self.training:
            yield
            return
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            seeds.restart(self.device, seeds.derive(self._seed, "pretext", task))
            yield


class _Unread(dict[str, "LabelSpec"]):
    """What is known of labels in training without them: nothing."""

    def __missing__(self, task: str) -> NoReturn:
        raise RunFailed(
            f"pre-training without labels reads none of task {task!r}, which this rule needs: take one that averages "
            "weights, such as fedavg"
        )
