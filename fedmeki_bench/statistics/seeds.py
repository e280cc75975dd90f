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
