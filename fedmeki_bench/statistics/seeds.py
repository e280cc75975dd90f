"""Mean and spread over training seeds, with the rule that two points have no spread worth showing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

ENOUGH_SEEDS = 3
"""Below this, tables show the values themselves."""


@dataclass(frozen=True, slots=True)
class SeedSummary:
    """Values over seeds: their mean, and their sample standard deviation (ddof 1) from three seeds on."""

    values: tuple[float, ...]
    mean: float
    sd: float | None

    @property
    def n(self) -> int:
        """Number of seeds."""
        return len(self.values)


def summarise_seeds(values: Sequence[float]) -> SeedSummary:
    """Summary of one finite value per seed.

    Raises:
        ValueError: no value, or one that is not finite.
    """
    if not values or not all(math.isfinite(v) for v in values):
        raise ValueError(f"need one finite value per seed, got {list(values)}")
    n = len(values)
    mean = math.fsum(values) / n
    sd = None
    if n >= ENOUGH_SEEDS:
        sd = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1))
    return SeedSummary(tuple(values), mean, sd)


def over_seeds(values: Sequence[tuple[float, float, float]], limits: tuple[float, float]) -> tuple[float, float]:
    """The 95 % interval of the mean over seeds, which holds other patients and other seeds.

    The distance to each end is that of one run's interval, mean over seeds, and the seeds' t interval, added up as
    squares (Zou and Donner 2008): one run's patients are also those of the mean, so nothing of their part is divided by
    the number of seeds.

    Args:
        values: of each seed, its value with the ends of its interval over patients.
        limits: smallest and largest possible value.
    """
    n = len(values)
    mean = math.fsum(v for v, _, _ in values) / n
    seeds = 0.0
    if n > 1:
        from scipy.stats import t

        variance = math.fsum((v - mean) ** 2 for v, _, _ in values) / (n - 1)
        seeds = float(t.isf(0.025, n - 1)) ** 2 * variance / n
    below = math.fsum((v - low) ** 2 for v, low, _ in values) / n
    above = math.fsum((high - v) ** 2 for v, _, high in values) / n
    return max(limits[0], mean - math.sqrt(below + seeds)), min(limits[1], mean + math.sqrt(above + seeds))
