"""Scores a trained federation: on `valid` after each round, on `test` once, at the end, here and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fedmeki_bench import registry, seeds
from fedmeki_bench.cohort.sealed import open_test
from fedmeki_bench.evaluation.intervals import Estimate, estimate, estimate_text
from fedmeki_bench.evaluation.metrics import MetricSpec
from fedmeki_bench.evaluation.predictions import (
    Predictions,
    TextPredictions,
    predictions_path,
    write_predictions,
    write_text_predictions,
)
from fedmeki_bench.evaluation.views import VIEWS, foundation
from fedmeki_bench.results.record import Evaluation, MetricValue

if TYPE_CHECKING:
    from fedmeki_bench.cohort.format import Cohort, CohortPart
    from fedmeki_bench.federation.loop import Federation
    from fedmeki_bench.task import Task


FOUNDATION = "foundation"


def metric(name: str) -> MetricSpec:
    """The metric plug-in called ``name``."""
    spec = registry.load("metrics", name)
    assert isinstance(spec, MetricSpec)
    return spec


class Validation:
    """Scores a federation on `valid` by each task's main metric; selection and curves rest on this alone."""

    def __init__(self, cohorts: Mapping[str, Cohort], tasks: Mapping[str, Task], view: str) -> None:
        self._parts = {name: cohorts[name].part("valid") for name in tasks}
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

    Zero-shot tasks are put to the foundation view alone. Intervals are bootstraps over groups, drawn from a stream that
    depends on the seed and task alone, so that all algorithms are resampled alike.
    """
    evaluations = []
    for name, cohort in cohorts.items():
        task, part = tasks[name], open_test(cohort)
        chosen = [v for v in views if v == FOUNDATION or task.meta.role == "training"]
        for view in chosen:
            path = predictions_path(folder, view, name)
            draw = seeds.derive(seed, "bootstrap", name)
            found = (
                _score_answers(federation, task, part, path, draw)
                if view == FOUNDATION
                else _score_probabilities(federation, view, task, part, path, draw)
            )
            if found is None:
                missing = ", ".join(m for m in task.meta.modalities if m not in federation.model.encoders)
                note = f"not applicable: this training never saw the modality {missing}"
                evaluations.append(Evaluation(view=view, task=name, n=0, note=note))
                continue
            groups = len(np.unique(part.group_ids))
            evaluations.append(
                Evaluation(
                    view=view, task=name, n=len(part), groups=groups, metrics=found,
                    predictions=str(path.relative_to(folder)),
                )
            )  # fmt: skip
    return evaluations


def _score_probabilities(
    federation: Federation, view: str, task: Task, part: CohortPart, path: Path, draw: int
) -> dict[str, MetricValue]:
    predicted = VIEWS[view](federation, task.meta.name, part)
    labels = np.asarray(part.targets, dtype=np.int64)
    write_predictions(path, Predictions(part.sample_ids, part.group_ids, part.sites, labels, predicted))
    return _values(estimate(labels, predicted, part.group_ids, [metric(m) for m in task.meta.metrics], seed=draw))


def _score_answers(
    federation: Federation, task: Task, part: CohortPart, path: Path, draw: int
) -> dict[str, MetricValue] | None:
    """Metrics of the foundation view: of yes's probability for classification, of the text for generation.

    Either way the share of answers that the task's parser could not read is shown.
    """
    said = foundation(federation, task, part)
    if said is None:
        return None
    gold = [str(a) for a in part.answers]
    readable = [None if p is None else t for t, p in zip(said.text, said.parsed, strict=True)]
    binary = task.meta.kind == "classification"
    labels = np.asarray(part.targets, dtype=np.int64) if binary else None
    parsed = np.empty(len(said.parsed), dtype=object)
    parsed[:] = said.parsed
    answered = TextPredictions(
        sample_id=part.sample_ids, group_id=part.group_ids, site=part.sites, answer=np.array(said.text, dtype=object),
        gold=part.answers if labels is None else labels, parsed=parsed, score=said.probability,
    )  # fmt: skip
    write_text_predictions(path, answered)
    if labels is not None and said.probability is not None:
        specs = [metric(m) for m in task.meta.metrics]
        values = estimate(labels, said.probability, part.group_ids, specs, seed=draw)
        values |= estimate_text(gold, readable, part.group_ids, [metric("unparsed")], seed=draw)
    else:
        specs = [metric(m) for m in (*task.meta.metrics, "unparsed")]
        values = estimate_text(gold, readable, part.group_ids, specs, seed=draw)
    return _values(values)


def _values(found: Mapping[str, Estimate]) -> dict[str, MetricValue]:
    return {name: MetricValue(value=e.value, low=e.low, high=e.high, note=e.note) for name, e in found.items()}
