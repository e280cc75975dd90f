"""Scores a trained federation: on `valid` after each round, on `test` once, at the end, here and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fedmeki_bench import registry, seeds
from fedmeki_bench.cohort.sealed import open_test
from fedmeki_bench.evaluation.intervals import Estimate, estimate, estimate_text, per_sample_values
from fedmeki_bench.evaluation.metrics import MetricSpec
from fedmeki_bench.evaluation.predictions import (
    Predictions,
    TextPredictions,
    predictions_path,
    write_predictions,
    write_text_predictions,
)
from fedmeki_bench.evaluation.subgroups import subgroups
from fedmeki_bench.evaluation.views import VIEWS, Answers, foundation, foundation_alone
from fedmeki_bench.results.record import Evaluation, MetricValue, Subgroup

if TYPE_CHECKING:
    from fedmeki_bench.cohort.format import Cohort, CohortPart
    from fedmeki_bench.federation.loop import Federation
    from fedmeki_bench.task import Task


FOUNDATION = "foundation"
BEFORE = "foundation_before"
"""The foundation model before anything was injected: it gets the question in words and none of the data."""


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

    Zero-shot tasks are put to the foundation view alone, and to the foundation model before injection. Intervals are
    bootstraps over groups, drawn from a stream that depends on the seed and task alone, so that all algorithms are
    resampled alike.
    """
    evaluations = []
    for name, cohort in cohorts.items():
        task, part = tasks[name], open_test(cohort)
        chosen = [v for v in views if v == FOUNDATION or task.meta.role == "training"]
        for view in chosen:
            if view == FOUNDATION:
                evaluations += _asked(federation, task, part, folder, draw=seeds.derive(seed, "bootstrap", name))
                continue
            path = predictions_path(folder, view, name)
            draw = seeds.derive(seed, "bootstrap", name)
            predicted = VIEWS[view](federation, task.meta.name, part)
            labels = np.asarray(part.targets, dtype=np.int64)
            write_predictions(path, Predictions(part.sample_ids, part.group_ids, part.sites, labels, predicted))
            specs = [metric(m) for m in task.meta.metrics]
            found = estimate(labels, predicted, part.group_ids, specs, seed=draw)
            holders = [c.number for c in federation.clients if name in c.data and len(c.data[name])]
            parts = subgroups(part, labels, predicted, specs[0], seed=draw, clients=holders)
            evaluations.append(_evaluation(view, name, part, found, parts, path.relative_to(folder)))
    return evaluations


def _asked(federation: Federation, task: Task, part: CohortPart, folder: Path, *, draw: int) -> list[Evaluation]:
    """The foundation view, and the same questions put to the foundation model before injection."""
    name = task.meta.name
    said = foundation(federation, task, part)
    if said is None:
        missing = ", ".join(m for m in task.meta.modalities if m not in federation.model.encoders)
        note = f"not applicable: this training never saw the modality {missing}"
        return [Evaluation(view=FOUNDATION, task=name, n=0, note=note)]
    return [
        _score_answers(view, answers, task, part, folder, draw)
        for view, answers in ((FOUNDATION, said), (BEFORE, foundation_alone(federation, task, part)))
    ]


def _score_answers(view: str, said: Answers, task: Task, part: CohortPart, folder: Path, draw: int) -> Evaluation:
    """Metrics of answers in words: of yes's probability for classification, of the text for generation.

    Either way the share of answers that the task's parser could not read is shown.
    """
    path = predictions_path(folder, view, task.meta.name)
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
    specs = [metric(m) for m in task.meta.metrics]
    if labels is not None and said.probability is not None:
        found = estimate(labels, said.probability, part.group_ids, specs, seed=draw)
        found |= estimate_text(gold, readable, part.group_ids, [metric("unparsed")], seed=draw)
        parts = subgroups(part, labels, said.probability, specs[0], seed=draw)
    else:
        found = estimate_text(gold, readable, part.group_ids, [*specs, metric("unparsed")], seed=draw)
        values = per_sample_values(gold, readable, specs[:1])[specs[0].name]
        parts = subgroups(part, np.zeros(len(part), dtype=np.int64), values, specs[0], seed=draw)
    return _evaluation(view, task.meta.name, part, found, parts, path.relative_to(folder))


def _evaluation(
    view: str, task: str, part: CohortPart, found: Mapping[str, Estimate], parts: dict[str, list[Subgroup]], file: Path
) -> Evaluation:
    return Evaluation(
        view=view, task=task, n=len(part), groups=len(np.unique(part.group_ids)), metrics=_values(found),
        subgroups=parts, predictions=file.as_posix(),
    )  # fmt: skip


def _values(found: Mapping[str, Estimate]) -> dict[str, MetricValue]:
    return {name: MetricValue(value=e.value, low=e.low, high=e.high, note=e.note) for name, e in found.items()}
