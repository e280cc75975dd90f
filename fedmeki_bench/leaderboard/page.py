"""Everything one board shows, gathered once, so that its tables, pages and pictures cannot disagree."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from fedmeki_bench import registry
from fedmeki_bench.boards.board import Board
from fedmeki_bench.errors import FedmekiError
from fedmeki_bench.evaluation.metrics import BUILT_IN, MetricSpec
from fedmeki_bench.leaderboard.analysis import analyse
from fedmeki_bench.leaderboard.axes import with_axes
from fedmeki_bench.leaderboard.collect import Collected, Outcome, Row, tidy
from fedmeki_bench.leaderboard.differences import differences_table
from fedmeki_bench.leaderboard.environments import described
from fedmeki_bench.leaderboard.glossary import Definition, glossary
from fedmeki_bench.leaderboard.grid import Facts, Grid
from fedmeki_bench.leaderboard.groups import client_tables, group_tables, target_table
from fedmeki_bench.leaderboard.overview import across, overview_table
from fedmeki_bench.leaderboard.own_options import own_options_notes
from fedmeki_bench.leaderboard.published import PaperTable, Published, paper_tables
from fedmeki_bench.leaderboard.reading import Reader
from fedmeki_bench.leaderboard.section import Section
from fedmeki_bench.leaderboard.settings import settings_table
from fedmeki_bench.leaderboard.studies.study import Study
from fedmeki_bench.leaderboard.tables import PUBLISHED_SPLIT, SYNTHETIC, Table, main_table, task_table
from fedmeki_bench.leaderboard.task_groups import task_group_table
from fedmeki_bench.leaderboard.unseeing import unseeing_table
from fedmeki_bench.leaderboard.verdict import verdict
from fedmeki_bench.leaderboard.words import constant_outcomes

if TYPE_CHECKING:
    from fedmeki_bench.algorithms import Algorithm
    from fedmeki_bench.records.record import Record
    from fedmeki_bench.task import TaskMeta


@dataclass(frozen=True, slots=True)
class Context:
    """What a page takes from outside the records.

    Attributes:
        tasks, metrics: titles and definitions by name. Without ``tasks``, titles are names and the main metric is the
            first in the record; without ``metrics``, the built-in ones are known.
        read: reads the predictions behind an evaluation; without it there are no paired differences.
        command: the command line that reproduces a record.
        published: published figures to stand beside the measured ones.
        changed: ``section.key`` -> value of a record's parameters that differ from the defaults; without it the page
            says that they are unknown.
    """

    tasks: Mapping[str, TaskMeta] = field(default_factory=dict)
    metrics: Mapping[str, MetricSpec] = field(default_factory=lambda: BUILT_IN)
    read: Reader | None = None
    command: Callable[[Record], str] | None = None
    published: Published | None = None
    changed: Callable[[Record], Mapping[str, Any]] | None = None


@dataclass(frozen=True, slots=True)
class Gap:
    """Cells without a number for one reason: algorithm, status, reason, tasks and seeds, and with axes the points."""

    algorithm: Algorithm
    status: str
    reason: str
    tasks: tuple[str, ...]
    seeds: tuple[int, ...]
    points: tuple[str, ...] = ()

    @property
    def where(self) -> str:
        """The points in words; not all of very many."""
        n = len(self.points)
        return "; ".join(self.points if n <= _SPELT else [*self.points[:_SPELT], f"{n - _SPELT} points more"])


_SPELT = 4
"""Points that a gap names."""


@dataclass(frozen=True, slots=True)
class Page:
    """A board's sections, tidy rows, gaps and provenance; the first section holds the trained tasks.

    ``overview`` shows all sections in one view and ``across`` says what holds in all of them, where there are several.
    ``settings`` shows the parameters of every row; ``terms`` are the definitions of everything shown, each once.
    ``studies`` are what the analyses of the board found.
    """

    board: Board
    collected: Collected
    facts: Facts
    sections: tuple[Section, ...]
    rows: tuple[Row, ...]
    gaps: tuple[Gap, ...]
    unreadable: tuple[str, ...]
    digest: str
    versions: Mapping[str, tuple[str, ...]]
    environments: tuple[str, ...]
    from_files: tuple[str, ...]
    commands: Mapping[str, str]
    papers: tuple[PaperTable, ...] = ()
    overview: Table | None = None
    across: str = ""
    settings: Table | None = None
    terms: tuple[Definition, ...] = ()
    studies: tuple[Study, ...] = ()

    @property
    def algorithms(self) -> tuple[Algorithm, ...]:
        """Every row once, in the order of the first table that has it."""
        found = {row.algorithm.name: row.algorithm for section in self.sections for row in section.table.rows}
        return tuple(found.values())

    @property
    def main(self) -> Table:
        """The table of the trained tasks; of the first partition where there are several."""
        return self.sections[0].table

    @property
    def tables(self) -> tuple[Table, ...]:
        """The overview, the tables of main metrics, each with its differences, the settings, then one per task."""
        first = [t for section in self.sections for t in (section.table, section.differences, *section.axes)]
        shown = [self.overview, *first, self.settings, *(table for s in self.sections for table in s.details)]
        return tuple(table for table in shown if table is not None)

    @property
    def stamps(self) -> tuple[str, ...]:
        """``SYNTHETIC`` and ``PUBLISHED SPLIT``, each if any number deserves it."""
        found = {SYNTHETIC: self.collected.synthetic_tasks, PUBLISHED_SPLIT: self.collected.published_tasks}
        return tuple(stamp for stamp, tasks in found.items() if tasks)

    @property
    def stamp(self) -> str:
        """The stamps in one text; empty without any."""
        return ", ".join(self.stamps)

    @property
    def title(self) -> str:
        """The board's title with its stamp."""
        title = self.board.title or self.board.name
        return f"{title} ({self.stamp})" if self.stamp else title


def make_page(board: Board, collected: Collected, context: Context | None = None) -> Page:
    """Gather a page; the same outcomes and predictions give the same page."""
    context = context or Context()
    facts = Facts(context.tasks, context.metrics)
    parts = _parts(board, collected, context.tasks)
    sections = tuple(
        _section(board, part, facts, context, key, partition, zero_shot, len(parts))
        for key, partition, zero_shot, part in parts
    )
    sections = with_axes(board, sections, collected, facts)
    # in the order of the cells; a constant answer is no cell of the board and comes last
    shown = {id(o): o for section in sections for o in section.grid.collected.outcomes}
    shown |= {id(o): o for o in collected.outcomes if board.axes}
    cells = {id(o): o for o in collected.outcomes if id(o) in shown}
    collected = replace(collected, outcomes=tuple((cells | shown).values()))
    records = collected.records
    files = {f"{p.kind} {p.name} ({p.origin})" for r in records for p in r.plugins if p.origin.startswith("file:")}
    rows = tuple(tidy(collected))
    page = Page(
        board=board,
        collected=collected,
        facts=facts,
        sections=sections,
        rows=rows,
        gaps=_gaps(collected, points=bool(board.axes)),
        unreadable=tuple(f"{b.name}: {b.reason}" for b in collected.unreadable),
        digest=collected.digest(),
        versions=_versions(collected),
        environments=described(records),
        from_files=tuple(sorted(files)),
        commands={} if context.command is None else {r.key: context.command(r) for r in records},
    )
    page = replace(
        page,
        overview=_noted(board, overview_table(sections)),
        across=across(sections),
        settings=_noted(
            board,
            settings_table(
                sections, _changed(records, context), board.options, tuned=any(row.tuned for row in board.rows)
            ),
        ),
    )
    page = replace(page, studies=_studies(page, context))
    page = replace(page, terms=glossary([*page.tables, *(t for s in page.studies for t in s.tables)], context.metrics))
    if context.published is None:
        return page
    papers = paper_tables(context.published, sections, page.stamp)
    return replace(
        page, papers=tuple(replace(p, notes=(*p.notes, *own_options_notes(board, p.algorithms))) for p in papers)
    )  # fmt: skip


def _studies(page: Page, context: Context) -> tuple[Study, ...]:
    """What the board's analyses find on its page."""
    return tuple(registry.load("analyses", name)(page, context) for name in page.board.analysis)


def _noted(board: Board, table: Table | None) -> Table | None:
    """A table that says which of its rows have options of their own."""
    if table is None:
        return None
    return replace(table, notes=(*table.notes, *own_options_notes(board, [row.algorithm for row in table.rows])))


def _changed(records: Sequence[Record], context: Context) -> dict[str, Mapping[str, Any] | None]:
    """Per record what differs from the defaults; None where its plug-ins are not installed here."""
    found: dict[str, Mapping[str, Any] | None] = {}
    for record in records:
        try:
            found[record.key] = None if context.changed is None else context.changed(record)
        except FedmekiError:
            found[record.key] = None
    return found


def _section(
    board: Board,
    part: Collected,
    facts: Facts,
    context: Context,
    key: str,
    partition: str,
    zero_shot: bool,
    sections: int,
) -> Section:
    grid = Grid(board, part, facts)
    analysis = analyse(grid, context.read, sections=sections)
    trained = any(facts.tasks[task].role == "training" for task in grid.tasks if task in facts.tasks)
    asked = "Answers in words" if trained else "Zero-shot tasks"
    title = asked if zero_shot else "Main metrics"
    said = f", {partition}" if partition else ""
    targets = target_table(grid, analysis)
    table = main_table(grid, analysis)
    own = own_options_notes(board, [row.algorithm for row in table.rows])
    details = [t for t in (task_group_table(grid), unseeing_table(grid), targets) if t is not None]
    details += [*group_tables(grid), *client_tables(grid)]
    details = [
        replace(t, warnings=table.warnings, stamps=table.stamps) for t in details
    ]  # they depend on the same runs
    differences = differences_table(grid, analysis)
    if differences is not None:
        suffix = f"differences{key.removeprefix('main')}" if not zero_shot else f"differences_{key}"
        kind = f" ({asked.lower()})" if zero_shot and not said else ""
        differences = replace(
            differences, key=suffix, title=differences.title + (said or kind), warnings=table.warnings,
            stamps=table.stamps,
        )  # fmt: skip
    details += [task_table(grid, task) for task in grid.tasks]
    return Section(
        key, title + said, partition, zero_shot, grid, analysis,
        replace(table, key=key, title=title + said, notes=(*table.notes, *own)),
        verdict(grid, analysis),
        _noted(board, differences),
        tuple(replace(t, title=t.title + (said or (f" ({asked.lower()})" if zero_shot and t.key in _SHARED else "")))
              for t in details),
    )  # fmt: skip


_SHARED = ("task_groups", "unseeing", "targets", "groups_site", "groups_sex", "groups_age")
"""Keys of tables that a section of trained and one of zero-shot tasks both have."""


def _parts(board: Board, collected: Collected, tasks: Mapping[str, TaskMeta]) -> list[tuple[str, str, bool, Collected]]:
    """Key, partition, role and outcomes of each section: per partition the trained tasks, then the zero-shot ones.

    Trained tasks whose answers are texts stand with the latter: no view of a client model gives an answer. Of all these
    only the rows that can answer at least one are shown.
    """
    texts = {name for name, meta in tasks.items() if meta.role == "training" and not meta.labels.how.labelled}
    zero = {name for name, meta in tasks.items() if meta.role == "zero_shot"}
    if any(o.cell.task not in zero | texts for o in collected.outcomes):
        zero |= texts
    found = []
    for number, partition in enumerate(point.label for point in board.points if not point.moved):
        suffix = f"_{number + 1}" if number else ""
        own = [o for o in collected.outcomes if o.cell.partition == partition]
        trained = tuple(o for o in own if o.cell.task not in zero)
        asked = [o for o in own if o.cell.task in zero]
        answering = {o.cell.algorithm.name for o in asked if o.status != "not_applicable"}
        kept = tuple(o for o in asked if o.cell.algorithm.name in answering)
        found.append((f"main{suffix}", partition, False, _bounded(collected, trained)))
        if kept:
            found.append((f"zero_shot{suffix}", partition, True, _bounded(collected, kept)))
    return found


def _bounded(collected: Collected, outcomes: tuple[Outcome, ...]) -> Collected:
    """A section's outcomes with the row of the constant answer, in the order of the tasks."""
    tasks = {task: i for i, task in enumerate(dict.fromkeys(o.cell.task for o in outcomes))}
    constant = sorted(constant_outcomes(outcomes), key=lambda o: (tasks[o.cell.task], o.cell.seed))
    return replace(collected, outcomes=(*outcomes, *constant))


def _gaps(collected: Collected, *, points: bool) -> tuple[Gap, ...]:
    found: dict[tuple[str, str, str], list[tuple[str, int, str]]] = defaultdict(list)
    algorithms = {}
    for o in collected.outcomes:
        if o.status != "ok":
            algorithms[o.cell.algorithm.name] = o.cell.algorithm
            found[o.cell.algorithm.name, o.status, o.reason].append((o.cell.task, o.cell.seed, o.cell.partition))
    return tuple(
        Gap(
            algorithms[name],
            status,
            reason,
            tuple(dict.fromkeys(task for task, _, _ in places)),
            tuple(sorted({seed for _, seed, _ in places})),
            tuple(dict.fromkeys(point for _, _, point in places)) if points else (),
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
