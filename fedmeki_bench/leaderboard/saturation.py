"""Columns that cannot separate methods, because every competitor stands at the ceiling of the metric."""

from __future__ import annotations

import math

from fedmeki_bench.leaderboard.grid import Grid

SATURATED = "saturated"

DEFINITION = (
    "Every competitor lies within the margin of the best possible value, so that no two of them can differ by more "
    "than the smallest difference that matters: the column separates no methods, whatever its intervals say."
)


def saturated(grid: Grid, task: str) -> bool:
    """Whether all competitors with a number on the task, two at least, are within the margin of the best value."""
    metric = grid.main_metric(task)
    spec = grid.facts.metrics.get(metric)
    if spec is None:
        return False
    best = spec.range[1] if spec.direction == "higher" else spec.range[0]
    if not math.isfinite(best):
        return False
    found = [grid.mean(name, task, metric) for name, a in grid.algorithms.items() if not a.bound]
    known = [value for value in found if value is not None]
    # the hair keeps a value that equals the limit on its side of rounding
    return len(known) > 1 and all(abs(best - value) <= grid.board.margin(metric) + 1e-12 for value in known)
