"""The tables of a board as values, before any file format: what stands in which row, and what it means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from fedmeki_bench.algorithms import Algorithm
from fedmeki_bench.boards.board import Board
from fedmeki_bench.evaluation.constant_answer import CONSTANT
from fedmeki_bench.leaderboard import words
from fedmeki_bench.leaderboard.grid import NO_INTERVAL, NO_INTERVAL_NOTE, Column, Entry, Grid
from fedmeki_bench.leaderboard.saturation import DEFINITION as SATURATED_MEANS
from fedmeki_bench.leaderboard.saturation import SATURATED, saturated

if TYPE_CHECKING:
    from fedmeki_bench.leaderboard.analysis import Analysis
    from fedmeki_bench.statistics import RankInterval
    from fedmeki_bench.statistics.places import Place

Section = Literal["bound", "ranked", "incomplete"]

SYNTHETIC, PUBLISHED_SPLIT = "SYNTHETIC", "PUBLISHED SPLIT"

_BELOW_FLOOR = "⚠"
_REASONS = 3
"""Reasons for missing tests that a note spells out."""


@dataclass(frozen=True, slots=True)
class TableRow:
    """An algorithm's entries, one per column; ``mark`` is ‡ if one uses other data, § if it mumbles.

    ``rank`` is the place in the order of the main table, shared by equal rows; None unless ranked.
    """

    algorithm: Algorithm
    section: Section
    entries: tuple[Entry, ...]
    mark: str = ""
    rank: int | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """A titled grid; ``warnings`` stand above it, ``notes`` below.

    ``stamps`` say what all of it depends on (SYNTHETIC, PUBLISHED SPLIT), ``definitions`` are the terms and marks that
    it uses with their meaning, which a page explains once.
    """

    key: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[TableRow, ...]
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    definitions: tuple[tuple[str, str], ...] = ()
    stamps: tuple[str, ...] = ()


def ordered(grid: Grid) -> list[tuple[Algorithm, Section]]:
    """Rows in order: complete bounds as the board lists them, ranked competitors, then incomplete rows.

    Competitors stand by the mean of the main metrics over tasks, where these differ counted in margins; equal ones by
    name.
    """
    bounds: list[Algorithm] = []
    ranked: list[Algorithm] = []
    incomplete: list[Algorithm] = []
    for algorithm in grid.algorithms.values():
        if not grid.complete(algorithm.name):
            incomplete.append(algorithm)
        else:
            (bounds if algorithm.bound else ranked).append(algorithm)
    position = _positions(grid, [a.name for a in ranked])
    ranked.sort(key=lambda a: (position[a.name], a.name))
    return [
        *((a, "bound") for a in bounds),
        *((a, "ranked") for a in ranked),
        *((a, "incomplete") for a in incomplete),
    ]


def _positions(grid: Grid, names: Sequence[str]) -> dict[str, float]:
    """The mean over tasks with its sign turned so that the best comes first."""
    sign = -1 if grid.scale.higher else 1
    return {name: round(sign * (grid.overall(name) or 0.0), 12) for name in names}


def ranks(grid: Grid) -> dict[str, int]:
    """1 + the number of ranked rows that stand strictly before, for every ranked row."""
    position = _positions(grid, [a.name for a, section in ordered(grid) if section == "ranked"])
    return {name: 1 + sum(p < place for p in position.values()) for name, place in position.items()}


def mark_best(table: Table) -> Table:
    """Set ``best`` in every column with a direction: the best ranked row, and all that equal it at the digits shown.

    The value behind the cell decides, not what is written in it: with two seeds a cell shows both; their mean counts.
    """
    rows = [list(row.entries) for row in table.rows]
    for index, column in enumerate(table.columns):
        if column.higher is None:
            continue
        known = {
            i: round(e.value, e.digits)
            for i, row in enumerate(table.rows)
            if row.section == "ranked" and (e := row.entries[index]).value is not None
        }
        if len(known) < 2:
            continue
        target = (max if column.higher else min)(known.values())
        winners = [i for i, value in known.items() if value == target]
        for i in winners:
            rows[i][index] = replace(rows[i][index], best=True, tie=len(winners) > 1)
    return replace(table, rows=tuple(replace(r, entries=tuple(e)) for r, e in zip(table.rows, rows, strict=True)))


def shown_as(board: Board) -> str:
    """How numbers with uncertainty are written on this board, as one sentence."""
    n = len(board.seeds)
    if n == 1:
        return f"Numbers are value [95 % interval over patients of the test split], one seed ({board.seeds[0]})."
    if n == 2:
        return "Numbers are the values of the two seeds [95 % interval of their mean over patients and seeds]."
    return f"Numbers are mean ± SD over {n} seeds [95 % interval of the mean over patients and seeds]."


_PLACE = Column(
    "place",
    "Place",
    "Places that are possible on these tasks: the first is 1 + the rows that are certainly better, the last leaves out "
    "those that are certainly worse. All places of a page hold together with 95 % probability.",
)
_ELSEWHERE = Column(
    "elsewhere",
    "Place elsewhere",
    "A rough guide to the place on other tasks: 95 % of the places that cohorts of patients and seeds give when drawn "
    "again.",
)
_COST = (
    Column("mb_up", "MB/round ↑", "Megabytes all clients send per round, over the federations behind these cells."),
    Column(
        "mb_down", "MB/round ↓", "Megabytes all clients receive per round, over the federations behind these cells."
    ),
    Column(
        "seconds",
        "Seconds",
        "Wall-clock time of the rounds behind the row, without the final scoring, mean over seeds; machines differ.",
    ),
    Column("coverage", "Cells", "Cells with a number / all cells of the row."),
)

_HELD = Column(
    "client_mb",
    "Client MB",
    "Megabytes of weights that a client must hold to train, those of a foundation model that it tunes included; the "
    "largest of the federations behind these cells.",
)
_APART = 1.5


def _costs(grid: Grid) -> tuple[Column, ...]:
    """The columns of what a row costs; what clients hold only where some hold much more than they train."""
    costs = [cost for name in grid.algorithms if (cost := grid.cost(name)) is not None]
    apart = any(cost.held and cost.held > _APART * (cost.trained or cost.held) for cost in costs)
    return (*_COST[:2], _HELD, *_COST[2:]) if apart else _COST


def main_table(grid: Grid, analysis: Analysis) -> Table:
    """A section's table: one column per task with its main metric, then places, cost and coverage."""
    columns = []
    for task in grid.tasks:
        metric = grid.main_metric(task)
        header = f"{grid.facts.task_title(task)} ({grid.facts.metric_title(metric)})"
        column = words.column(grid, task, header, metric, task)
        columns.append(replace(column, size=grid.size(task), mark=SATURATED if saturated(grid, task) else ""))
    with_mean = len(grid.tasks) > 1 and len({grid.main_metric(t) for t in grid.tasks}) == 1
    if with_mean:
        title = grid.facts.metric_title(grid.main_metric(grid.tasks[0]))
        mean = Column("mean", f"Mean {title}", "Mean over the tasks; orders the table.", columns[0].higher)
        patients = len(analysis.mean.patients) if analysis.mean is not None else 0
        columns.append(replace(mean, size=f"{patients} patients" * (patients > 0)))
    extra = [*([_PLACE] if analysis.places else []), *([_ELSEWHERE] if analysis.elsewhere else [])]
    rows, places, costs = [], ranks(grid), _costs(grid)
    for algorithm, section in ordered(grid):
        entries = [_flagged(grid, algorithm, task) for task in grid.tasks]
        if with_mean:
            entries.append(grid.mean_entry(algorithm.name, analysis.cohorts))
        shown = [found for found in (analysis.places, analysis.elsewhere) if found]
        entries += [_place_entry(found.get(algorithm.name)) for found in shown]
        entries += _cost_entries(grid, algorithm, held=_HELD in costs)
        mark = words.mark(grid, algorithm.name, grid.tasks)
        rows.append(TableRow(algorithm, section, tuple(entries), mark, places.get(algorithm.name)))
    notes = [*words.notes(grid, grid.tasks), *_said(grid, analysis)]
    return mark_best(
        Table(
            "main", "Main metrics", (*columns, *extra, *costs), tuple(rows), _warnings(grid, grid.tasks), tuple(notes),
            tuple(_definitions(grid, columns, rows, with_mean=with_mean)), stamps_of(grid, grid.tasks),
        )
    )  # fmt: skip


def _definitions(
    grid: Grid, columns: Sequence[Column], rows: Sequence[TableRow], *, with_mean: bool
) -> list[tuple[str, str]]:
    """How the table of main metrics is to be read: numbers, order, bold, and the marks that it bears."""
    order = "Competitors are ordered by the mean over tasks."
    if not with_mean and len(grid.tasks) > 1:
        order = (
            "Competitors are ordered by the mean over tasks of value / margin, as main metrics differ between tasks."
        )
    best = "mean" if len(grid.board.seeds) > 1 else "value"
    found = [
        ("Numbers", shown_as(grid.board)),
        ("Order", order),
        ("Patients under a header", _sizes(grid)),
        ("Bold and =", f"Bold is the best {best} among the competitors, = an equal one at the digits shown; neither is "
                       "a test."),
    ]  # fmt: skip
    if any(_BELOW_FLOOR in e.remark for row in rows for e in row.entries):
        found.append((_BELOW_FLOOR, "A value worse than the constant predictor's."))
    if any(column.mark == SATURATED for column in columns):
        found.append((SATURATED.capitalize(), SATURATED_MEANS))
    found += no_interval(grid, [(task, grid.main_metric(task)) for task in grid.tasks])
    return [*found, *words.definitions(grid, grid.tasks)]


def _sizes(grid: Grid) -> str:
    """What the counts under the headers are, with the groups that stand for patients where data name none."""
    odd: dict[str, list[str]] = {}
    for task in grid.tasks:
        unit = grid.unit(task)
        if unit not in ("patient", "sample", "group"):
            odd.setdefault(unit, []).append(grid.facts.task_title(task))
    said = "The test split behind the column, by what intervals count as independent."
    groups = "; ".join(f"{unit} ({', '.join(titles)})" for unit, titles in odd.items())
    return f"{said} Groups are: {groups}." if odd else said


def _place_entry(found: Place | RankInterval | None) -> Entry:
    if found is None:
        return Entry("–")
    text = f"{found.low}" if found.low == found.high else f"{found.low}–{found.high}"
    return Entry(text, float(found.place))


def _said(grid: Grid, analysis: Analysis) -> list[str]:
    """What the places depend on, and which rows could not be compared."""
    said = []
    shared = [tasks for tasks in analysis.cohorts if len(tasks) > 1]
    if shared:
        names = "; ".join(_listed([grid.facts.task_title(task) for task in tasks]) for tasks in shared)
        groups = f"{len(analysis.cohorts)} group{'s' * (len(analysis.cohorts) > 1)} of patients"
        said.append(f"These {len(grid.tasks)} tasks draw on {groups}: {names} share theirs, and count as one.")
    named = grid.algorithms.get(grid.board.reference or "")
    if named is not None and analysis.reference is not None and named.name != analysis.reference.name:
        said.append(f"{named.title} has no number here: differences are to {analysis.reference.title}.")
    untested = analysis.uncompared
    if untested and analysis.reference is not None:
        reasons = "; ".join(f"{grid.algorithms[c.algorithm].title}, {grid.facts.task_title(c.task)}: {c.note}"
                            for c in untested[:_REASONS])  # fmt: skip
        more = f"; and {len(untested) - _REASONS} more" if len(untested) > _REASONS else ""
        said.append(
            f"{len(untested)} of {len(analysis.per_task or analysis.primary)} differences to "
            f"{analysis.reference.title} could not be found ({reasons}{more})."
        )
    return said


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def no_interval(grid: Grid, shown: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Why values of these (task, metric) columns have no interval, as a definition; nothing if all have one."""
    reasons = {
        part.strip(): None
        for task, metric in shown
        for name in grid.algorithms
        for value in grid.values(name, task, metric)
        for part in value.note.split(";")
        if NO_INTERVAL_NOTE in part
    }
    return [(NO_INTERVAL, f"{reason[0].upper()}{reason[1:]}.") for reason in reasons]


def _flagged(grid: Grid, algorithm: Algorithm, task: str) -> Entry:
    """The main metric, with a warning sign if a constant predictor on the board does better."""
    metric = grid.main_metric(task)
    entry = grid.entry(algorithm.name, task, metric)
    constant = [a.name for a in grid.algorithms.values() if a.view in ("constant", CONSTANT)]
    floors = [f for name in constant if (f := grid.mean(name, task, metric)) is not None]
    if entry.value is None or algorithm.name in constant or not floors:
        return entry
    spec = grid.facts.metrics.get(metric)
    lower = spec is not None and spec.direction == "lower"
    below = entry.value > min(floors) if lower else entry.value < max(floors)
    return replace(entry, remark=f"{entry.remark} {_BELOW_FLOOR}".strip()) if below else entry


def task_table(grid: Grid, task: str) -> Table:
    """All metrics of one task; rows in the order of the main table, ranked where it ranks them."""
    metrics = grid.collected.metrics.get(task, ())
    columns = tuple(words.column(grid, m, grid.facts.metric_title(m), m, task) for m in metrics)
    rows = tuple(
        TableRow(
            algorithm,
            section,
            tuple(grid.entry(algorithm.name, task, m) for m in metrics),
            words.mark(grid, algorithm.name, [task]),
        )
        for algorithm, section in ordered(grid)
    )
    size = grid.size(task)
    notes = (*((f"Test split: {size}.",) if size else ()), *words.notes(grid, [task]))
    definitions = (*no_interval(grid, [(task, m) for m in metrics]), *words.definitions(grid, [task]))
    title = grid.facts.task_title(task)
    stamps = stamps_of(grid, [task])
    return mark_best(Table(task, title, columns, rows, _warnings(grid, [task]), notes, definitions, stamps))


def stamps_of(grid: Grid, tasks: Sequence[str]) -> tuple[str, ...]:
    """What numbers on these tasks depend on: ``SYNTHETIC`` and ``PUBLISHED SPLIT``, where it holds of any of them."""
    shown = set(tasks)
    found = {SYNTHETIC: grid.collected.synthetic_tasks, PUBLISHED_SPLIT: grid.collected.published_tasks}
    return tuple(stamp for stamp, stamped in found.items() if stamped & shown)


def _warnings(grid: Grid, tasks: Sequence[str]) -> tuple[str, ...]:
    found = []
    for task in tasks:
        differs = sorted({what for o in grid.collected.outcomes if o.cell.task == task for what in o.other})
        if differs:
            found.append(f"Rows marked ‡ use different {' and '.join(differs)} ({grid.facts.task_title(task)}).")
    return tuple(found)


def _cost_entries(grid: Grid, algorithm: Algorithm, *, held: bool) -> list[Entry]:
    """Megabytes up and down, held if wished, seconds and coverage of a row; one without a whole seed has no costs."""
    outcomes = grid.of(algorithm.name)
    done, total = sum(o.status == "ok" for o in outcomes), len(outcomes)
    coverage = Entry(f"{done}/{total}", done / total if total else None)
    cost = grid.cost(algorithm.name)
    if cost is None:
        return [*[Entry("–")] * (4 if held else 3), coverage]
    sent = [Entry(f"{mb:.2f}", mb) for mb in (cost.up_per_round, cost.down_per_round)]
    if algorithm.pooled:  # pooling sends the data themselves, which nobody counted
        sent = [Entry("–"), Entry("–")]
    weights = [Entry(f"{cost.held:.1f}", cost.held) if cost.held else Entry("–")] if held else []
    return [*sent, *weights, Entry(f"{cost.seconds:.1f}", cost.seconds), coverage]
