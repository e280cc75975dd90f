"""One metric on parts of the test patients: sites, sexes, bands of age, and how far they lie apart."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from fedmeki_bench.seeds import generator
from fedmeki_bench.statistics.resampling import drawn_groups, left_out_note, metric_of, sorted_models
from fedmeki_bench.statistics.seeds import ENOUGH_SEEDS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from fedmeki_bench.statistics.intervals import Interval
    from fedmeki_bench.statistics.resampling import Metric

    IntervalOf = Callable[[NDArray[Any], NDArray[np.floating[Any]], NDArray[Any], float], Interval]

UNKNOWN = "unknown"
"""The band of a missing age."""

AGE_EDGES = (18, 40, 65, 80)
"""First year of each band but the youngest."""


@dataclass(frozen=True, slots=True)
class GroupValue:
    """A metric on one part of the test samples.

    Attributes:
        name: what the samples have in common, such as a site.
        n: number of samples.
        groups: number of patients.
        value: the metric; NaN where there are too few samples or it is undefined.
        low: lower end of its interval over patients; NaN where there is none.
        high: its upper end.
        note: why something is missing; empty if nothing is.
    """

    name: str
    n: int
    groups: int
    value: float
    low: float
    high: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class Spread:
    """How far the parts lie apart.

    Attributes:
        best: name of the best part.
        worst: name of the worst part.
        best_value: metric of the best part.
        worst_value: metric of the worst part.
        gap: distance between the two, never negative.
        sd: sample standard deviation over the parts (ddof 1); None below three.
        parts: number of parts that have a value.
    """

    best: str
    worst: str
    best_value: float
    worst_value: float
    gap: float
    sd: float | None
    parts: int


def by_group(
    metric: Metric,
    labels: ArrayLike,
    scores: ArrayLike,
    membership: Sequence[str],
    groups: ArrayLike,
    *,
    seed: int,
    resamples: int = 1000,
    smallest: int = 10,
    level: float = 0.95,
    order: Sequence[str] | None = None,
    interval: IntervalOf | None = None,
) -> list[GroupValue]:
    """The metric on every part, with intervals over the patients of that part.

    The intervals hold for each part by itself. The worst of many small parts lies low by chance alone: see
    :func:`chance_gap`.

    Args:
        metric: as for :func:`~fedmeki_bench.statistics.influence.jackknife`; of a text metric, ``weighted_mean``.
        labels: (n,) gold labels; of a text metric, anything of that length.
        scores: (n,), or (clients, n) where every client has its own model (the metric is the mean over clients); of a
            text metric, its values per sample.
        membership: n names of parts.
        groups: (n,) patient of each sample.
        seed: of the resamples; a part's are the same whatever the algorithm.
        resamples: number of bootstrap resamples.
        smallest: a part with fewer samples has no value.
        level: mass of the intervals.
        order: names in the order wanted, absent ones ignored; sorted by name without it.
        interval: ``(labels, scores, patients, value) -> interval`` with shapes (n,), (clients, n), (n,) numbers from 0
            on, and the metric. Without it the percentile bootstrap, which alone uses seed, resamples and level.

    Raises:
        ValueError: lengths that do not fit, or a name that ``order`` lacks.
    """
    import numpy as np

    y, ids, names = np.asarray(labels), np.asarray(groups), np.asarray([str(m) for m in membership], dtype=object)
    columns = np.atleast_2d(np.asarray(scores, dtype=np.float64))
    if not len(y) == len(ids) == len(names) == columns.shape[1]:
        raise ValueError(
            f"labels ({len(y)}), scores ({columns.shape[1]}), membership ({len(names)}) and groups ({len(ids)}) differ "
            "in length"
        )
    present = sorted(set(names))
    if order is not None:
        lacking = [name for name in present if name not in set(order)]
        if lacking:
            raise ValueError(f"the order of groups lacks {lacking[:5]}")
        present = [name for name in dict.fromkeys(order) if name in set(present)]
    found = []
    for name in present:
        rows = np.flatnonzero(names == name)
        part = (y[rows], columns[:, rows], ids[rows])
        found.append(
            _one(
                metric, str(name), part,
                seed=seed, resamples=resamples, smallest=smallest, level=level, interval=interval,
            )
        )  # fmt: skip
    return found


def _one(
    metric: Metric,
    name: str,
    part: tuple[Any, Any, Any],
    *,
    seed: int,
    resamples: int,
    smallest: int,
    level: float,
    interval: IntervalOf | None,
) -> GroupValue:
    """The metric on the (labels, scores, patients) of one part."""
    import numpy as np

    labels, scores, ids = part
    known, index = np.unique(ids, return_inverse=True)
    n, patients, nan = len(labels), len(known), math.nan
    if n < max(1, smallest):
        return GroupValue(name, n, patients, nan, nan, nan, f"fewer than {smallest} samples")
    models = sorted_models(labels, scores, index)
    value = float(metric_of(metric, models, np.ones((1, patients)))[0])
    if not math.isfinite(value):
        return GroupValue(name, n, patients, nan, nan, nan, "undefined on these samples")
    if patients == 1:
        return GroupValue(name, n, patients, value, nan, nan, "one patient: no interval")
    if interval is not None:
        one = interval(labels, scores, index, value)
        return GroupValue(name, n, patients, value, one.low, one.high, one.note)
    counts = drawn_groups(patients, n, resamples, generator(seed, "groups", name))
    drawn = np.concatenate([np.empty(0), *(metric_of(metric, models, c) for c in counts)])
    defined = drawn[np.isfinite(drawn)]
    tail = (1 - level) / 2
    low, high = np.quantile(defined, [tail, 1 - tail]) if len(defined) else (nan, nan)
    return GroupValue(name, n, patients, value, float(low), float(high), left_out_note(len(drawn), len(defined)))


@dataclass(frozen=True, slots=True)
class ChanceGap:
    """How far the best and the worst part lie apart where all have the same true value.

    Attributes:
        expected: mean of that distance.
        upper: what it stays below in 95 % of test splits.
    """

    expected: float
    upper: float


def chance_gap(errors: Sequence[float], *, level: float = 0.95) -> ChanceGap:
    """The range of independent normal values with one mean and these standard errors, by numerical integration.

    For equal errors it is Tukey's studentised range with infinitely many degrees of freedom.

    Args:
        errors: standard error of the metric on each part, at least two.
        level: where ``upper`` lies.

    Raises:
        ValueError: fewer than two errors, or one that is negative or not finite.
    """
    import numpy as np
    from scipy.integrate import trapezoid
    from scipy.optimize import brentq
    from scipy.special import ndtr

    sd = np.asarray(errors, dtype=np.float64)
    if len(sd) < 2 or not np.isfinite(sd).all() or (sd < 0).any():
        raise ValueError(
            f"a gap by chance needs two or more standard errors, finite and not negative, got {list(errors)}"
        )
    largest = float(sd.max())
    if largest == 0:
        return ChanceGap(0.0, 0.0)
    sd = np.maximum(sd / largest, 1e-6)
    z, step = np.linspace(-8, 8, 2001, retstep=True)
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi) * step

    def below(width: float) -> float:
        """Probability that the range is at most ``width``: each part in turn is the lowest, the others above it."""
        total = 0.0
        for i, own in enumerate(sd):
            others = np.delete(sd, i)[:, None]
            total += float(density @ np.prod(ndtr((own * z + width) / others) - ndtr(own * z / others), axis=0))
        return total

    upper = float(brentq(lambda width: below(width) - level, 0.0, 20.0))
    x = z[z >= 0][:, None]
    highest = 1 - np.prod(ndtr(x / sd), axis=1) - np.prod(ndtr(-x / sd), axis=1)  # P(max > x) - P(max < -x)
    expected = 2 * float(trapezoid(highest, x[:, 0]))
    return ChanceGap(largest * expected, largest * upper)


def spread(values: Sequence[GroupValue], *, higher: bool) -> Spread | None:
    """Best and worst part and their distance; None with fewer than two parts that have a value.

    Of equal values the first is named.

    Args:
        values: the parts, those without a value ignored.
        higher: whether a higher value is better.
    """
    known = [(part.value, part.name) for part in values if math.isfinite(part.value)]
    if len(known) < 2:
        return None
    sign = 1.0 if higher else -1.0
    best, worst = max(known, key=lambda v: sign * v[0]), min(known, key=lambda v: sign * v[0])
    sd = None
    if len(known) >= ENOUGH_SEEDS:
        mean = math.fsum(v for v, _ in known) / len(known)
        sd = math.sqrt(math.fsum((v - mean) ** 2 for v, _ in known) / (len(known) - 1))
    return Spread(best[1], worst[1], best[0], worst[0], abs(best[0] - worst[0]), sd, len(known))


def age_band_names(edges: Sequence[int] = AGE_EDGES) -> list[str]:
    """The bands from young to old, then ``unknown``: the ``order`` of :func:`by_group`.

    Raises:
        ValueError: no edges, or edges that do not rise.
    """
    if not edges or any(a >= b for a, b in pairwise(edges)):
        raise ValueError(f"edges of age bands must rise, got {list(edges)}")
    middle = [f"{a}-{b - 1}" if b - a > 1 else f"{a}" for a, b in pairwise(edges)]
    return [f"<{edges[0]}", *middle, f"{edges[-1]}+", UNKNOWN]


def age_bands(ages: Sequence[float | None], edges: Sequence[int] = AGE_EDGES) -> list[str]:
    """Band of each age in years, such as ``<18``, ``18-39``, ``80+``; ``unknown`` for None, NaN or a negative age.

    Raises:
        ValueError: no edges, or edges that do not rise.
    """
    names = age_band_names(edges)
    return [
        UNKNOWN if age is None or not age >= 0 else names[sum(age >= edge for edge in edges)]  # NaN is not >= 0
        for age in ages
    ]
