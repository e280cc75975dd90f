"""The dense grid of scores that every comparison across tasks starts from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]

Cell = tuple[str, str, int]
"""(algorithm, task, seed)."""

Row = tuple[str, str, int, float]
"""(algorithm, task, seed, value)."""

_NAMED = 5
"""Cells that an error message spells out."""


@dataclass(frozen=True, slots=True, eq=False)
class ScoreTable:
    """One finite score for every algorithm, task and seed; nothing is missing, so ranks compare like with like.

    Attributes:
        algorithms: names along the first axis.
        tasks: names along the second axis.
        seeds: training seeds along the third axis.
        values: (algorithms, tasks, seeds), read-only, each task in its own metric.
        higher: per task, whether a higher value is better.
    """

    algorithms: tuple[str, ...]
    tasks: tuple[str, ...]
    seeds: tuple[int, ...]
    values: Floats
    higher: tuple[bool, ...]

    def __post_init__(self) -> None:
        import numpy as np

        shape = (len(self.algorithms), len(self.tasks), len(self.seeds))
        values = np.array(self.values, dtype=np.float64)
        if 0 in shape or values.shape != shape or len(self.higher) != shape[1]:
            raise ValueError(
                f"a score table needs at least one algorithm, task and seed and values of shape {shape} with "
                f"{shape[1]} directions; got {values.shape} and {len(self.higher)}"
            )
        if not np.isfinite(values).all():
            raise ValueError("a score table holds finite values only")
        values.setflags(write=False)
        object.__setattr__(self, "values", values)

    @classmethod
    def from_rows(cls, rows: Iterable[Row], higher: Mapping[str, bool]) -> ScoreTable:
        """The table of (algorithm, task, seed, value) rows in any order; names keep the order of first appearance.

        Args:
            rows: one per cell.
            higher: task to whether a higher value of its metric is better.

        Raises:
            ValueError: no rows, a task without a direction, or cells that are missing, doubled or not finite; up to
                five of each are named.
        """
        import numpy as np

        cells: dict[Cell, float] = {}
        doubled: list[Cell] = []
        for algorithm, task, seed, value in rows:
            cell = (algorithm, task, seed)
            if cell in cells:
                doubled.append(cell)
            cells[cell] = float(value)
        if not cells:
            raise ValueError("a score table needs at least one row")
        algorithms = tuple(dict.fromkeys(algorithm for algorithm, _, _ in cells))
        tasks = tuple(dict.fromkeys(task for _, task, _ in cells))
        seeds = tuple(dict.fromkeys(seed for _, _, seed in cells))
        grid = [(a, t, s) for a in algorithms for t in tasks for s in seeds]
        problems = [
            _told("missing", [cell for cell in grid if cell not in cells]),
            _told("given twice", doubled),
            _told("not finite", [cell for cell, value in cells.items() if not math.isfinite(value)]),
        ]
        undirected = [task for task in tasks if task not in higher]
        if undirected:
            problems.append(f"no direction for: {', '.join(map(str, undirected[:_NAMED]))}")
        if any(problems):
            raise ValueError("the scores do not fill a table: " + "; ".join(p for p in problems if p))
        values = np.array([cells[cell] for cell in grid]).reshape(len(algorithms), len(tasks), len(seeds))
        return cls(algorithms, tasks, seeds, values, tuple(bool(higher[task]) for task in tasks))


def _told(what: str, cells: list[Cell]) -> str:
    if not cells:
        return ""
    named = ", ".join(f"{a} / {t} / seed {s}" for a, t, s in cells[:_NAMED])
    more = f" and {len(cells) - _NAMED} more" if len(cells) > _NAMED else ""
    return f"{what}: {named}{more}"
