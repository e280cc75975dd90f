"""Stored answers of any kind of task that has labels, read from JSON or JSON Lines and scored."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedmeki_bench import registry
from fedmeki_bench.errors import InputError, nearest
from fedmeki_bench.evaluation.answer_files import fields_of, rows_of
from fedmeki_bench.evaluation.estimates import score_predictions
from fedmeki_bench.evaluation.intervals import Estimate
from fedmeki_bench.evaluation.metric_spec import MetricSpec
from fedmeki_bench.evaluation.predictions import Predictions, TextPredictions

if TYPE_CHECKING:
    from fedmeki_bench.kinds.kind import LabelSpec


def read_labelled(path: Path, spec: LabelSpec) -> Predictions | TextPredictions:
    """Read a JSON list of objects, or one JSON object per line; other fields of a row are ignored.

    ``label`` is a class's name or number, a list of findings, an object of finding and 1, 0 or null, or a number;
    ``answer`` a text or null; ``score`` a number, or one per class or finding, as a list in the order of
    ``spec.classes`` or an object; ``group`` the patient.

    Raises:
        InputError: with file and row (or line): a field is missing, of the wrong type, or names an unknown class.
    """
    import numpy as np

    rows = rows_of(path)
    fields = fields_of(rows)
    how = spec.how
    labels, answers, scores, groups = [], [], [], []
    for number, (where, row) in enumerate(rows):
        label = _label(where, row["label"], spec)
        problem = how.problem(label, spec)
        if problem:
            raise InputError(f"{where}: 'label' is {json.dumps(row['label'])[:60]}, {problem}")
        labels.append(label)
        if "answer" in fields:
            if not (row["answer"] is None or isinstance(row["answer"], str)):
                raise InputError(f"{where}: 'answer' must be text or null")
            answers.append(row["answer"])
        if "score" in fields:
            scores.append(_score(where, row["score"], spec))
        groups.append(str(row.get("group", number)))
    gold = how.read(list(how.column(labels)), spec)
    known = (np.arange(len(rows)).astype(str), np.asarray(groups), np.full(len(rows), ""))
    given = np.asarray(scores, dtype=np.float64) if scores else None
    if not answers:
        assert given is not None
        return Predictions(*known, gold, given, labels=spec)
    said, parsed = np.empty(len(rows), dtype=object), np.empty(len(rows), dtype=object)
    said[:] = ["" if a is None else a for a in answers]
    parsed[:] = [None if a is None else how.parse(a, spec) for a in answers]
    return TextPredictions(*known, gold, said, parsed, given, labels=spec)


def metrics_for(said: Predictions | TextPredictions) -> dict[str, MetricSpec]:
    """The installed metrics that these rows allow, by name, those of the kind first."""
    spec = said.labels
    names = [*spec.how.metrics, *(n for n in registry.names("metrics") if n not in spec.how.metrics)]
    known: dict[str, MetricSpec] = {name: registry.load("metrics", name) for name in names}
    words = isinstance(said, TextPredictions)
    possible = {"score": said.score is not None, "answer": True, "label": True, "threshold": False, "text": words}
    return {
        name: metric
        for name, metric in known.items()
        if metric.applies(spec.kind) and possible[metric.needs] and (metric.kinds or words)
    }


def score_labelled(
    said: Predictions | TextPredictions, *, names: Sequence[str] | None = None, seed: int = 0, resamples: int = 1000
) -> tuple[dict[str, Estimate], dict[str, MetricSpec]]:
    """The metrics with their intervals over groups, and what they are.

    Raises:
        InputError: a metric that the rows do not allow.
    """
    known = metrics_for(said)
    for name in names or ():
        if name not in known:
            raise InputError(f"these rows allow no metric {name!r}; {nearest(name, known)}")
    chosen = [metric for name, metric in known.items() if names is None or name in names]
    found = score_predictions(said, chosen, seed=seed, kind=said.labels.kind, resamples=resamples)
    return {metric.name: found[metric.name] for metric in chosen}, known


def _label(where: str, value: Any, spec: LabelSpec) -> Any:
    classes = list(spec.classes)
    if isinstance(value, dict):
        _known(where, value, classes)
        return tuple(value.get(name) for name in classes)
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        _known(where, value, classes)
        return tuple(int(name in value) for name in classes)
    if isinstance(value, str) and classes:
        _known(where, [value], classes)
        return classes.index(value)
    return value


def _known(where: str, names: Any, classes: Sequence[str]) -> None:
    unknown = [name for name in names if name not in classes]
    if unknown:
        raise InputError(f"{where}: {unknown[0]!r} is none of --classes; {nearest(unknown[0], classes)}")


def _score(where: str, value: Any, spec: LabelSpec) -> Any:
    if isinstance(value, dict):
        _known(where, value, spec.classes)
        value = [value.get(name) for name in spec.classes]
    wanted = len(spec.classes) if spec.how.classed else None
    numbers = value if isinstance(value, list) else [value]
    if isinstance(value, list) != (wanted is not None) or (wanted is not None and len(numbers) != wanted):
        what = "a number" if wanted is None else f"{wanted} numbers, one per class"
        raise InputError(f"{where}: 'score' must be {what}, not {json.dumps(value)[:60]}")
    if any(isinstance(one, bool) or not isinstance(one, (int, float)) or one - one != 0 for one in numbers):
        raise InputError(f"{where}: 'score' holds what is no finite number: {json.dumps(value)[:60]}")
    return value
