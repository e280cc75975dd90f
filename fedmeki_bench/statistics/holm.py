"""Holm's correction within one family of comparisons that was declared beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

K = TypeVar("K")


def holm(p_values: Mapping[K, float]) -> dict[K, float]:
    """Adjusted p of every comparison of one family (Holm 1979); an empty family gives an empty dictionary.

    The i-th smallest of m is multiplied by m - i + 1, made monotone and cut at 1. The family is what was declared, not
    what turned out interesting: leaving comparisons out afterwards makes every p too small.

    Raises:
        ValueError: a p outside 0 to 1, or NaN: an undefined test has no place in a family.
    """
    bad = [key for key, p in p_values.items() if not 0 <= p <= 1]
    if bad:
        raise ValueError(f"p-values lie between 0 and 1; not so for {bad[:5]}")
    if not p_values:
        return {}
    from statsmodels.stats.multitest import multipletests

    adjusted = multipletests(list(p_values.values()), method="holm")[1]
    return {key: float(p) for key, p in zip(p_values, adjusted, strict=True)}
