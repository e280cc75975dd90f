"""How rows move along the axes of a board: one table per axis, beside the section of its base point.

Each row is summarised at every value of an axis by its mean over the tasks' main metrics, as in the section's own
table. Points are choices, no sample of a population: values and their range are shown, and no test is made of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fedmeki_bench.boards.axes import Point, SampleSpec, values_of
from fedmeki_bench.leaderboard.differences import statistic
from fedmeki_bench.leaderboard.grid import Column, Entry, Grid
from fedmeki_bench.leaderboard.own_options import own_options_notes
from fedmeki_bench.leaderboard.tables import Table, TableRow, mark_best, ordered
from fedmeki_bench.leaderboard.words import constant_outcomes

if TYPE_CHECKING:
    from fedmeki_bench.boards.board import Board
    from fedmeki_bench.leaderboard.collect import Collected
    from fedmeki_bench.leaderboard.grid import Facts
    from fedmeki_bench.leaderboard.section import Section

_NO_VALUE = Entry("–")


@dataclass(frozen=True)
class _Moved:
    """The grids of a section at every point, by label, and which points stand for a value of an axis."""

    grids: Mapping[str, Grid]
    points: Sequence[Point]
    alone: bool

    def at(self, axis: str, label: str) -> list[Grid]:
        """Where an axis has a value: with all others at their base, or, of a design of combinations, everywhere."""
        found = [p for p in self.points if dict(p.place)[axis] == label and (not self.alone or set(p.moved) <= {axis})]
        return [self.grids[point.label] for point in found]


def with_axes(
    board: Board, sections: Sequence[Section], collected: Collected, facts: Facts
) -> tuple[Section, ...]:  # fmt: skip
    """The sections, each of a base point, with the tables of the axes; as they are where the board has none."""
    return (
        tuple(_with_axes(board, section, collected, facts) for section in sections) if board.axes else tuple(sections)
    )


def _with_axes(board: Board, section: Section, collected: Collected, facts: Facts) -> Section:
    base = next(point for point in board.points if point.label == section.partition)
    points = [point for point in board.points if point.federation == base.federation]
    rows = set(section.grid.algorithms)
    grids = {}
    for point in points:
        own = tuple(
            o for o in collected.outcomes
            if o.cell.partition == point.label and o.cell.task in section.grid.tasks and o.cell.algorithm.name in rows
        )  # fmt: skip
        grids[point.label] = Grid(board, replace(collected, outcomes=(*own, *constant_outcomes(own))), facts)
    moved = _Moved(grids, points, board.design == "one_at_a_time")
    suffix = section.key.removeprefix("main")
    tables = tuple(
        replace(
            _table(section.grid, moved, axis, [value.label for value in values]),
            key=f"axis{number}{suffix}",
            title=f"Along the axis {axis}" + _beside(section, base),
            warnings=section.table.warnings, stamps=section.table.stamps,
        )
        for number, (axis, values) in enumerate(values_of(board.axes).items(), start=1)
    )  # fmt: skip
    noted = own_options_notes(board, section.grid.algorithms.values())
    tables = tuple(replace(table, notes=(*table.notes, *noted)) for table in tables)
    told = replace(section.table, notes=(*section.table.notes, f"{board.axes_words} This table shows the base."))
    return replace(section, table=told, axes=tables)


def _beside(section: Section, base: Point) -> str:
    tasks = f" ({section.title.partition(',')[0].lower()})" if section.zero_shot else ""
    return (f", {base.federation}" if base.federation else "") + tasks


def _table(grid: Grid, moved: _Moved, axis: str, labels: Sequence[str]) -> Table:
    metric = grid.facts.metric_title(grid.scale.metric) if grid.scale.metric else "in margins"
    columns = [
        Column(f"value{number}", label, f"At this value of the axis, {statistic(grid)}.", grid.scale.higher, term="",
               mark="base" * (not number))
        for number, label in enumerate(labels)
    ]  # fmt: skip
    columns.append(Column("range", "Range", "The largest minus the smallest value along the axis."))
    tasks = grid.tasks if len(grid.tasks) > 1 else []
    columns += [
        Column(
            f"range_{task}", f"{grid.facts.task_title(task)}: range",
            f"The same for {grid.facts.metric_title(grid.main_metric(task))} of this task.", term="",
        )
        for task in tasks
    ]  # fmt: skip
    rows = []
    for algorithm, kind in ordered(grid):
        found = [_at(moved.at(axis, label), algorithm.name) for label in labels]
        per_task = [[_at(moved.at(axis, label), algorithm.name, task) for label in labels] for task in tasks]
        entries = (*found, _range(found), *map(_range, per_task))
        rows.append(TableRow(algorithm, kind, entries, grid.mark(algorithm.name, grid.tasks)))
    said = f"Numbers are {statistic(grid)} ({metric}); "
    n = max(len(moved.at(axis, label)) for label in labels)
    if moved.alone or n == 1:
        said += "all other axes stand at their base."
    else:
        said += f"of each value the mean over the points that have it, at most {n}, whatever the other axes are."
        if isinstance(grid.board.design, SampleSpec):
            said += " A sample does not balance the other axes: part of a range may be theirs."
    return mark_best(Table("", "", tuple(columns), tuple(rows), notes=(said,)))


def _at(grids: Sequence[Grid], algorithm: str, task: str = "") -> Entry:
    """The mean over points of a row's mean over tasks, or of its main metric on one; a dash where no point has it."""
    known = [grid for grid in grids if algorithm in grid.algorithms]
    found = [
        grid.mean(algorithm, task, grid.main_metric(task)) if task else grid.overall(algorithm) for grid in known
    ]  # fmt: skip
    values = [value for value in found if value is not None]
    if not values:
        return _NO_VALUE
    mean = sum(values) / len(values)
    return Entry(f"{mean:.3f}", mean, remark=f"({len(values)} of {len(grids)} points)" * (len(values) < len(grids)))


def _range(found: Sequence[Entry]) -> Entry:
    values = [entry.value for entry in found if entry.value is not None]
    if len(values) < 2:
        return _NO_VALUE
    low, high = min(values), max(values)
    remark = f"(of {len(values)} values)" * (len(values) < len(found))
    return Entry(f"{high - low:.3f}", high - low, f"[{low:.3f}, {high:.3f}]", remark)
