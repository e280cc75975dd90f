"""Scores a trained federation: on `valid` after each round, on `test` once, at the end, here and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fedmeki_bench import seeds
from fedmeki_bench.data.sealed import open_test
from fedmeki_bench.evaluation.class_metrics import AUROC_MACRO
from fedmeki_bench.evaluation.constant_answer import CONSTANT, best_constant, constantly
from fedmeki_bench.evaluation.estimates import score_predictions, value_of
from fedmeki_bench.evaluation.predictions import (
    ATTRIBUTES,
    Predictions,
    TextPredictions,
    predictions_path,
    write_predictions,
    write_text_predictions,
)
from fedmeki_bench.evaluation.remarks import Remarks, remarks
from fedmeki_bench.evaluation.rescoring import values_of
from fedmeki_bench.evaluation.subgroups import memberships, memberships_of, subgroups
from fedmeki_bench.evaluation.thresholds import threshold_at
from fedmeki_bench.evaluation.view import Answers, View, view
from fedmeki_bench.evaluation.views import holders
from fedmeki_bench.federation.questions import checksums
from fedmeki_bench.records.record import Evaluation

if TYPE_CHECKING:
    from fedmeki_bench.data.cohort import Cohort, CohortPart
    from fedmeki_bench.evaluation.metrics import MetricSpec
    from fedmeki_bench.federation.loop import Federation
    from fedmeki_bench.task import Task


_NO_ANSWERS = "not applicable: clients train on the concepts of answers; answers are the foundation model's"


def watched(task: Task, metrics: Mapping[str, MetricSpec]) -> MetricSpec:
    """The metric by which a task is scored on `valid` after each round: its main one.

    Clients that train on the concepts of answers are watched by these, as their model gives no answers.
    """
    return metrics[task.meta.metrics[0]] if task.meta.labels.how.labelled else AUROC_MACRO


class Validation:
    """Scores a federation on `valid` by each task's main metric; the first view counts."""

    def __init__(
        self, cohorts: Mapping[str, Cohort], tasks: Mapping[str, Task], metrics: Mapping[str, MetricSpec],
        views: Mapping[str, View],
    ) -> None:  # fmt: skip
        self._parts = {name: cohorts[name].part("valid") for name in tasks}
        self._main = {name: watched(task, metrics) for name, task in tasks.items()}
        self._tasks = dict(tasks)
        self._name, self._view = next(iter(views.items()))
        if self._view.in_words:  # of its answers the likelihood of candidates is watched, where there are any
            specs = {name: task.meta.labels for name, task in tasks.items()}
            self._parts = {n: p for n, p in self._parts.items() if specs[n].how.candidates(specs[n])}
        self._start: dict[str, int] = {}

    def begin(self, federation: Federation) -> None:
        """Remember the initial parameters; before a checkpoint is loaded."""
        self._start = checksums(federation.server.model)

    def remarks(self, federation: Federation) -> Remarks:
        """What the finished federation must be doubted for, see :func:`fedmeki_bench.evaluation.remarks.remarks`."""
        return remarks(federation, self._start, self._name, self._predicted, self._parts, self._main)

    def __call__(self, federation: Federation) -> dict[str, float]:
        """Task -> main metric; a task whose valid split does not determine it is left out."""
        scores = {}
        for task, part in self._parts.items():
            if len(part) == 0:
                continue
            spec = part.cohort.learnt
            if spec is None:
                continue
            predicted = spec.by_model(self._predicted(federation, task, part))
            value = float(np.mean([self._main[task](part.learnt, row) for row in predicted]))
            if np.isfinite(value):
                scores[task] = value
        return scores

    def _predicted(self, federation: Federation, task: str, part: CohortPart) -> np.ndarray:
        if not self._view.in_words:
            return self._view.scores(federation, self._tasks[task], part)
        said = self._view.predict(federation, self._tasks[task], part)
        assert isinstance(said, Answers)
        assert said.scores is not None
        return said.scores


@dataclass(frozen=True, slots=True)
class Out:
    """Where predictions go, the seed of resamples, and the metrics by name."""

    folder: Path
    seed: int
    metrics: Mapping[str, MetricSpec]


def score_test(
    federation: Federation,
    views: Mapping[str, View],
    cohorts: Mapping[str, Cohort],
    tasks: Mapping[str, Task],
    metrics: Mapping[str, MetricSpec],
    *,
    seed: int,
    folder: Path,
    doubts: Mapping[tuple[str, str], str] | None = None,
) -> list[Evaluation]:
    """Open the test split once, score every view, save the predictions under ``folder``.

    Zero-shot tasks are put to the views that can answer them. Beside a view in words stand the controls that it names
    and the best constant answer. Intervals are
    bootstraps over groups, drawn from a stream that depends on the seed and task alone, so that all algorithms are
    resampled alike. ``doubts`` are what validation remarked per view and task; each becomes the note of its evaluation.
    """
    evaluations = []
    out = Out(folder, seed, metrics)
    for task_name, cohort in cohorts.items():
        task, part = tasks[task_name], open_test(cohort)
        for name, chosen in views.items():
            if task.meta.role != "training" and not chosen.zero_shot:
                continue
            if chosen.in_words:
                evaluations += _in_words(federation, name, chosen, task, part, out)
                continue
            if not cohort.kind.labelled:
                evaluations.append(Evaluation(view=name, task=task_name, n=0, note=_NO_ANSWERS))
                continue
            holding = holders(federation, task_name)
            said = scored(federation, chosen, task, part)
            note = (doubts or {}).get((name, task_name), "")
            evaluations.append(evaluation_of(name, task, part, said, out, clients=holding, note=note))
    return evaluations


def scored(federation: Federation, chosen: View, task: Task, part: CohortPart) -> Predictions:
    """What a view that gives scores says of samples, with the thresholds that `valid` gives."""
    predicted = chosen.scores(federation, task, part)
    thresholds = _thresholds(part.cohort.part("valid"), partial(chosen.scores, federation, task))
    return Predictions(
        *_ids(part), part.sites, _gold(part), predicted, _attributes(part), thresholds, part.cohort.labels
    )


def _thresholds(valid: CohortPart, predicted: Callable[[CohortPart], np.ndarray]) -> np.ndarray | None:
    """The threshold of every model, (1,) or (clients,), chosen on `valid`; None where `valid` determines none."""
    if len(valid) == 0 or not valid.cohort.kind.threshold or not (valid.gold == 0).any():
        return None
    return np.array([threshold_at(valid.gold, row) for row in np.atleast_2d(predicted(valid))], dtype=np.float64)


def _gold(part: CohortPart) -> np.ndarray:
    """The labels, or the correct answers where there are none."""
    if part.labels is None:
        return part.answers
    return part.labels.astype(np.int64) if part.cohort.kind.whole else part.labels


def _in_words(
    federation: Federation, name: str, chosen: View, task: Task, part: CohortPart, out: Out
) -> list[Evaluation]:
    """A view in words, the views beside it, and the best constant answer."""
    said = chosen.predict(federation, task, part)
    if said is None:
        missing = ", ".join(m for m in task.meta.arrays if m not in federation.model.encoders)
        note = f"not applicable: this training never saw the modality {missing}"
        return [Evaluation(view=name, task=task.meta.name, n=0, note=note)]
    answered = answered_by(said, part)
    controls = {other: view(other).predict(federation, task, part) for other in chosen.beside}
    main = out.metrics[task.meta.metrics[0]]
    sign = 1.0 if main.direction == "higher" else -1.0
    answer, why = best_constant(answered, lambda said: sign * value_of(said, main))
    return [
        evaluation_of(name, task, part, answered, out),
        *(
            evaluation_of(other, task, part, answered_by(found, part), out)
            for other, found in controls.items()
            if found is not None
        ),
        evaluation_of(CONSTANT, task, part, constantly(answered, answer), out, note=why),
    ]


def answered_by(said: Answers | np.ndarray, part: CohortPart) -> TextPredictions:
    """What is kept of answers in words."""
    assert isinstance(said, Answers)
    parsed = np.empty(len(said.parsed), dtype=object)
    parsed[:] = said.parsed
    samples, groups = _ids(part)
    return TextPredictions(
        sample_id=samples, group_id=groups, site=part.sites, answer=np.array(said.text, dtype=object),
        gold=_gold(part), parsed=parsed, score=said.scores, attributes=_attributes(part), labels=part.cohort.labels,
    )  # fmt: skip


def _ids(part: CohortPart) -> tuple[np.ndarray, np.ndarray]:
    """Samples and groups under the names they have outside: everything reported is computed from these."""
    cohort = part.cohort
    return cohort.pseudonyms(part.sample_ids, "sample"), cohort.pseudonyms(part.group_ids, "group")


def _attributes(part: CohortPart) -> dict[str, list[str]]:
    return {name: groups for name, groups in memberships(part).items() if name in ATTRIBUTES}


def evaluation_of(
    view: str, task: Task, part: CohortPart, said: Predictions | TextPredictions, out: Out, *,
    clients: Sequence[int] = (), note: str = "", beside: str = "",
) -> Evaluation:  # fmt: skip
    """Write what a view said, and score it.

    Args:
        beside: of a score beside those of the board, what it is of: the split of a held-out site, or a variant.
    """
    path = predictions_path(out.folder, view, task.meta.name, beside=beside)
    write: Any = write_text_predictions if isinstance(said, TextPredictions) else write_predictions
    digest = write(path, said)
    specs, draw = [out.metrics[m] for m in task.meta.metrics], seeds.derive(out.seed, "bootstrap", task.meta.name)
    found = score_predictions(said, specs, seed=draw, kind=task.meta.kind)
    parts = {} if beside else subgroups(said, specs[0], memberships_of(said), seed=draw, clients=clients)
    return Evaluation(
        view=view, task=task.meta.name, split=part.split, variant=beside if beside not in ("", part.split) else None,
        n=len(part), groups=len(np.unique(part.group_ids)), metrics=values_of(found),
        subgroups=parts, predictions=path.relative_to(out.folder).as_posix(), digest=digest, note=note,
    )  # fmt: skip
