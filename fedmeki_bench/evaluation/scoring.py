"""Scores a trained federation: on `valid` after each round, on `test` once, at the end, here and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fedmeki_bench import registry, seeds
from fedmeki_bench.cohort.sealed import open_test
from fedmeki_bench.evaluation.intervals import estimate
from fedmeki_bench.evaluation.metrics import MetricSpec
from fedmeki_bench.evaluation.predictions import Predictions, predictions_path, write_predictions
from fedmeki_bench.evaluation.views import VIEWS
from fedmeki_bench.results.record import Evaluation, MetricValue

if TYPE_CHECKING:
    from fedmeki_bench.cohort.format import Cohort
    from fedmeki_bench.federation.loop import Federation
    from fedmeki_bench.task import Task


def metric(name: str) -> MetricSpec:
    """The metric plug-in called ``name``."""
    spec = registry.load("metrics", name)
    assert isinstance(spec, MetricSpec)
    return spec


class Validation:
    """Scores a federation on `valid` by each task's main metric; selection and curves rest on this alone."""

    def __init__(self, cohorts: Mapping[str, Cohort], tasks: Mapping[str, Task], view: str) -> None:
        self._parts = {name: cohort.part("valid") for name, cohort in cohorts.items()}
        self._main = {name: metric(task.meta.metrics[0]) for name, task in tasks.items()}
        self._view = VIEWS[view]

    def __call__(self, federation: Federation) -> dict[str, float]:
        """Task -> main metric; a task whose valid split does not determine it is left out."""
        scores = {}
        for task, part in self._parts.items():
            if len(part) == 0:
                continue
            predicted = np.atleast_2d(self._view(federation, task, part))
            value = float(np.mean([self._main[task](part.targets, row) for row in predicted]))
            if np.isfinite(value):
                scores[task] = value
        return scores


def score_test(
    federation: Federation,
    views: Sequence[str],
    cohorts: Mapping[str, Cohort],
    tasks: Mapping[str, Task],
    *,
    seed: int,
    folder: Path,
) -> list[Evaluation]:
    """Open the test split once, score every view, save the predictions under ``folder``.

    Intervals are bootstraps over groups, drawn from a stream that depends on the seed and task alone, so that all
    algorithms are resampled alike.
    """
    evaluations = []
    for task, cohort in cohorts.items():
        part = open_test(cohort)
        specs = [metric(name) for name in tasks[task].meta.metrics]
        for view in views:
            predicted = VIEWS[view](federation, task, part)
            path = predictions_path(folder, view, task)
            labels = np.asarray(part.targets, dtype=np.int64)
            write_predictions(path, Predictions(part.sample_ids, part.group_ids, part.sites, labels, predicted))
            found = estimate(labels, predicted, part.group_ids, specs, seed=seeds.derive(seed, "bootstrap", task))
            evaluations.append(
                Evaluation(
                    view=view,
                    task=task,
                    n=len(part),
                    groups=len(np.unique(part.group_ids)),
                    metrics={
                        name: MetricValue(value=e.value, low=e.low, high=e.high, note=e.note)
                        for name, e in found.items()
                    },
                    predictions=str(path.relative_to(folder)),
                )
            )
    return evaluations
