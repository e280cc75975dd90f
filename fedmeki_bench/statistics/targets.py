"""Rounds and bytes until a target is reached: the price of a score in a federation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reached:
    """When a run first reached a target.

    Attributes:
        rounds: number of rounds up to and including the one that reached it.
        bytes: bytes sent in these rounds.
    """

    rounds: int
    bytes: int


def to_target(
    values: Sequence[float | None], bytes_per_round: Sequence[int], target: float, *, higher: bool = True
) -> Reached | None:
    """First round whose validation value reaches the target; None if none does.

    A run that never gets there has no number of rounds, not the last one: leave it out of no average silently.

    Args:
        values: validation value after each round; None or NaN where it was not computed.
        bytes_per_round: bytes sent in each round.
        target: value to reach; reaching it exactly counts.
        higher: whether a higher value is better.

    Raises:
        ValueError: the two sequences differ in length, or the target is not finite.
    """
    if len(values) != len(bytes_per_round):
        raise ValueError(f"{len(values)} values but bytes of {len(bytes_per_round)} rounds")
    if not math.isfinite(target):
        raise ValueError(f"the target must be a finite number, got {target}")
    for index, value in enumerate(values):
        if value is not None and (value >= target if higher else value <= target):
            return Reached(index + 1, sum(bytes_per_round[: index + 1]))
    return None
