"""Trials of a row's options: which combinations there are, how each did on `valid`, and which did best.

Of a record nothing is read here but its status and its history; its evaluations, which are of the test split, are not.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING

from fedmeki_bench import seeds
from fedmeki_bench.boards.rows import Scalar
from fedmeki_bench.errors import InputError, UsageError
from fedmeki_bench.runs.execute import trained

if TYPE_CHECKING:
    from fedmeki_bench.evaluation.metric_spec import MetricSpec
    from fedmeki_bench.records.record import Record

_MOST = 1_000_000
_ALIKE = 12
"""Digits at which two scores count as equal: then the trial that comes first is chosen."""

Grid = Mapping[str, Sequence[Scalar]]
"""Option, as ``-o`` has it -> the values to be tried."""

Place = tuple[str, str]
"""Label of a partition, empty where there is one, and a task."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One combination of values and what became of it.

    Attributes:
        values: option -> value.
        valid: place -> the main metric on `valid` after the last round; places without a number are left out.
        status: ``ok``, ``diverged`` (a loss or a metric that is no number), or ``failed``.
        reason: why it is not ok.
        score: what decides, see :func:`scored`; None unless ok.
        keys: of the runs behind it.
    """

    values: dict[str, Scalar]
    valid: dict[Place, float]
    status: str = "ok"
    reason: str = ""
    score: float | None = None
    keys: tuple[str, ...] = ()


def combinations(over: Grid, trials: int | None, seed: int) -> list[dict[str, Scalar]]:
    """The combinations of a grid, in its order; ``trials`` of them drawn without return where it is larger.

    Raises:
        UsageError: no option, no value, a value given twice, or a grid too large to draw from.
    """
    if not over:
        raise UsageError("no option to tune; name one with its values, as in --over lr=0.0003,0.001,0.003")
    for key, values in over.items():
        if not values:
            raise UsageError(f"{key} has no value to try")
        twice = next((v for i, v in enumerate(values) if v in values[:i]), None)
        if twice is not None:
            raise UsageError(f"the value {twice} of {key} is given twice")
    size = math.prod(map(len, over.values()))
    if size > _MOST:
        raise UsageError(f"the grid has {size} combinations; {_MOST} are the most that trials are drawn from")
    if trials is not None and trials < 1:
        raise UsageError(f"the number of trials cannot be {trials}: at least 1 is needed")
    chosen: Sequence[int] = range(size)
    if trials is not None and trials < size:
        drawn = seeds.generator(seed, "trials", *over).choice(size, trials, replace=False)
        chosen = sorted(drawn.tolist())
    whole = list(itertools.product(*over.values())) if len(chosen) == size else None
    return [dict(zip(over, whole[i] if whole else _nth(over, i), strict=True)) for i in chosen]


def _nth(over: Grid, index: int) -> tuple[Scalar, ...]:
    found: list[Scalar] = []
    for values in reversed(list(over.values())):
        index, at = divmod(index, len(values))
        found.insert(0, values[at])
    return tuple(found)


def trial_of(values: Mapping[str, Scalar], runs: Mapping[str, tuple[str, Record | None, str]]) -> Trial:
    """What became of a trial.

    Args:
        values: option -> value.
        runs: key of a run -> label of its partition, its record, and why it is not done.
    """
    trial = Trial(dict(values), {}, keys=tuple(runs))
    valid: dict[Place, float] = {}
    for partition, record, reason in runs.values():
        if record is None or not trained(record):
            said = record.error.message if record is not None and record.error is not None else reason
            return replace(trial, status="failed", reason=said or "not run")
        last = record.history[-1]
        if last.loss is None and any(one.loss is not None for one in record.history):
            return replace(trial, status="diverged", reason="the loss of the last round is no number")
        lost = next((task for task, value in last.valid.items() if value is None), None)
        if lost is not None:
            return replace(trial, status="diverged", reason=f"undefined on valid: {lost}")
        valid |= {(partition, task): value for task, value in last.valid.items() if value is not None}
    return replace(trial, valid=valid)


def scored(trials: Sequence[Trial], metrics: Mapping[str, MetricSpec]) -> tuple[list[Trial], str]:
    """The trials with what decides between them, and what that is in words; the higher the better.

    The mean over places, turned round where a lower value is better. Where tasks' metrics have not all one direction
    and range, the mean over places of the rank among the trials, the last one having rank 1.

    Args:
        metrics: task -> the metric by which it is watched on `valid`.
    """
    places = list(dict.fromkeys(place for trial in trials for place in trial.valid))
    trials = [_complete(trial, places) for trial in trials]
    alive = [trial for trial in trials if trial.status == "ok"]
    higher = {task: metrics[task].direction == "higher" for _, task in places}
    kinds = {(metrics[task].direction, metrics[task].range) for _, task in places}
    if len(kinds) > 1:
        said = "mean rank over tasks among the trials, the best highest, as their metrics differ in direction or range"

        def score(trial: Trial) -> float:
            return fmean(
                0.5 + sum(_behind(other.valid[p], trial.valid[p], higher[p[1]]) for other in alive) for p in places
            )
    else:
        sign = 1 if all(higher.values()) else -1
        said = "mean over tasks on valid" + ("" if sign > 0 else ", with its sign turned as lower is better")

        def score(trial: Trial) -> float:
            return sign * fmean(trial.valid[place] for place in places)

    return [replace(t, score=score(t)) if t.status == "ok" and places else t for t in trials], said


def _behind(other: float, own: float, higher: bool) -> float:
    """1 for a trial that is worse at a place, half for an equal one, as every trial is to itself."""
    if other == own:
        return 0.5
    return float((other < own) == higher)


def _complete(trial: Trial, places: Sequence[Place]) -> Trial:
    """A trial that lacks a place which others have is no number there."""
    lost = next((task for partition, task in places if (partition, task) not in trial.valid), None)
    if trial.status != "ok" or lost is None:
        return trial
    return replace(trial, status="diverged", reason=f"undefined on valid: {lost}")


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """The trial with the highest score, of equal ones the first; None if none has one."""
    alive = [trial for trial in trials if trial.score is not None]
    return max(alive, key=lambda trial: round(trial.score or 0.0, _ALIKE), default=None)


def edges(best: Trial, trials: Sequence[Trial]) -> list[str]:
    """The numeric options of which the best has the smallest or the largest value that was tried, in words."""
    found = []
    for key, value in best.values.items():
        tried = {trial.values[key] for trial in trials}
        numbers = [v for v in tried if isinstance(v, int | float) and not isinstance(v, bool)]
        if len(numbers) < max(2, len(tried)) or value not in (min(numbers), max(numbers)):
            continue
        end = "smallest" if value == min(numbers) else "largest"
        found.append(f"{key} {value} is the {end} that was tried: a better one may lie beyond")
    return found


def check_numbers(trials: Sequence[Trial], row: str) -> None:
    """Refuse trials of which nothing can be chosen because no task's `valid` split says anything.

    Raises:
        InputError: every trial is done, and none has a number.
    """
    if trials and all(trial.status == "ok" and trial.score is None for trial in trials):
        raise InputError(f"the valid splits say nothing about {row}: no task has a number on valid")
