"""The table of means over named groups of tasks, for boards that say which tasks belong together."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from fedmeki_bench.leaderboard.grid import Column, Entry, Grid
from fedmeki_bench.leaderboard.tables import Table, TableRow, ordered

_NO_VALUE = Entry("–")


def task_group_table(grid: Grid) -> Table | None:
    """Rows x groups: the mean of the main metric over a group's tasks, averaged over seeds; None without groups here.

    A group is shown where all its tasks are in the section and share their main metric.
    """
    groups = {title: tasks for title, tasks in grid.board.groups.items() if _shown(grid, tasks)}
    if not groups:
        return None
    columns = tuple(
        Column(
            f"group_{number}", title,
            f"Mean of {grid.facts.metric_title(grid.main_metric(tasks[0]))} over "
            f"{', '.join(grid.facts.task_title(t) for t in tasks)}.",
            grid.higher(grid.main_metric(tasks[0])),
        )
        for number, (title, tasks) in enumerate(groups.items())
    )  # fmt: skip
    rows = tuple(
        TableRow(algorithm, section, tuple(_entry(grid, algorithm.name, tasks) for tasks in groups.values()))
        for algorithm, section in ordered(grid)
    )
    meaning = "Mean ± SD over seeds of the mean over the group's tasks; in brackets the smallest and the largest seed."
    shown = (("Groups of tasks", meaning),) if len(grid.board.seeds) > 2 else ()
    return Table("task_groups", "Groups of tasks", columns, rows, definitions=shown)


def of_seeds(grid: Grid, algorithm: str, tasks: Sequence[str]) -> list[float]:
    """Per seed the mean of the main metric over these tasks; empty unless every seed has all of them."""
    values = [[v.value for v in grid.values(algorithm, t, grid.main_metric(t))] for t in tasks]
    if any(len(per_seed) != len(grid.board.seeds) or None in per_seed for per_seed in values):
        return []
    return [statistics.fmean(float(v) for v in of_one if v is not None) for of_one in zip(*values, strict=True)]


def _entry(grid: Grid, algorithm: str, tasks: Sequence[str]) -> Entry:
    seeds = of_seeds(grid, algorithm, tasks)
    if not seeds:
        return _NO_VALUE
    mean = statistics.fmean(seeds)
    if len(seeds) < 3:
        return Entry(" ".join(f"{v:.3f}" for v in seeds), mean)
    return Entry(f"{mean:.3f} ± {statistics.stdev(seeds):.3f} ({min(seeds):.3f} to {max(seeds):.3f})", mean)


def _shown(grid: Grid, tasks: Sequence[str]) -> bool:
    return set(tasks) <= set(grid.tasks) and len({grid.main_metric(t) for t in tasks}) == 1
