"""Write a board's leaderboard, or check that the committed one is what the records give."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fedmeki_bench.errors import CheckFailed, UsageError, nearest
from fedmeki_bench.leaderboard.board import Board
from fedmeki_bench.leaderboard.cells import Cell
from fedmeki_bench.leaderboard.collect import collect
from fedmeki_bench.leaderboard.page import Page, make_page
from fedmeki_bench.leaderboard.render import markdown, page_json, rows_csv
from fedmeki_bench.results.record import Record
from fedmeki_bench.results.store import BadRecord, RecordStore, write_atomically

if TYPE_CHECKING:
    from fedmeki_bench.evaluation.metrics import MetricSpec
    from fedmeki_bench.task import TaskMeta

FORMATS = ("md", "csv", "json", "svg")


def default_folder(board: Board) -> Path:
    """Where a board's tables go unless told otherwise: ``leaderboards/generated/<board>``."""
    return Path("leaderboards") / "generated" / board.name


def page_of(
    board: Board,
    cells: Sequence[Cell],
    store: RecordStore | Iterable[Record | BadRecord],
    *,
    tasks: Mapping[str, TaskMeta] | None = None,
    metrics: Mapping[str, MetricSpec] | None = None,
) -> Page:
    """Everything the board shows, from the records of ``store``."""
    records = store.all() if isinstance(store, RecordStore) else store
    return make_page(board, collect(cells, records, tasks=tasks), tasks=tasks, metrics=metrics)


def build(
    board: Board,
    cells: Sequence[Cell],
    store: RecordStore | Iterable[Record | BadRecord],
    out: Path,
    formats: Sequence[str] = FORMATS,
    *,
    tasks: Mapping[str, TaskMeta] | None = None,
    metrics: Mapping[str, MetricSpec] | None = None,
) -> list[Path]:
    """Write ``leaderboard.<format>`` into ``out`` for each format; returns the files.

    Args:
        tasks, metrics: titles and definitions of what the board shows, by name. Without ``tasks``, titles
            are names and the main metric is the first in the record; without ``metrics``, the built-in ones.

    Raises:
        UsageError: an unknown format.
    """
    page = page_of(board, cells, store, tasks=tasks, metrics=metrics)
    written = []
    for name, content in render(page, formats).items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
        written.append(path)
    return written


def check(
    board: Board,
    cells: Sequence[Cell],
    store: RecordStore | Iterable[Record | BadRecord],
    out: Path,
    formats: Sequence[str] = FORMATS,
    *,
    tasks: Mapping[str, TaskMeta] | None = None,
    metrics: Mapping[str, MetricSpec] | None = None,
) -> None:
    """Compare the files in ``out`` with what the records give, byte for byte.

    The figure's bytes depend on the version of matplotlib, so it is compared by the digest it carries.

    Raises:
        CheckFailed: names every file that is missing or stale, and the first line that differs.
        UsageError: an unknown format.
    """
    page = page_of(board, cells, store, tasks=tasks, metrics=metrics)
    text_formats = [f for f in formats if f != "svg"]
    stale = []
    for name, content in render(page, text_formats, figure="svg" in formats).items():
        path = out / name
        if not path.exists():
            stale.append(f"{path} is missing")
        elif (found := path.read_bytes()) != content:
            stale.append(f"{path} is stale (line {_first_difference(found, content)})")
    if "svg" in formats:
        path = out / "leaderboard.svg"
        if not path.exists():
            stale.append(f"{path} is missing")
        elif page.digest.encode() not in path.read_bytes():
            stale.append(f"{path} is stale")
    if stale:
        raise CheckFailed(f"{'; '.join(stale)}: run `fedmeki-bench leaderboard {board.name}`")


def render(page: Page, formats: Sequence[str], *, figure: bool | None = None) -> dict[str, bytes]:
    """File name to content for each format; ``figure`` says whether the Markdown shows leaderboard.svg."""
    unknown = [f for f in formats if f not in FORMATS]
    if unknown:
        raise UsageError(f"unknown format {unknown[0]!r}; {nearest(unknown[0], FORMATS)}")
    files: dict[str, bytes] = {}
    for name in formats:
        file = f"leaderboard.{name}"
        if name == "md":
            with_figure = "svg" in formats if figure is None else figure
            files[file] = markdown(page, figure="leaderboard.svg" if with_figure else None).encode()
        elif name == "csv":
            files[file] = rows_csv(page).encode()
        elif name == "json":
            files[file] = page_json(page).encode()
        else:
            from fedmeki_bench.leaderboard.figure import figure_svg

            files[file] = figure_svg(page)
    return files


def _first_difference(found: bytes, wanted: bytes) -> int:
    a, b = found.splitlines(), wanted.splitlines()
    for number, (left, right) in enumerate(zip(a, b, strict=False), start=1):
        if left != right:
            return number
    return min(len(a), len(b)) + 1
