"""The samples of one training step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from fedmeki_bench.data.holdings import there
from fedmeki_bench.errors import RunFailed


@dataclass(frozen=True, slots=True)
class Batch:
    """The samples of one step as the model takes them.

    Attributes:
        task: its name.
        inputs: modality -> (batch, *shape); of a model that answers in words also texts, a list of one per sample.
        labels: what the loss compares with: (batch,), or (batch, K) of a task with several findings.
        index: (batch,) places of the samples in the data they were drawn from, for what is known of each of them.
    """

    task: str
    inputs: Mapping[str, Any]
    labels: Tensor
    index: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))

    def halves(self) -> tuple[Batch, Batch]:
        """The first and the second half of the samples; a single sample is in both.

        Raises:
            RunFailed: samples have several arrays of a modality, or none, whose halves are not told apart here.
        """
        if any(there(modality) in self.inputs for modality in self.inputs):
            raise RunFailed(f"batches of task {self.task!r} can't be halved: its samples differ in what they have")
        n = len(self.labels)
        first, second = slice(0, max(n // 2, 1)), slice(n // 2, n)
        parts = [({m: x[s] for m, x in self.inputs.items()}, self.labels[s], self.index[s]) for s in (first, second)]
        return Batch(self.task, *parts[0]), Batch(self.task, *parts[1])


def without(inputs: Mapping[str, Any]) -> frozenset[str]:
    """The modalities of which no sample of a batch has an array, from what ``ClientModel.to_inputs`` gave."""
    return frozenset(modality for modality, x in inputs.items() if there(modality) in inputs and not len(x))
