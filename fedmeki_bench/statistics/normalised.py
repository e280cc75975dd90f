"""Scores of different metrics on one scale, so that an average over tasks means something."""

from __future__ import annotations

import math


def normalised(value: float, floor: float, ceiling: float, *, higher: bool = True) -> float | None:
    """Share of the pooled gain recovered: (value - floor) / (ceiling - floor).

    0 is the floor (a constant predictor), 1 the ceiling (training on the pooled data). Below 0 and above 1 are
    possible and are not cut off. Lower-is-better metrics need no change of sign: both differences change theirs.

    Args:
        value: score of the algorithm.
        floor: score of the constant predictor on the same task.
        ceiling: score of pooled training on the same task.
        higher: whether a higher value is better.

    Returns:
        The share; None where the ceiling is not better than the floor, or a number is not finite.
    """
    gain = ceiling - floor if higher else floor - ceiling
    if not (math.isfinite(value) and math.isfinite(gain) and gain > 0):
        return None
    return (value - floor) / (ceiling - floor)
