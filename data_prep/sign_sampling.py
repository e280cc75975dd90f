"""Which signs a sample of a synthetic stand-in shows: each drawn by itself (docs/world.md)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from fedmeki_bench.api import SIGNS

if TYPE_CHECKING:
    import numpy as np

_USUAL: Mapping[str, float] = {}


def sample_signs(modality: str, rng: np.random.Generator, factors: Mapping[str, float] = _USUAL) -> frozenset[str]:
    """The signs of one sample, independent of each other.

    Args:
        modality: whose signs can occur.
        rng: gives one number per sign of the modality, in the order of the vocabulary.
        factors: sign -> what a site multiplies its prevalence by. Shares of sites times factors should sum to 1, and
            only one sign of a release should have factors: then the signs are independent over all sites together, too.
    """
    return frozenset(
        name
        for name, sign in SIGNS.items()
        if sign.modality == modality and rng.random() < sign.prevalence * factors.get(name, 1.0)
    )
