"""Ranks over tasks, and how far an algorithm's place would move with other tasks and other seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fedmeki_bench.seeds import generator
from fedmeki_bench.statistics.table import ScoreTable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]

_DECIMALS = 12
"""Values that agree so far tie: a mean over seeds must not break a tie by the order of its additions."""


@dataclass(frozen=True, slots=True)
class RankInterval:
    """An algorithm's place in a field with the places it takes when tasks and seeds are drawn again.

    Attributes:
        mean_rank: rank averaged over tasks, 1 is best.
        place: 1 + number of algorithms whose mean rank is strictly better.
        low: best place of the interval.
        high: worst place of the interval.
        determined: False with one task and one seed: nothing can be drawn again, and the interval is the whole field.
    """

    mean_rank: float
    place: int
    low: int
    high: int
    determined: bool = True


def task_ranks(table: ScoreTable) -> Floats:
    """Rank of every algorithm on every task and seed, (A, T, S): 1 is best, ties share the mean of their ranks."""
    return _ranked(table.values, table)


def mean_ranks(table: ScoreTable) -> dict[str, float]:
    """Algorithm to mean rank: values are averaged over seeds, ranked on each task, and ranks averaged over tasks.

    This is the statistic of Friedman's test (Demšar 2006, section 3.2.2). On a full table Borda counts and mean win
    rates are linear in it and order the algorithms alike.
    """
    import numpy as np

    ranks = _ranked(table.values.mean(axis=2), table).mean(axis=1)
    return dict(zip(table.algorithms, np.asarray(ranks).tolist(), strict=True))


def rank_intervals(
    table: ScoreTable, *, seed: int, resamples: int = 2000, level: float = 0.95
) -> dict[str, RankInterval]:
    """Each algorithm's place with its percentile interval over resampled tasks and seeds.

    A resample draws tasks and seeds with replacement, the same for all algorithms and the same seeds on all its
    tasks, recomputes mean ranks and from them places. Quantiles are taken of whole places, and the interval is
    widened to hold the place itself. With few tasks an ordinary bootstrap is too narrow rather than too wide: read a
    narrow interval over two or three tasks as "on these tasks". With one task and one seed the interval is the
    whole field.

    Args:
        table: a full grid of scores.
        seed: of the resamples; the same for every table of one board.
        resamples: number of bootstrap resamples.
        level: mass of the interval.
    """
    import numpy as np
    from scipy.stats import rankdata

    n_algorithms, n_tasks, n_seeds = table.values.shape
    means = list(mean_ranks(table).values())
    places = [1 + sum(other < mean - 1e-9 for other in means) for mean in means]
    if n_tasks == n_seeds == 1:
        whole = [RankInterval(m, p, 1, n_algorithms, determined=False) for m, p in zip(means, places, strict=True)]
        return dict(zip(table.algorithms, whole, strict=True))
    rng = generator(seed, "ranks", "bootstrap")
    times_seed = _multiplicities(rng.integers(0, n_seeds, (resamples, n_seeds)), n_seeds)
    times_task = _multiplicities(rng.integers(0, n_tasks, (resamples, n_tasks)), n_tasks)
    # Few distinct draws of seeds exist (10 of three seeds): ranks are found once for each of them.
    distinct, which = np.unique(times_seed, axis=0, return_inverse=True)
    ranks = _ranked(np.einsum("ats,ds->atd", table.values, distinct / n_seeds), table)  # (A, T, distinct)
    # Ranks are halves of integers, so their sums are exact and equal sums tie.
    sums = np.einsum("atr,rt->ar", ranks[:, :, which.reshape(-1)], times_task.astype(np.float64))
    drawn = rankdata(sums, method="min", axis=0)  # (A, resamples)
    tail = (1 - level) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail], axis=1, method="inverted_cdf").astype(int)
    return {
        name: RankInterval(means[i], places[i], min(int(low[i]), places[i]), max(int(high[i]), places[i]))
        for i, name in enumerate(table.algorithms)
    }


def tied_for_first(intervals: Mapping[str, RankInterval]) -> tuple[str, ...]:
    """Algorithms whose interval contains place 1, in the order given."""
    return tuple(name for name, interval in intervals.items() if interval.low <= 1)


def _ranked(values: Floats, table: ScoreTable) -> Floats:
    """Ranks along the first axis of (A, T, ...) values, 1 for the best of each task."""
    import numpy as np
    from scipy.stats import rankdata

    sign = np.where(table.higher, -1.0, 1.0).reshape(1, -1, *[1] * (values.ndim - 2))
    return rankdata(np.round(sign * values, _DECIMALS), method="average", axis=0)


def _multiplicities(picks: NDArray[Any], n: int) -> NDArray[Any]:
    """How often each of ``n`` things occurs in each row of (resamples, draws) picks: (resamples, n)."""
    import numpy as np

    rows = len(picks)
    flat = picks + np.arange(rows)[:, None] * n
    return np.bincount(flat.ravel(), minlength=rows * n).reshape(rows, n)
