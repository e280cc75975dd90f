"""Many differences judged at once: the largest of them decides, so that none is found by looking often enough."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fedmeki_bench.seeds import generator
from fedmeki_bench.statistics.crossed import Contrasts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]

_DRAWS = 40_000
_CHUNK_ELEMENTS = 2_000_000
_JITTER = 1e-9
"""Added to the variances, so that differences that determine each other have a factor, too."""

_TOLERANCE = 1e-4
"""Draws that are so little smaller are as large: differences that share everything differ by rounding."""


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """Differences of one family.

    Attributes:
        p: (m,) two-sided p of each difference by itself.
        adjusted: (m,) p that holds for the family: the share of families without any difference of which some member
            is as extreme. Never above m times p, so no number of draws is its floor.
        low: (m,) lower ends of intervals that hold all differences together with probability ``1 - alpha``; an
            interval leaves out 0 where the adjusted p is below alpha.
        high: (m,) upper ends.
        each: 1 - the level of each interval by itself.
    """

    p: Floats
    adjusted: Floats
    low: Floats
    high: Floats
    each: float


def family(found: Contrasts, *, alpha: float, seed: int) -> Family:
    """Single-step max-t over correlated differences (Hothorn, Bretz and Westfall 2008).

    Each difference has a Student t of its own degrees of freedom; their dependence is that of normal variables with the
    given correlations. A difference of exactly 0 without variance has p = 1 and the interval [0, 0].

    Args:
        found: the differences.
        alpha: probability of an interval of the family that misses.
        seed: of the draws.
    """
    import numpy as np
    from scipy.stats import norm, t

    m = len(found.difference)
    certain = found.se == 0
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(certain, np.where(found.difference == 0, 0.0, np.inf), np.abs(found.difference) / found.se)
    p = 2 * t.sf(ratio, found.df)
    largest = _largest(found.correlation, seed)
    z = norm.isf(p / 2)
    exceeded = len(largest) - np.searchsorted(largest, z - _TOLERANCE, side="left")
    adjusted = np.clip(np.minimum((exceeded + 1) / (len(largest) + 1), m * p), p, 1.0)
    # the interval is turned from the same draws, so that it leaves out 0 exactly where the adjusted p is below alpha:
    # where at most so many draws are as large
    allowed = max(0, math.ceil(alpha * (len(largest) + 1)) - 2)
    limit = float(largest[len(largest) - 1 - allowed]) + _TOLERANCE
    each = min(alpha, max(2 * norm.sf(limit), alpha / m))
    half = t.isf(each / 2, found.df) * found.se
    return Family(p, adjusted, found.difference - half, found.difference + half, float(each))


def _largest(correlation: Floats, seed: int) -> Floats:
    """Sorted draws of the largest absolute value of normal variables with these correlations."""
    import numpy as np

    # Cholesky's factor is the only one of its kind; eigenvectors would turn with the last bits, and the draws with them
    root = np.linalg.cholesky(correlation + _JITTER * np.eye(len(correlation)))
    rng = generator(seed, "family")
    rows = max(1, _CHUNK_ELEMENTS // max(1, len(correlation)))
    found = []
    for start in range(0, _DRAWS, rows):
        z = rng.standard_normal((min(rows, _DRAWS - start), len(root)))
        found.append(np.abs(z @ root.T).max(axis=1))
    return np.sort(np.concatenate(found))
