"""Differences between rows, judged as families: one interval, one p and one word for each."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

from fedmeki_bench.leaderboard.panels import Panel
from fedmeki_bench.statistics.crossed import Contrasts, contrasts, stacked
from fedmeki_bench.statistics.maxt import family
from fedmeki_bench.statistics.places import Place, places

if TYPE_CHECKING:
    from fedmeki_bench.statistics.maxt import Family

Word = Literal["better", "worse", "equivalent", "undecided", "identical", "not tested"]
Question = Literal["better", "not_worse"]
Answer = Literal["yes", "no", "undecided"]

SEED = 0
"""Of the draws of a page; the same for every board, so that rebuilding one gives the same bytes."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """An algorithm against another on one task, or on the mean over the tasks, on the same seeds and patients.

    Attributes:
        algorithm, against: the two rows.
        task: the task; empty for the mean over tasks.
        metric: what is compared; empty where the mean is over different metrics and counts in margins.
        margin: the smallest difference that matters, in the units of ``difference``.
        difference: algorithm minus the other.
        low, high: its interval; all intervals of the family hold together.
        p, adjusted: two-sided p by itself, and for the family.
        each: 1 - the level of the interval by itself, the same for all of the family.
        word: ``equivalent`` where the interval lies within the margin, else ``better`` or ``worse`` where it leaves out
            0, else ``undecided``; ``identical`` where the predictions are the same, ``not tested`` where the mean over
            tasks is neither better nor worse.
        seeds, patients: what it depends on.
        note: why there is no number.
    """

    algorithm: str
    against: str
    task: str
    metric: str
    margin: float
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    adjusted: float | None = None
    each: float | None = None
    word: Word = "undecided"
    seeds: int = 0
    patients: int = 0
    note: str = ""

    NUMBERS: ClassVar[tuple[str, ...]] = ("margin", "difference", "low", "high", "p", "adjusted", "each")
    """The fields that are numbers, or None."""

    @property
    def decided(self) -> bool:
        """Whether it can be told which of the two is better."""
        return self.word in ("better", "worse")


def word_of(low: float, high: float, margin: float, *, higher: bool) -> Word:
    """What an interval says: equivalent if it lies within the margin, better or worse if it leaves out 0."""
    if -margin <= low and high <= margin:
        return "equivalent"
    if low > 0 or high < 0:
        return "better" if (low > 0) == higher else "worse"
    return "undecided"


def answer_to(question: Question, found: Comparison, *, higher: bool) -> Answer:
    """What a comparison with a bound says to the question that was declared for it."""
    if found.word == "identical":
        return "yes" if question == "not_worse" else "no"
    if found.low is None or found.high is None:
        return "undecided"
    low, high = (found.low, found.high) if higher else (-found.high, -found.low)
    limit = 0.0 if question == "better" else -found.margin
    if low > limit:
        return "yes"
    return "no" if high < limit else "undecided"


@dataclass(frozen=True, slots=True)
class Scale:
    """How a metric counts: the smallest difference that matters, whether higher is better, the largest difference."""

    metric: str
    margin: float
    higher: bool
    largest: float = math.inf


def judge(
    parts: Sequence[tuple[Panel, Scale]], pairs: Callable[[Panel], Sequence[tuple[str, str]]], *, alpha: float
) -> tuple[Comparison, ...]:
    """The pairs of rows of these panels as one family; a pair of twins is identical and no member of it.

    Args:
        parts: tasks, or one mean over tasks, with their scales. Panels are taken as independent of each other, which
            errs on the safe side.
        pairs: (row, other) to be compared in a panel; rows that it lacks are noted.
        alpha: probability that some interval of the family misses.
    """
    members: dict[tuple[int, str, str], Scale] = {}
    every: list[tuple[Comparison, tuple[int, str, str] | None]] = []
    blocks: list[Contrasts] = []
    for number, (one, scale) in enumerate(parts):
        asked: list[tuple[str, str]] = []
        size = {"seeds": one.data.values.shape[1], "patients": len(one.patients)}
        for row, other in pairs(one):
            empty = Comparison(row, other, one.task, scale.metric, scale.margin)
            lacking = next((name for name in (row, other) if name not in one.rows), None)
            a, b = one.twins.get(row, row), one.twins.get(other, other)
            if lacking is not None:
                every.append((replace(empty, note=one.absent.get(lacking, "no number")), None))
            elif a == b:
                every.append(
                    (replace(empty, difference=0.0, word="identical", note="the same predictions", **size), None)
                )
            else:
                every.append((replace(empty, **size), (number, a, b)))
                if (number, a, b) not in members:  # a twin of the row is judged with it
                    members[number, a, b] = scale
                    asked.append((a, b))
        if asked:
            blocks.append(contrasts(one.unique(), [(one.place(a), one.place(b)) for a, b in asked]))
    if not members:
        return tuple(comparison for comparison, _ in every)
    together = stacked(blocks)
    judged = family(together, alpha=alpha, seed=SEED)
    place = {member: i for i, member in enumerate(members)}
    return tuple(
        c if member is None else _filled(c, place[member], members[member], together, judged) for c, member in every
    )


def _filled(empty: Comparison, i: int, scale: Scale, found: Contrasts, judged: Family) -> Comparison:
    if found.se[i] == 0:  # two models that no patient tells apart are not known to be equal
        return replace(empty, difference=float(found.difference[i]), note="no patient tells the two apart")
    low, high = max(-scale.largest, float(judged.low[i])), min(scale.largest, float(judged.high[i]))
    return replace(
        empty, difference=float(found.difference[i]), low=low, high=high, p=float(judged.p[i]),
        adjusted=float(judged.adjusted[i]), each=judged.each,
        word=word_of(low, high, scale.margin, higher=scale.higher),
    )  # fmt: skip


def gated(per_task: Sequence[Comparison], primary: Sequence[Comparison]) -> list[Comparison]:
    """Per-task comparisons, those of rows whose mean over tasks is not decided marked as not tested."""
    decided = {c.algorithm for c in primary if c.decided}
    return [
        c if c.algorithm in decided or c.word == "identical" or c.difference is None else replace(c, word="not tested")
        for c in per_task
    ]


def placed(one: Panel, scale: Scale, rows: Sequence[str], *, alpha: float) -> dict[str, Place]:
    """Places of these rows by the panel's means, all pairs of them judged as one family."""
    import numpy as np

    distinct = [row for row in one.distinct if row in {one.twins.get(r, r) for r in rows}]
    pairs = [(a, b) for i, a in enumerate(distinct) for b in distinct[:i]]
    certain: list[tuple[str, str]] = []
    if pairs:
        found = contrasts(one.unique(), [(one.place(a), one.place(b)) for a, b in pairs])
        judged = family(found, alpha=alpha, seed=SEED)
        for (a, b), low, high in zip(pairs, judged.low, judged.high, strict=True):
            if low > 0 or high < 0:
                certain.append((a, b) if (low > 0) == scale.higher else (b, a))
    means = np.round(one.data.values.mean(axis=1), 12)
    sign = 1 if scale.higher else -1
    by_row: Mapping[str, float] = {row: sign * float(means[one.rows.index(row)]) for row in rows}
    assert all(math.isfinite(v) for v in by_row.values())
    return places(by_row, certain, one.twins)
