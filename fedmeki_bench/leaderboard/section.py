"""A section of a page: the algorithms on one group of tasks, under one partition."""

from __future__ import annotations

from dataclasses import dataclass

from fedmeki_bench.leaderboard.analysis import Analysis
from fedmeki_bench.leaderboard.grid import Grid
from fedmeki_bench.leaderboard.tables import Table


@dataclass(frozen=True, slots=True)
class Section:
    """The algorithms on the trained or the zero-shot tasks, under one partition.

    Attributes:
        key: ``main`` or ``zero_shot``, numbered from the second partition on.
        zero_shot: whether these are the tasks that only a view in words answers: zero-shot ones, and trained texts.
        partition: label of the partition; empty where the board has one.
        grid, analysis, table: outcomes, what statistics say about them, and the table of main metrics.
        verdict: what was found and what was not, in sentences.
        differences: the table of differences to the reference and the bounds; None where nothing was compared.
        details: costs to a target, groups, clients, and all metrics of each task.
        axes: of a board with axes, how the rows' main metrics move along each.
    """

    key: str
    title: str
    partition: str
    zero_shot: bool
    grid: Grid
    analysis: Analysis
    table: Table
    verdict: tuple[str, ...]
    differences: Table | None
    details: tuple[Table, ...]
    axes: tuple[Table, ...] = ()

    @property
    def label(self) -> str:
        """What tells the section from the others of its page, in a word or two."""
        tasks = self.title.partition(",")[0] if self.zero_shot else "Trained tasks"
        if not self.partition:
            return tasks
        return f"{self.partition}, {tasks.lower()}" if self.zero_shot else self.partition
