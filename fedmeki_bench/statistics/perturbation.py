"""What other choices would have shown: claims judged at every point, intervals over points, and what moves a number.

The inference of predictability, computability and stability (Yu and Kumbier, Veridical data science, PNAS 2020,
arXiv 1901.08152) asks whether a conclusion stands under every reasonable choice. Choices are no sample of anything:
shares of points are counted and shown, and none of them is a probability.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean, median
from typing import Literal

import numpy as np

Word = Literal["held", "tied", "failed", "undefined"]
Score = float | None

_EQUAL = 1e-9
"""Values closer than this are equal; predictions of 2,000 samples differ by more if they differ."""

QUANTILES = (0.05, 0.95)
"""Ends of a perturbation interval."""


@dataclass(frozen=True, slots=True)
class World:
    """One way in which everything was done: a point of a board under one seed.

    Attributes:
        label: in words.
        place: axis -> its value there.
        moved: axes that do not stand at their base.
    """

    label: str
    place: Mapping[str, str]
    moved: tuple[str, ...] = ()


def mean_ranks(scores: Mapping[str, Sequence[Score]]) -> dict[str, float]:
    """Row -> its mean rank over tasks, 1 the best, ties shared; rows without all their values have none.

    Args:
        scores: row -> its value per task, where higher is better.
    """
    known = {row: [v for v in values if v is not None] for row, values in scores.items()}
    known = {row: values for row, values in known.items() if values and len(values) == len(scores[row])}
    tasks = len(next(iter(known.values()), ()))
    ranks: dict[str, list[float]] = {row: [] for row in known}
    for task in range(tasks):
        for row, values in known.items():
            better = sum(other[task] > values[task] + _EQUAL for other in known.values())
            equal = sum(abs(other[task] - values[task]) <= _EQUAL for other in known.values())
            ranks[row].append(better + (equal + 1) / 2)
    return {row: fmean(found) for row, found in ranks.items()}


def judge_pair(left: Score, right: Score, offset: float = 0.0, *, strict: bool = True) -> Word:
    """Whether ``left > right + offset`` (or ``>=``), where higher is better; equal sides are tied."""
    if left is None or right is None:
        return "undefined"
    apart = left - right - offset
    if abs(apart) <= _EQUAL:
        return "tied" if strict or not offset else "held"
    return "held" if apart > 0 else "failed"


def judge_best(row: str, ranks: Mapping[str, float]) -> Word:
    """Whether no row has a better mean rank; shared first places are tied."""
    if row not in ranks or len(ranks) < 2:
        return "undefined"
    others = min(rank for name, rank in ranks.items() if name != row)
    return judge_pair(-ranks[row], -others)


def perturbation_interval(values: Sequence[Score]) -> tuple[float, float] | None:
    """The 5 % and 95 % quantiles of a number over points; None for fewer than two."""
    known = [v for v in values if v is not None]
    if len(known) < 2:
        return None
    low, high = np.quantile(known, QUANTILES)
    return float(low), float(high)


@dataclass(frozen=True, slots=True)
class Move:
    """How an axis moves a number.

    Attributes:
        range: largest minus smallest mean over the axis's values.
        share: of the number's variance over worlds, what the axis explains by itself (its first-order share); None
            where the number does not vary.
    """

    range: float
    share: float | None


def moves(values: Sequence[Score], worlds: Sequence[World]) -> dict[str, Move]:
    """Axis -> how it moves a number, for every axis along which the number is known at two values.

    Where worlds differ from the base in one axis at a time, the values of an axis are compared with all others at
    their base, and the shares are those of the sum of the axes' variances. Otherwise the values are means over all
    worlds that have them, and the shares are those of the whole variance: what is lacking to 1 is interaction, or, in a
    design that does not balance its axes, overlap.

    Args:
        values: the number in every world; None where it has none.
        worlds: their places, in the same order.
    """
    axes = list(dict.fromkeys(axis for world in worlds for axis in world.place))
    alone = one_at_a_time(worlds)
    means: dict[str, list[tuple[float, int]]] = {}
    for axis in axes:
        found: dict[str, list[float]] = defaultdict(list)
        for world, value in zip(worlds, values, strict=True):
            if value is not None and axis in world.place and (not alone or set(world.moved) <= {axis}):
                found[world.place[axis]].append(value)
        if len(found) > 1:
            means[axis] = [(fmean(v), len(v)) for v in found.values()]
    between = {axis: _variance(found, balanced=alone) for axis, found in means.items()}
    known = [v for v in values if v is not None]
    whole = math.fsum(between.values()) if alone else (float(np.var(known)) if known else 0.0)
    return {
        axis: Move(
            max(m for m, _ in found) - min(m for m, _ in found),
            between[axis] / whole if whole > _EQUAL**2 else None,
        )
        for axis, found in means.items()
    }


def one_at_a_time(worlds: Sequence[World]) -> bool:
    """Whether no world moves two axes."""
    return all(len(world.moved) < 2 for world in worlds) and any(world.moved for world in worlds)


def _variance(means: Sequence[tuple[float, int]], *, balanced: bool) -> float:
    weights = [1 if balanced else n for _, n in means]
    centre = sum(w * m for w, (m, _) in zip(weights, means, strict=True)) / sum(weights)
    return sum(w * (m - centre) ** 2 for w, (m, _) in zip(weights, means, strict=True)) / sum(weights)


@dataclass(frozen=True, slots=True)
class Turn:
    """How often a claim holds along an axis.

    Attributes:
        held: value of the axis -> (worlds where it holds, worlds where it is decided: held or failed).
        range: the largest minus the smallest share held among its values.
    """

    held: Mapping[str, tuple[int, int]]
    range: float


def turns(words: Sequence[Word], worlds: Sequence[World]) -> dict[str, Turn]:
    """Axis -> how a claim's verdict turns along it; worlds where it is tied or undefined count for nothing."""
    alone = one_at_a_time(worlds)
    found: dict[str, Turn] = {}
    for axis in dict.fromkeys(axis for world in worlds for axis in world.place):
        counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        for world, word in zip(worlds, words, strict=True):
            if axis in world.place and (not alone or set(world.moved) <= {axis}):
                held, decided = counts[world.place[axis]]
                counts[world.place[axis]] = [held + (word == "held"), decided + (word in ("held", "failed"))]
        shares = [held / decided for held, decided in counts.values() if decided]
        if len(counts) > 1:
            spread = max(shares) - min(shares) if len(shares) > 1 else 0.0
            found[axis] = Turn({value: (h, d) for value, (h, d) in counts.items()}, spread)
    return found


@dataclass(frozen=True, slots=True)
class Orders:
    """How well the order of two rows is kept, over all pairs of rows and all cells (tasks in worlds).

    Attributes:
        kept: of each pair, the share of its decided cells in which the more frequent order holds, ascending.
        tied: share of all cells in which a pair has equal values.
    """

    kept: tuple[float, ...]
    tied: float

    @property
    def median(self) -> float | None:
        """Of the pairs; None without a pair that was ever decided."""
        return median(self.kept) if self.kept else None


def orders(scores: Mapping[str, Sequence[Score]]) -> Orders:
    """How often each pair of rows keeps its order.

    Args:
        scores: row -> its value in every cell, in one order; higher is better.
    """
    kept, ties, cells = [], 0, 0
    for a, b in combinations(scores, 2):
        words = [judge_pair(x, y) for x, y in zip(scores[a], scores[b], strict=True)]
        held, failed = words.count("held"), words.count("failed")
        ties, cells = ties + words.count("tied"), cells + len(words) - words.count("undefined")
        if held + failed:
            kept.append(max(held, failed) / (held + failed))
    return Orders(tuple(sorted(kept)), ties / cells if cells else 0.0)
