"""The exact test of paired differences: under the null every sign might as well have been the other one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fedmeki_bench.seeds import generator
from fedmeki_bench.statistics.resampling import CHUNK_ELEMENTS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]

_EXACT = 16
"""Differences up to which all 2^n patterns of signs are tried."""


@dataclass(frozen=True, slots=True)
class FlipTest:
    """A two-sided permutation test.

    Attributes:
        p: share of the permutations that are at least as extreme as what was observed; NaN if that is undefined.
        smallest: no data of this size can give a smaller p.
        exact: whether all permutations were tried rather than a random sample of them.
    """

    p: float
    smallest: float
    exact: bool


def sign_flip(differences: Sequence[float], *, seed: int = 0, resamples: int = 20000) -> FlipTest:
    """Two-sided sign-flip test of paired differences, statistic their mean (Fisher 1935, chapter 3).

    Up to 16 differences all patterns of signs are tried; beyond, ``resamples`` random ones, and p is (k + 1) / (m + 1)
    with k of m patterns at least as extreme (Phipson and Smyth 2010). Zeros stay zero whatever their sign: they change
    no p, and are left out of the patterns and of ``smallest``. All zero, or none: p = 1.

    Args:
        differences: one per task, seed or patient; symmetric about 0 under the null hypothesis.
        seed: of the random patterns.
        resamples: number of random patterns.

    Raises:
        ValueError: a difference that is not finite.
    """
    import numpy as np

    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise ValueError("a sign-flip test needs a sequence of finite differences")
    values = values[values != 0]
    n = len(values)
    if n == 0:
        return FlipTest(1.0, 1.0, True)
    observed = abs(values.sum())
    if n <= _EXACT:
        return exact_test(np.abs(all_flips(n) @ values), observed, n)
    rng = generator(seed, "flips")
    extreme = 0
    chunk = max(1, CHUNK_ELEMENTS // n)
    for start in range(0, resamples, chunk):
        signs = 1.0 - 2.0 * rng.integers(0, 2, (min(chunk, resamples - start), n))
        extreme += as_extreme(np.abs(signs @ values), observed)
    return sampled_test(extreme, resamples)


def smallest_p(differences: int) -> float:
    """Smallest two-sided p of an exact sign-flip test of so many differences: 2 / 2^n, and 1 of none."""
    return min(1.0, 2.0 ** (1 - differences))


def all_flips(n: int) -> Floats:
    """Every pattern of n signs, (2^n, n) of 1 and -1; the first is all ones."""
    import numpy as np

    bits = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    return 1.0 - 2.0 * bits


def as_extreme(statistics: Floats, observed: float) -> int:
    """How many absolute statistics reach the observed one; an undefined one counts, which errs on the safe side."""
    import numpy as np

    tolerance = 1e-12 + 1e-9 * observed  # equal sums may differ in their last bits
    return int((np.isnan(statistics) | (statistics >= observed - tolerance)).sum())


def exact_test(statistics: Floats, observed: float, n: int) -> FlipTest:
    """The test result after all 2^n permutations of n units."""
    return FlipTest(as_extreme(statistics, observed) / len(statistics), smallest_p(n), True)


def sampled_test(extreme: int, resamples: int) -> FlipTest:
    """The test result after ``resamples`` random permutations, ``extreme`` of them as extreme as the data."""
    return FlipTest((extreme + 1) / (resamples + 1), 1 / (resamples + 1), False)
