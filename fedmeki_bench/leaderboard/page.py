"""Everything one board shows, gathered once, so that Markdown, CSV, JSON and the figure cannot disagree."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fedmeki_bench.evaluation.metrics import BUILT_IN, MetricSpec
from fedmeki_bench.leaderboard.board import Board
from fedmeki_bench.leaderboard.collect import Collected, Row, tidy
from fedmeki_bench.leaderboard.tables import Facts, Grid, Table, main_table, task_table

if TYPE_CHECKING:
    from fedmeki_bench.algorithm import Algorithm
    from fedmeki_bench.task import TaskMeta


@dataclass(frozen=True, slots=True)
class Gap:
    """Cells without a number for one reason: algorithm, status, reason, and which tasks and seeds."""

    algorithm: Algorithm
    status: str
    reason: str
    tasks: tuple[str, ...]
    seeds: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """A board's tables, tidy rows, gaps and provenance."""

    board: Board
    grid: Grid
    main: Table
    zero_shot: Table | None
    details: tuple[Table, ...]
    rows: tuple[Row, ...]
    gaps: tuple[Gap, ...]
    unreadable: tuple[str, ...]
    digest: str
    versions: Mapping[str, tuple[str, ...]]
    environments: tuple[str, ...]
    from_files: tuple[str, ...]

    @property
    def tables(self) -> tuple[Table, ...]:
        """The main table, that of the zero-shot tasks if there are any, then one per task."""
        return (self.main, *((self.zero_shot,) if self.zero_shot is not None else ()), *self.details)

    @property
    def stamp(self) -> str:
        """``SYNTHETIC`` or ``PUBLISHED SPLIT`` if any number deserves it; empty otherwise."""
        collected = self.grid.collected
        marks = ["SYNTHETIC"] if collected.synthetic_tasks else []
        marks += ["PUBLISHED SPLIT"] if collected.published_tasks else []
        return ", ".join(marks)

    @property
    def title(self) -> str:
        """The board's title with its stamp."""
        title = self.board.title or self.board.name
        return f"{title} ({self.stamp})" if self.stamp else title


def make_page(
    board: Board,
    collected: Collected,
    *,
    tasks: Mapping[str, TaskMeta] | None = None,
    metrics: Mapping[str, MetricSpec] | None = None,
) -> Page:
    """Gather a page; ``tasks`` and ``metrics`` give titles and definitions beyond the built-in metrics."""
    facts = Facts(tasks or {}, metrics or BUILT_IN)
    trained, zero_shot = _by_role(collected, tasks or {})
    grid = Grid(board, trained, facts)
    asked = Grid(board, zero_shot, facts) if zero_shot.outcomes else None
    collected = replace(collected, outcomes=(*trained.outcomes, *zero_shot.outcomes))
    records = collected.records
    files = {f"{p.kind} {p.name} ({p.origin})" for r in records for p in r.plugins if p.origin.startswith("file:")}
    rows = tuple(tidy(collected))
    return Page(
        board=board,
        grid=grid,
        main=main_table(grid),
        zero_shot=None if asked is None else replace(main_table(asked), key="zero_shot", title="Zero-shot tasks"),
        details=tuple(task_table(g, task) for g in (grid, asked) if g is not None for task in g.tasks),
        rows=rows,
        gaps=_gaps(collected),
        unreadable=tuple(f"{b.path.parent.name}/record.json: {b.reason}" for b in collected.unreadable),
        digest=collected.digest(),
        versions=_versions(collected),
        environments=tuple(sorted({r.environment for r in rows if r.environment})),
        from_files=tuple(sorted(files)),
    )


def _by_role(collected: Collected, tasks: Mapping[str, TaskMeta]) -> tuple[Collected, Collected]:
    """Trained tasks and zero-shot tasks; of the latter only the rows that can answer at least one."""
    zero = {name for name, meta in tasks.items() if meta.role == "validation"}
    trained = tuple(o for o in collected.outcomes if o.cell.task not in zero)
    asked = [o for o in collected.outcomes if o.cell.task in zero]
    answering = {o.cell.algorithm.name for o in asked if o.status != "not_applicable"}
    kept = tuple(o for o in asked if o.cell.algorithm.name in answering)
    return replace(collected, outcomes=trained), replace(collected, outcomes=kept)


def _gaps(collected: Collected) -> tuple[Gap, ...]:
    found: dict[tuple[str, str, str], list[tuple[str, int]]] = defaultdict(list)
    algorithms = {}
    for o in collected.outcomes:
        if o.status != "ok":
            algorithms[o.cell.algorithm.name] = o.cell.algorithm
            found[o.cell.algorithm.name, o.status, o.reason].append((o.cell.task, o.cell.seed))
    return tuple(
        Gap(
            algorithms[name],
            status,
            reason,
            tuple(dict.fromkeys(task for task, _ in places)),
            tuple(sorted({seed for _, seed in places})),
        )
        for (name, status, reason), places in found.items()
    )


def _versions(collected: Collected) -> dict[str, tuple[str, ...]]:
    """Versions in use, e.g. ``{"task lung_opacity": ("1",)}``; more than one means the board mixes them."""
    found: dict[str, set[str]] = defaultdict(set)
    shown = {o.cell.task for o in collected.outcomes}
    for record in collected.records:
        for task, version in record.versions.tasks.items():
            if task in shown:
                found[f"task {task}"].add(str(version))
        for metric, version in record.versions.metrics.items():
            found[f"metric {metric}"].add(str(version))
        found[f"rule {record.rule}"].add(str(record.versions.rule))
        found[f"stage {record.stage}"].add(str(record.versions.stage))
    return {name: tuple(sorted(found[name])) for name in sorted(found)}
