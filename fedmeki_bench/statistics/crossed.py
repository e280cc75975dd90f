"""Rows of a table compared over the same patients and seeds: one variance, hence one p and one interval per difference.

Patients and seeds are crossed: all models are tested on the same patients, as all readers of a reader study read the
same cases. The variance of a difference of two rows is that of Obuchowski and Rockette (1995) in the form of Hillis
(2007), max(c, 0) + s²/S: c is the covariance of two seeds' differences that comes from their common patients, s² the
variance between the S seeds. c is found for each pair. s² is pooled over the rows of the table, with (K - 1)(S - 1)
degrees of freedom instead of S - 1, because three seeds of one pair say next to nothing of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]

_ZERO = 1e-20
"""A variance below this is rounding."""

_WILD = 0.01
"""Chance, for each row, that it is left out of the pool although it scatters like the others."""


@dataclass(frozen=True, slots=True, eq=False)
class Crossed:
    """The values of K rows and S seeds on the same patients; no row stands twice, or it would count as two.

    Attributes:
        values: (K, S) metric of every row and seed.
        influences: (K, S, patients), see :mod:`~fedmeki_bench.statistics.influence`; zero where a seed's test split
            lacks the patient.
        strata: (patients,) index of the stratum a patient was drawn from: with or without the finding.
        floor: (K,) variance that a row at the end of its metric's range has although its patients all agree.
        apart: (K,) whether a row's scatter over seeds says nothing of the others', as that of a row broken on purpose
            doesn't; None for no such row.
    """

    values: Floats
    influences: Floats
    strata: NDArray[Any]
    floor: Floats
    apart: NDArray[Any] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Contrasts:
    """Differences of pairs of rows.

    Attributes:
        difference: (pairs,) mean over seeds of first - second.
        se: (pairs,) standard error over patients and seeds.
        df: (pairs,) degrees of freedom of ``se``.
        patients: (pairs,) the part of the variance that comes from patients; the rest comes from seeds.
        correlation: (pairs, pairs) between the differences.
    """

    difference: Floats
    se: Floats
    df: Floats
    patients: Floats
    correlation: Floats


def contrasts(data: Crossed, pairs: Sequence[tuple[int, int]]) -> Contrasts:
    """Differences of rows with their standard errors, degrees of freedom (Satterthwaite) and correlations.

    With one seed the variance holds patients alone, and speaks of these trained models.

    Args:
        data: rows on one task, or on the mean over several (:func:`combined`).
        pairs: indices of first and second row of each difference.
    """
    import numpy as np

    first, second = (np.array([pair[i] for pair in pairs], dtype=int) for i in (0, 1))
    means = data.values.mean(axis=1)
    common = _common(data)
    variance, df = seed_variances(data.values, data.apart)
    n_seeds = data.values.shape[1]
    patients = np.maximum(_of_pairs(common, first, second), 0.0)
    patients_df = _patient_df(data, first, second)
    seeds = (variance[first] + variance[second]) / n_seeds
    total = patients + seeds
    one, other = variance[first] / n_seeds, variance[second] / n_seeds
    # two rows of the pool share one estimate, which is as uncertain twice as it is once
    shared = one == other
    seeds_spread = np.where(shared, seeds**2 / df[first], one**2 / df[first] + other**2 / df[second])
    spread = patients**2 / patients_df + seeds_spread
    found_df = np.divide(total**2, spread, out=np.ones_like(total), where=spread > 0)
    return Contrasts(
        means[first] - means[second],
        np.sqrt(np.where(total > _ZERO, total, 0.0)),
        np.maximum(found_df, 1.0),
        patients,
        _correlation(common + np.diag(variance / n_seeds), first, second),
    )


def stacked(blocks: Sequence[Contrasts]) -> Contrasts:
    """Differences of several tables as one family, those of different tables uncorrelated."""
    import numpy as np
    from scipy.linalg import block_diag

    return Contrasts(
        np.concatenate([one.difference for one in blocks]),
        np.concatenate([one.se for one in blocks]),
        np.concatenate([one.df for one in blocks]),
        np.concatenate([one.patients for one in blocks]),
        block_diag(*(one.correlation for one in blocks)),
    )


def seed_variances(values: Floats, apart: NDArray[Any] | None = None) -> tuple[Floats, Floats]:
    """Variance between seeds of each of (K, S) rows beside what all rows share, and its degrees of freedom, (K,) each.

    Rows are pooled (the error mean square of rows by seeds), except one that scatters so much more than the others that
    chance would do it once in a hundred times: it keeps its own variance. A row that scatters less stays in the pool,
    which errs on the safe side. Rows that do not move at all have variance 0. With a single row that moves there is
    nothing to compare it with, and its plain variance is given; so it is of rows that are kept ``apart``, several of
    which would hide each other from the test.
    """
    import numpy as np
    from scipy.stats import f

    n_rows, n_seeds = values.shape
    variance, df = np.zeros(n_rows), np.full(n_rows, math.inf)
    alone = np.zeros(n_rows, dtype=bool) if apart is None else np.asarray(apart, dtype=bool)
    moving = (values.var(axis=1) > _ZERO) & (n_seeds > 1)
    for row in np.flatnonzero(moving & alone):
        variance[row], df[row] = values[row].var(ddof=1), n_seeds - 1
    pool = list(np.flatnonzero(moving & ~alone))
    while pool:
        own = _row_variances(values[pool])
        others = (own.sum() - own) / max(1, len(pool) - 1)
        worst = int(own.argmax())
        wild = len(pool) > 2 and own[worst] > others[worst] * f.isf(_WILD, n_seeds - 1, (len(pool) - 2) * (n_seeds - 1))
        if not wild:
            variance[pool], df[pool] = own.mean(), max(1, len(pool) - 1) * (n_seeds - 1)
            break
        variance[pool[worst]], df[pool[worst]] = own[worst], n_seeds - 1
        pool.pop(worst)
    return variance, df


def _row_variances(values: Floats) -> Floats:
    """(K,) variances over the seeds of (K, S) values after what is common to all rows of a seed."""
    n_rows, n_seeds = values.shape
    residual = values - values.mean(axis=1, keepdims=True)
    if n_rows > 1:
        residual = residual - residual.mean(axis=0)
    found: Floats = (residual**2).sum(axis=1) / ((n_seeds - 1) * (1.0 if n_rows == 1 else 1 - 1 / n_rows))
    return found


def combined(parts: Sequence[Crossed], names: Sequence[Sequence[str]], weights: Sequence[float]) -> Crossed:
    """A weighted sum of tasks: values add up, and so do the influences of a patient who is in several of them.

    Args:
        parts: the same rows and seeds on each task.
        names: of each task, its patients; tasks whose patients have no name in common are independent.
        weights: of each task, e.g. one over their number for the mean.
    """
    import numpy as np

    every = list(dict.fromkeys(name for one in names for name in one))
    place = {name: i for i, name in enumerate(every)}
    influences = np.zeros((*parts[0].values.shape, len(every)))
    strata = np.full(len(every), -1)
    start = 0
    for part, named, weight in zip(parts, names, weights, strict=True):
        index = np.array([place[name] for name in named])
        influences[:, :, index] += weight * part.influences
        new = strata[index] < 0  # a patient of several tasks keeps the stratum of the first
        strata[index[new]] = part.strata[new] + start
        start += int(part.strata.max()) + 1
    values = sum(weight * part.values for part, weight in zip(parts, weights, strict=True))
    floor = sum(weight**2 * part.floor for part, weight in zip(parts, weights, strict=True))
    return Crossed(np.asarray(values), influences, strata, np.asarray(floor), parts[0].apart)


def _common(data: Crossed) -> Floats:
    """(K, K) covariance of the rows' means over seeds that comes from patients common to two seeds."""
    import numpy as np

    n_seeds = data.values.shape[1]
    means = data.influences.mean(axis=1)
    total = means @ means.T
    if n_seeds > 1:
        own = np.einsum("ksg,lsg->kl", data.influences, data.influences) / n_seeds**2
        total = (total - own) * n_seeds / (n_seeds - 1)
    return total + np.diag(data.floor)


def _of_pairs(covariance: Floats, first: NDArray[Any], second: NDArray[Any]) -> Floats:
    """(pairs,) variances of differences."""
    import numpy as np

    diagonal = np.diag(covariance)
    found: Floats = diagonal[first] + diagonal[second] - 2 * covariance[first, second]
    return found


def _patient_df(data: Crossed, first: NDArray[Any], second: NDArray[Any]) -> Floats:
    """(pairs,) degrees of freedom of the patients' variance: Welch-Satterthwaite over the strata."""
    import numpy as np

    means = data.influences.mean(axis=1)
    strata = int(data.strata.max()) + 1
    sizes = np.maximum(np.bincount(data.strata, minlength=strata) - 1, 1)
    found = np.empty(len(first))
    for i, (a, b) in enumerate(zip(first, second, strict=True)):
        parts = np.bincount(data.strata, (means[a] - means[b]) ** 2, strata)
        spread = (parts**2 / sizes).sum()
        found[i] = parts.sum() ** 2 / spread if spread > 0 else sizes.min()
    return found


def _correlation(covariance: Floats, first: NDArray[Any], second: NDArray[Any]) -> Floats:
    """(pairs, pairs) correlations of differences; 1 on the diagonal also of a difference without variance."""
    import numpy as np

    n_rows = len(covariance)
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    root = vectors * np.sqrt(np.maximum(values, 0.0))  # the nearest matrix that is a covariance
    signs = np.zeros((len(first), n_rows))
    signs[np.arange(len(first)), first] += 1.0
    signs[np.arange(len(first)), second] -= 1.0
    loadings = signs @ root
    lengths = np.linalg.norm(loadings, axis=1)
    loadings = np.divide(loadings, lengths[:, None], out=np.zeros_like(loadings), where=lengths[:, None] > 1e-12)
    found: Floats = np.clip(loadings @ loadings.T, -1.0, 1.0)
    np.fill_diagonal(found, 1.0)
    return found
