"""Published tables beside measured ones: the papers' own layout, task by metric against approaches, in percent."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from fedmeki_bench.errors import InputError
from fedmeki_bench.evaluation.view import answers_zero_shot

if TYPE_CHECKING:
    from fedmeki_bench.algorithms import Algorithm
    from fedmeki_bench.boards.board import Board
    from fedmeki_bench.leaderboard.section import Section

_COLUMNS = ("paper_table", "task", "metric", "aggregation", "scope", "stage", "percent")
_SUFFIXES = {"plain": "", "plus": "_plus", "star": "_star", "fm": "_fm"}
_ROUNDING = 0.005
"""Published figures are percentages with two decimals."""


@dataclass(frozen=True, slots=True)
class Published:
    """Published figures of one source.

    Attributes:
        title: whose they are.
        percent: (table, task, metric, algorithm) -> percentage, in the order of the file.
    """

    title: str
    percent: Mapping[tuple[str, str, str, str], float]

    def contradicted(self, table: str, task: str, algorithm: str) -> bool:
        """Whether the published F1 can't follow from the precision and recall beside it, whatever was rounded off."""
        found = [self.percent.get((table, task, metric, algorithm)) for metric in ("precision", "recall", "f1")]
        if any(value is None for value in found):
            return False
        p, r, f1 = (value for value in found if value is not None)
        lowest = _f1(p - _ROUNDING, r - _ROUNDING) - _ROUNDING
        highest = _f1(p + _ROUNDING, r + _ROUNDING) + _ROUNDING
        return not lowest - 1e-9 <= f1 <= highest + 1e-9


@dataclass(frozen=True, slots=True)
class PaperCell:
    """A published and a measured percentage; ``contradicted`` marks an F1 that its precision and recall refute."""

    published: float | None
    measured: float | None
    contradicted: bool = False

    @property
    def text(self) -> str:
        """``95.31† / 88.90``; a dash where there is no figure."""
        published = "–" if self.published is None else f"{self.published:.2f}" + "†" * self.contradicted
        measured = "–" if self.measured is None else f"{self.measured:.2f}"
        return f"{published} / {measured}"


@dataclass(frozen=True, slots=True)
class PaperTable:
    """One of the papers' tables: rows are (task title, metric title), columns are approaches."""

    key: str
    title: str
    algorithms: tuple[Algorithm, ...]
    rows: tuple[tuple[str, str, tuple[PaperCell, ...]], ...]
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())


def load_published(path: Path) -> Published:
    """Read a table of published figures.

    Raises:
        InputError: no such file, a column is missing, or a value is not a percentage; names file and line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot read the published figures: {error}") from error
    title = lines[0].removeprefix("#").strip() if lines and lines[0].startswith("#") else path.stem
    reader = csv.DictReader(line for line in lines if not line.startswith("#"))
    lacking = [name for name in _COLUMNS if name not in (reader.fieldnames or [])]
    if lacking:
        raise InputError(f"{path}: lacks the column {lacking[0]!r}; expected {', '.join(_COLUMNS)}")
    percent = {}
    for number, row in enumerate(reader, start=2):
        try:
            value, suffix = float(row["percent"]), _SUFFIXES[row["stage"]]
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(f"{path}: row {number} is not a published figure: {error}") from error
        if not 0 <= value <= 100:
            raise InputError(f"{path}: row {number}: {value} is not a percentage")
        scope = row["scope"][:1]
        percent[row["paper_table"], row["task"], row["metric"], f"{row['aggregation']}_{scope}{suffix}"] = value
    return Published(title, percent)


def published_folder(board: Board) -> Path:
    """Where a board's published figures lie: ``published`` beside the board's file."""
    return (board.source.parent if board.source else Path("leaderboards")) / "published"


def paper_tables(published: Published, sections: Sequence[Section], stamp: str) -> tuple[PaperTable, ...]:
    """The published tables with the measured figures of the same cells, then the zero-shot table, which has no
    published figures on file: its cells are measured only.
    """
    trained = next(s for s in sections if not s.zero_shot)
    warnings = (_banner(stamp),)
    tables = []
    for number in dict.fromkeys(table for table, *_ in published.percent):
        own = [key[1:] for key in published.percent if key[0] == number]
        names = [n for n in dict.fromkeys(name for *_, name in own) if n in trained.grid.algorithms]
        rows = []
        for task, metric in dict.fromkeys((task, metric) for task, metric, _ in own):
            cells = tuple(
                PaperCell(
                    published.percent.get((number, task, metric, name)), _percent(trained, name, task, metric),
                    metric == "f1" and published.contradicted(number, task, name),
                )
                for name in names
            )  # fmt: skip
            rows.append((trained.grid.facts.task_title(task), trained.grid.facts.metric_title(metric), cells))
        contradicted = any(cell.contradicted for *_, cells in rows for cell in cells)
        notes = ["Published / measured, in percent."]
        notes += ["† the published F1 does not follow from the precision and recall beside it."] if contradicted else []
        tables.append(
            PaperTable(
                f"paper_{number}", f"Table {number} of {published.title}",
                tuple(trained.grid.algorithms[n] for n in names), tuple(rows), warnings, tuple(notes),
            )
        )  # fmt: skip
    asked = next((s for s in sections if s.zero_shot), None)
    return (*tables, *(() if asked is None else (_zero_shot(published, asked, warnings),)))


def _zero_shot(published: Published, section: Section, warnings: tuple[str, ...]) -> PaperTable:
    grid = section.grid
    names = [name for name, algorithm in grid.algorithms.items() if answers_zero_shot(algorithm.view)]
    rows = []
    for task in grid.tasks:
        for metric in grid.collected.metrics.get(task, ()):
            cells = tuple(PaperCell(None, _percent(section, name, task, metric)) for name in names)
            if any(cell.measured is not None for cell in cells):
                rows.append((grid.facts.task_title(task), grid.facts.metric_title(metric), cells))
    notes = ("Published / measured, in percent; no published figures of this table are on file.",)
    title = f"Zero-shot table of {published.title}"
    return PaperTable("paper_zero_shot", title, tuple(grid.algorithms[n] for n in names), tuple(rows), warnings, notes)


def _banner(stamp: str) -> str:
    reasons = ["the measured runs use generated stand-in data"] if "SYNTHETIC" in stamp else []
    if "PUBLISHED SPLIT" not in stamp:
        reasons.append("their patients never cross splits, while published splits let them")
    why = f", as {' and '.join(reasons)}" if reasons else ""
    return f"Published and measured figures can't be compared number by number{why}." if why else (
        "Published figures come from the papers, measured ones from the records of this board."
    )  # fmt: skip


def _percent(section: Section, algorithm: str, task: str, metric: str) -> float | None:
    value = section.grid.mean(algorithm, task, metric)
    return None if value is None else 100 * value


def _f1(precision: float, recall: float) -> float:
    total = precision + recall
    return 2 * precision * recall / total if total > 0 else 0.0
