"""How well a federation that reads no labels does on `valid`: by the loss that it is trained with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch

from fedmeki_bench.errors import RunFailed
from fedmeki_bench.evaluation.remarks import Remarks
from fedmeki_bench.federation.questions import checksums
from fedmeki_bench.models.training import autocast

if TYPE_CHECKING:
    from fedmeki_bench.data.cohort import Cohort, CohortPart
    from fedmeki_bench.federation.loop import Federation


class PretextValidation:
    """The mean loss of a pretext on `valid` after each round, in batches as they are trained on, with the same draws.

    Args:
        cohorts: task -> its cohort.
        name: of the pretext.
    """

    def __init__(self, cohorts: Mapping[str, Cohort], name: str) -> None:
        self._parts = {task: cohort.part("valid") for task, cohort in cohorts.items()}
        self._name = name
        self._start: dict[str, int] = {}

    def begin(self, federation: Federation) -> None:
        """Remember the initial parameters; before a checkpoint is loaded."""
        self._start = checksums(federation.server.model)

    def remarks(self, federation: Federation) -> Remarks:
        """None: what such a run leaves is judged by those that start from it.

        Raises:
            RunFailed: the encoders of a task never moved, so there is nothing to start from.
        """
        now = checksums(federation.server.model)
        for task in self._parts:
            encoders = [unit for unit in federation.model.units(task) if unit.startswith("encoder.")]
            if encoders and all(now[unit] == self._start[unit] for unit in encoders):
                raise RunFailed(
                    f"{', '.join(encoders)} of the common model never moved, so there is nothing to start from: rule "
                    f"{type(federation.rule).__name__} combines none, or every batch was too small"
                )
        return {}

    def __call__(self, federation: Federation) -> dict[str, float]:
        """``<task> <pretext> loss`` -> its mean; tasks with too few samples on `valid` are left out."""
        federation.model.load(federation.server.model)
        federation.model.eval()
        found = {f"{task} {self._name} loss": self._loss(federation, task, part) for task, part in self._parts.items()}
        return {name: value for name, value in found.items() if np.isfinite(value)}

    @torch.no_grad()
    def _loss(self, federation: Federation, task: str, part: CohortPart) -> float:
        model, size, total, n = federation.model, federation.settings.batch_size, 0.0, 0
        for start in range(0, len(part), size):
            index = np.arange(start, min(start + size, len(part)))
            if len(index) < model.least:
                continue
            with autocast(model, federation.settings):
                losses = model(task, model.read(part, index)).logits
            total, n = total + float(losses.double().sum()), n + len(index)
        return total / n if n else float("nan")
