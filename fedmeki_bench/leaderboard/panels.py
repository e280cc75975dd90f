"""The rows of a section on the same patients and seeds, read from their predictions, for every comparison."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fedmeki_bench.errors import InputError
from fedmeki_bench.evaluation.class_metrics import auroc_macro, one_against_rest
from fedmeki_bench.evaluation.estimates import columns, gold_of
from fedmeki_bench.evaluation.metrics import auprc, auroc, weighted_mean
from fedmeki_bench.evaluation.predictions import TextPredictions
from fedmeki_bench.leaderboard.collect import Outcome
from fedmeki_bench.leaderboard.reading import Reader
from fedmeki_bench.statistics.crossed import Crossed, combined
from fedmeki_bench.statistics.influence import auprc_influence, auroc_influence, jackknife, mean_influence

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fedmeki_bench.evaluation.metrics import MetricSpec

    Floats = NDArray[np.floating[Any]]
    Influence = Callable[[NDArray[Any], Floats, NDArray[Any], int], Floats]


def _auroc_macro_influence(labels: NDArray[Any], scores: Floats, group: NDArray[Any], n_groups: int) -> Floats:
    import numpy as np

    classes = one_against_rest(labels, scores)
    return np.mean([auroc_influence(own, column, group[told], n_groups) for _, told, own, column in classes], axis=0)


_INFLUENCES: dict[Callable[..., Any], Influence] = {
    auroc: auroc_influence,
    auprc: auprc_influence,
    weighted_mean: mean_influence,
    auroc_macro: _auroc_macro_influence,
}
"""Metrics whose influences have a closed form; of all others a patient is left out at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """Rows on one task, on the same seeds and patients.

    Attributes:
        task, metric: the task and its main metric; empty for the mean over tasks.
        rows: names of the rows, in the order of ``data``; rows with the same predictions all stand here.
        data: values, oriented as the metric is, and influences.
        patients: names of the patients behind the influences.
        twins: row -> the first row with the very same predictions.
        absent: row -> why it is not among ``rows``.
    """

    task: str
    metric: str
    rows: tuple[str, ...]
    data: Crossed
    patients: tuple[str, ...]
    twins: Mapping[str, str]
    absent: Mapping[str, str]

    @property
    def distinct(self) -> tuple[str, ...]:
        """The rows without the twins of others, which are no further evidence of how rows scatter."""
        return tuple(row for row in self.rows if row not in self.twins)

    def unique(self) -> Crossed:
        """The data of the distinct rows, in their order."""
        return _rows(self.data, [self.rows.index(row) for row in self.distinct])

    def place(self, row: str) -> int:
        """Where a row, or the one it is a twin of, stands among the distinct ones."""
        return self.distinct.index(self.twins.get(row, row))


@dataclass(frozen=True, slots=True, eq=False)
class _Scored:
    """One row under one seed, samples in the order of their ids; ``said`` is what the predictions are, word by word."""

    ids: tuple[str, ...]
    labels: NDArray[Any]
    strata: NDArray[Any]
    gold: NDArray[Any]
    groups: NDArray[Any]
    scores: Floats
    said: bytes


def panel(
    task: str, metric: MetricSpec, outcomes: Mapping[str, Sequence[Outcome]], seeds: Sequence[int], read: Reader, *,
    apart: Collection[str] = (),
) -> Panel | None:  # fmt: skip
    """The rows of a task that finished all these seeds on the same samples; None without any.

    Args:
        task: its name.
        metric: what is compared.
        outcomes: row -> its outcomes on the task.
        seeds: those that are compared.
        read: gives the predictions behind an outcome.
        apart: rows whose scatter over seeds says nothing of the others'.
    """
    import numpy as np

    found: dict[str, list[_Scored]] = {}
    absent: dict[str, str] = {}
    for row, given in outcomes.items():
        try:
            scored = [_scored(_of_seed(given, seed), metric, read) for seed in seeds]
            _same_samples(scored, next(iter(found.values()), scored))
        except InputError as error:
            absent[row] = str(error)
            continue
        found[row] = scored
    if not found:
        return None
    names = sorted({str(g) for scored in found.values() for one in scored for g in one.groups})
    place = {name: i for i, name in enumerate(names)}
    values = np.empty((len(found), len(seeds)))
    influences = np.empty((len(found), len(seeds), len(names)))
    for k, scored in enumerate(found.values()):
        for s, one in enumerate(scored):
            group = np.array([place[str(g)] for g in one.groups])
            values[k, s] = np.mean([metric(one.labels, model) for model in one.scores])
            each = [_influence(metric, one.labels, model, group, len(names)) for model in one.scores]
            influences[k, s] = np.mean(each, axis=0)
    strata = np.zeros(len(names), dtype=int)
    for one in next(iter(found.values())):
        np.maximum.at(strata, [place[str(g)] for g in one.groups], one.strata)
    kept = [k for k in range(len(found)) if np.isfinite(values[k]).all() and np.isfinite(influences[k]).all()]
    rows = list(found)
    absent |= {
        rows[k]: f"{metric.title} is undefined, or is without some patient" for k in range(len(rows)) if k not in kept
    }
    if not kept:
        return None
    floor = [_floor(metric, found[rows[k]], values[k], influences[k], strata) for k in kept]
    rows = [rows[k] for k in kept]
    alone = np.array([row in apart for row in rows])
    data = Crossed(values[kept], influences[kept], strata, np.array(floor), alone)
    return Panel(task, metric.name, tuple(rows), data, tuple(names), _twins({row: found[row] for row in rows}), absent)


def mean_panel(
    panels: Sequence[Panel], weights: Mapping[str, float], collections: Mapping[str, str] | None = None
) -> Panel | None:
    """The weighted sum over tasks, for the rows that all of them have; None without any.

    Tasks of one collection whose ids have different keys share patients, but nobody can say which. Their influences are
    multiplied by the root of the number of such groups: no variance of their sum can be larger.

    Args:
        panels: one per task, on the same seeds.
        weights: task -> its weight.
        collections: task -> the collection its patients come from; as many as tasks without it.
    """
    import numpy as np

    shared = [row for row in panels[0].rows if all(row in p.rows for p in panels)] if panels else []
    if not shared:
        return None
    parts = [
        _rows(one.data, [one.rows.index(row) for row in shared], factor)
        for one, factor in zip(panels, _unaligned(panels, collections or {}), strict=True)
    ]
    data = combined(parts, [p.patients for p in panels], [weights[p.task] for p in panels])
    twins: dict[str, str] = {}
    for i, row in enumerate(shared):
        for other in shared[:i]:
            if other not in twins and all(_same(p, row, other) for p in panels):
                twins[row] = other
                break
    absent = {row: f"{p.task}: {why}" for p in panels for row, why in p.absent.items()}
    patients = tuple(dict.fromkeys(name for p in panels for name in p.patients))
    assert len(patients) == data.influences.shape[2]
    assert np.isfinite(data.values).all()
    return Panel("", panels[0].metric if len({p.metric for p in panels}) == 1 else "", tuple(shared), data, patients,
                 twins, absent)  # fmt: skip


def cohorts(panels: Iterable[Panel], collections: Mapping[str, str]) -> list[list[str]]:
    """Tasks grouped by whose patients they depend on: tasks with a patient in common count once.

    Args:
        panels: one per task.
        collections: task -> the collection its patients come from; tasks of one collection share patients even where
            their ids have different keys.
    """
    groups: list[tuple[set[str], list[str]]] = []
    for one in panels:
        marks = {*one.patients, f"collection {collections.get(one.task, one.task)}"}
        joined = [g for g in groups if g[0] & marks]
        groups = [g for g in groups if not g[0] & marks]
        groups.append((marks.union(*(g[0] for g in joined)), [t for g in joined for t in g[1]] + [one.task]))
    return [tasks for _, tasks in groups]


def _rows(data: Crossed, index: Sequence[int], groups: int = 1) -> Crossed:
    """Some rows of a task whose collection has so many groups of patients that isn't clear apart."""
    chosen = list(index)
    influences = data.influences[chosen] * math.sqrt(groups)
    apart = None if data.apart is None else data.apart[chosen]
    return Crossed(data.values[chosen], influences, data.strata, data.floor[chosen] * groups, apart)


def _unaligned(panels: Sequence[Panel], collections: Mapping[str, str]) -> list[int]:
    """Of each panel, in how many groups without a common id the tasks of its collection fall."""
    by_ids = cohorts(panels, {})
    group = {task: number for number, tasks in enumerate(by_ids) for task in tasks}
    origin = [collections.get(one.task, one.task) for one in panels]
    return [
        len({group[other.task] for other, theirs in zip(panels, origin, strict=True) if theirs == own})
        for own in origin
    ]


def _same(one: Panel, row: str, other: str) -> bool:
    return one.twins.get(row, row) == one.twins.get(other, other)


def _of_seed(outcomes: Sequence[Outcome], seed: int) -> Outcome:
    for outcome in outcomes:
        if outcome.cell.seed == seed and outcome.status == "ok":
            return outcome
    raise InputError(f"no number of seed {seed}")


def _scored(outcome: Outcome, metric: MetricSpec, read: Reader) -> _Scored:
    """The columns behind an outcome, by sample id."""
    import numpy as np

    assert outcome.record is not None
    assert outcome.evaluation is not None
    found = read(outcome.record, outcome.evaluation)
    if found is None:
        raise InputError(f"record {outcome.record.key} names no predictions")
    try:
        taken = columns(found, metric)
    except InputError as error:
        raise InputError(f"record {outcome.record.key}: {error}") from error
    ids = np.asarray([str(s) for s in found.sample_id])
    if len(set(ids.tolist())) != len(ids):
        raise InputError(f"record {outcome.record.key}: a sample stands twice in its predictions")
    order = np.argsort(ids, kind="stable")
    groups = np.asarray([str(g) for g in found.group_id])
    scores = taken.scores[:, order]
    spec = found.labels
    strata = spec.how.strata(taken.labels, spec) if metric.needs != "text" else taken.labels
    words = _words(found, order) if isinstance(found, TextPredictions) else ""
    said = str(scores.shape).encode() + scores.astype("<f8").tobytes() + words.encode()
    return _Scored(
        tuple(ids[order].tolist()),
        taken.labels[order],
        strata[order],
        gold_of(found)[order],
        groups[order],
        scores,
        said,
    )


def _words(found: TextPredictions, order: NDArray[Any]) -> str:
    """The answers and what was read from them: of two rows these may differ where no score does."""
    return json.dumps([(str(found.answer[i]), str(found.parsed[i])) for i in order])


def _same_samples(scored: Sequence[_Scored], others: Sequence[_Scored]) -> None:
    """Raise InputError unless both were scored on the same samples with the same labels, seed by seed."""
    for one, other in zip(scored, others, strict=True):
        if one.ids != other.ids:
            raise InputError("the two runs were not scored on the same samples; compare runs on the same cohorts")
        if not (one.gold == other.gold).all():
            raise InputError("labels differ between the runs: they use other data")


def _influence(metric: MetricSpec, labels: NDArray[Any], scores: Floats, group: NDArray[Any], n: int) -> Floats:
    closed = _INFLUENCES.get(metric.function)
    if closed is not None:
        return closed(labels, scores, group, n)
    return jackknife(metric.function, labels, scores, group, n)


def _floor(
    metric: MetricSpec, scored: Sequence[_Scored], values: Floats, influences: Floats, strata: NDArray[Any]
) -> float:
    """The variance of a row that stands at the end of its range with all its patients alike: not 0, they are few.

    For AUROC half of the variance between two models that both separate these patients without error: drawn with
    AUROCs uniform from 0.8 to 1, such models on 13 and 27 patients differ by 0.028 (standard deviation), as the formula
    says; on more patients it errs on the safe side. For others as far as Wilson's bound at one standard error lies from
    the end. A constant score is exactly what it is, and has none.
    """
    import numpy as np

    at_end = (np.isclose(values, metric.range[0]) | np.isclose(values, metric.range[1])).all()
    constant = metric.needs == "score" and all((np.ptp(one.scores, axis=1) == 0).all() for one in scored)
    if not at_end or constant or np.abs(influences).max() > 1e-12:
        return 0.0
    sizes = np.bincount(strata, minlength=2)
    if metric.function is auroc and sizes.min() > 0:
        return float(((1 / sizes[0] + 1 / sizes[1]) / 4) ** 2 / 2)
    return float(1 / (len(strata) + 1) ** 2)


def _twins(found: Mapping[str, Sequence[_Scored]]) -> dict[str, str]:
    """Row -> the first row whose predictions are the same to the last bit, on all seeds."""
    first: dict[str, str] = {}
    twins = {}
    for row, scored in found.items():
        digest = hashlib.sha256()
        for one in scored:
            digest.update(one.said)
        key = digest.hexdigest()
        if key in first:
            twins[row] = first[key]
        else:
            first[key] = row
    return twins
