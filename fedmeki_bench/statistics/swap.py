"""The permutation test of two algorithms on the same patients: whose scores are whose?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from fedmeki_bench.seeds import generator
from fedmeki_bench.statistics.flips import FlipTest, all_flips, as_extreme, exact_test, sampled_test
from fedmeki_bench.statistics.paired import Paired, Seed, checked
from fedmeki_bench.statistics.resampling import CHUNK_ELEMENTS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fedmeki_bench.statistics.resampling import Metric

    Floats = NDArray[np.floating[Any]]

_EXACT = 12
"""Patients up to which all 2^n swaps are tried."""


def swap_test(
    metric: Metric, data: Sequence[Paired], *, seed: int, resamples: int = 4000, ranks: bool = False
) -> FlipTest:
    """Two-sided test that two algorithms are interchangeable on every patient.

    Under the null hypothesis a patient's two sets of scores could have come from either algorithm; so they are
    swapped, patient by patient and in all seeds alike, and the mean over seeds of metric(a) - metric(b) is computed
    again (for AUROC: Venkatraman and Begg 1996, section 3; Bandos et al. 2005). All patterns are tried up to 12
    patients, else ``resamples`` random ones with p = (k + 1) / (m + 1). Patients on whom the two agree to the last bit
    cannot change anything and are not counted. A permutation on which the metric is undefined counts as extreme.

    It speaks of the models that were trained: other patients, not other seeds. For seeds see
    :func:`~fedmeki_bench.statistics.flips.sign_flip` and how small its p can get.

    Args:
        metric: as for :func:`~fedmeki_bench.statistics.paired.paired_difference`.
        data: one per training seed; client i of one algorithm is swapped with client i of the other, a single model
            with every client.
        seed: of the random swaps.
        resamples: number of random swaps.
        ranks: replace each model's scores by their midranks first, for metrics that depend on ranks alone: models
            that are calibrated differently may be exchanged then. Not for metrics with a threshold.

    Returns:
        p, NaN if the metric is undefined on the whole of a seed.

    Raises:
        ValueError: no seeds, no samples, shapes that do not fit, different numbers of clients.
    """
    import numpy as np

    seeds, n_groups = checked(data)
    seeds = [_aligned(one, ranks=ranks) for one in seeds]
    differs = np.zeros(n_groups, dtype=bool)
    for one in seeds:
        differs[one.group[~((one.a == one.b) | (np.isnan(one.a) & np.isnan(one.b))).all(axis=0)]] = True
    movable = np.flatnonzero(differs)
    pairs = [_stacked(one, a, b) for one in seeds for a, b in zip(one.a, one.b, strict=True)]
    clients = [len(one.a) for one in seeds for _ in one.a]

    def statistic(kept: Floats) -> Floats:
        """(B,) mean differences under (B, patients) of 1 where a patient keeps its own, 0 where it is swapped."""
        total = np.zeros(len(kept))
        for (labels, scores, group, first), n_clients in zip(pairs, clients, strict=True):
            weights = np.where(first, kept[:, group], 1.0 - kept[:, group])
            total += (metric(labels, scores, weights) - metric(labels, scores, 1.0 - weights)) / n_clients
        return total / len(seeds)

    observed = abs(float(statistic(np.ones((1, n_groups)))[0]))
    n = len(movable)
    exact = n <= _EXACT
    if np.isnan(observed):
        return FlipTest(float("nan"), exact_test(np.ones(1), 0.0, n).smallest if exact else 1 / (resamples + 1), exact)
    rows = max(1, CHUNK_ELEMENTS // max(2 * max(len(one.labels) for one in seeds), n_groups))
    patterns = _all_swaps(n, rows) if exact else _random_swaps(n, rows, seed=seed, resamples=resamples)
    found = []
    for moved in patterns:
        kept = np.ones((len(moved), n_groups))
        kept[:, movable] = moved
        found.append(np.abs(statistic(kept)))
    values = np.concatenate(found) if found else np.empty(0)
    return exact_test(values, observed, n) if exact else sampled_test(as_extreme(values, observed), resamples)


def _aligned(one: Seed, *, ranks: bool) -> Seed:
    """The seed with as many clients on both sides."""
    import numpy as np
    from scipy.stats import rankdata

    a, b = one.a, one.b
    if len(a) != len(b) and 1 not in (len(a), len(b)):
        raise ValueError(f"{len(a)} and {len(b)} clients cannot be swapped one for one")
    if ranks:
        a, b = (rankdata(s, axis=1) / s.shape[1] for s in (a, b))
    a, b = np.broadcast_arrays(a, b)
    return Seed(one.labels, one.group, a, b)


def _stacked(one: Seed, a: Floats, b: Floats) -> tuple[NDArray[Any], Floats, NDArray[Any], NDArray[Any]]:
    """(2n,) labels, scores, patients and whether it is the first algorithm's, highest score first."""
    import numpy as np

    scores = np.concatenate([a, b])
    order = np.argsort(-scores, kind="stable")
    first = np.repeat([True, False], len(a))
    return np.tile(one.labels, 2)[order], scores[order], np.tile(one.group, 2)[order], first[order]


def _all_swaps(n: int, rows: int) -> Iterator[Floats]:
    kept = (all_flips(n) + 1) / 2
    for start in range(0, len(kept), rows):
        yield kept[start : start + rows]


def _random_swaps(n: int, rows: int, *, seed: int, resamples: int) -> Iterator[Floats]:
    import numpy as np

    rng = generator(seed, "swaps")
    for start in range(0, resamples, rows):
        yield rng.integers(0, 2, (min(rows, resamples - start), n)).astype(np.float64)
