"""Which algorithms are worth their cost: nobody is both cheaper and better."""

from __future__ import annotations

import math
from collections.abc import Mapping


def pareto(points: Mapping[str, tuple[float, float]], *, higher: bool = True) -> tuple[str, ...]:
    """Names of the points that no other dominates, cheapest first.

    A point dominates another if it costs no more and scores no worse, and is strictly better in one of the two. Equal
    points are all kept, in the order given.

    Args:
        points: name to (cost, score); a lower cost is better.
        higher: whether a higher score is better.

    Raises:
        ValueError: a cost or score that is not finite.
    """
    bad = [name for name, point in points.items() if not all(map(math.isfinite, point))]
    if bad:
        raise ValueError(f"costs and scores must be finite; not so for {bad[:5]}")
    sign = 1.0 if higher else -1.0
    front: list[str] = []
    best, best_cost = -math.inf, math.nan
    for name in sorted(points, key=lambda n: (points[n][0], -sign * points[n][1])):
        cost, score = points[name][0], sign * points[name][1]
        if score > best or (score == best and cost == best_cost):
            front.append(name)
            best, best_cost = score, cost
    return tuple(front)
