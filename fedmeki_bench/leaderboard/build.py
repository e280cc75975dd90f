"""Write a board's leaderboard, or check that the committed one is what the records give."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from fedmeki_bench.boards.board import Board
from fedmeki_bench.boards.cells import Cell
from fedmeki_bench.errors import CheckFailed, InputError, UsageError, nearest
from fedmeki_bench.evaluation.rescoring import outdated
from fedmeki_bench.files import write_atomically
from fedmeki_bench.leaderboard.checking import checking
from fedmeki_bench.leaderboard.collect import Collected, collect
from fedmeki_bench.leaderboard.environments import moved_since
from fedmeki_bench.leaderboard.latex import page_latex
from fedmeki_bench.leaderboard.page import Context, Page, make_page
from fedmeki_bench.leaderboard.reading import reader
from fedmeki_bench.leaderboard.render import markdown, page_json, rows_csv
from fedmeki_bench.records.record import Record
from fedmeki_bench.records.store import BadRecord, RecordStore

FORMATS = ("md", "csv", "json", "tex", "html", "svg")

_PICTURE = re.compile(rb"<svg.*?</svg>", re.DOTALL)


def default_folder(board: Board) -> Path:
    """Where a board's tables go unless another folder is given: ``leaderboards/generated/<board>``."""
    return Path("leaderboards") / "generated" / board.name


def page_of(
    board: Board,
    cells: Sequence[Cell],
    store: RecordStore | Iterable[Record | BadRecord],
    context: Context | None = None,
) -> Page:
    """Everything the board shows, from the records of ``store`` and the predictions beside them."""
    context = _reading(store, context or Context())
    return make_page(board, collected_of(board, cells, store, context), context)


def collected_of(
    board: Board, cells: Sequence[Cell], store: RecordStore | Iterable[Record | BadRecord], context: Context
) -> Collected:
    """What the board's tables depend on: its cells with their records, every main number checked."""
    context = _reading(store, context)
    records = store.all() if isinstance(store, RecordStore) else store
    check = None if context.read is None else checking(context.read, context.metrics)
    return collect(cells, records, tasks=context.tasks, check=check, outdated=outdated)


def _reading(store: RecordStore | Iterable[Record | BadRecord], context: Context) -> Context:
    """The context with predictions read from the store, unless it has a reader of its own."""
    if isinstance(store, RecordStore) and context.read is None:
        return replace(context, read=reader(store.folder))
    return context


def build(
    board: Board,
    cells: Sequence[Cell],
    store: RecordStore | Iterable[Record | BadRecord],
    out: Path,
    formats: Sequence[str] = FORMATS,
    context: Context | None = None,
) -> list[Path]:
    """Write ``leaderboard.<format>`` into ``out`` for each format; returns the files.

    Raises:
        UsageError: an unknown format.
    """
    return write(page_of(board, cells, store, context), out, formats)


def write(page: Page, out: Path, formats: Sequence[str] = FORMATS) -> list[Path]:
    """Write a page into ``out`` in each format, every file whole or not at all; returns the files."""
    written = []
    for name, content in render(page, formats).items():
        path = out / name
        try:
            write_atomically(path, content)
        except OSError as error:
            raise InputError(f"{path} can't be written: {error.strerror or error}; choose another --out") from error
        written.append(path)
    return written


def check(
    board: Board,
    cells: Sequence[Cell],
    store: RecordStore | Iterable[Record | BadRecord],
    out: Path,
    formats: Sequence[str] = FORMATS,
    context: Context | None = None,
) -> None:
    """Compare the files in ``out`` with what the records give, byte for byte.

    The bytes of pictures depend on the version of matplotlib, so the figure is compared by the digest it carries, and
    the HTML page without its pictures.

    Raises:
        CheckFailed: names every file that is missing or stale, and the first line that differs.
        UsageError: an unknown format.
    """
    page = page_of(board, cells, store, context)
    text_formats = [f for f in formats if f != "svg"]
    stale = []
    for name, content in render(page, text_formats, figure="svg" in formats).items():
        path = out / name
        if not path.is_file():
            stale.append(f"{path} is missing")
            continue
        found, wanted = _PICTURE.sub(b"", path.read_bytes()), _PICTURE.sub(b"", content)
        if found != wanted:
            stale.append(f"{path} is stale (line {_first_difference(found, wanted)})")
    if "svg" in formats:
        path = out / "leaderboard.svg"
        if not path.is_file():
            stale.append(f"{path} is missing")
        elif page.digest.encode() not in path.read_bytes():
            stale.append(f"{path} is stale")
    if stale:
        moved = moved_since(out / "leaderboard.csv", page.rows)
        raise CheckFailed(
            f"{'; '.join(stale)}: run `fedmeki-bench leaderboard {shlex.quote(board.called)}`"
            + f"; {moved}" * bool(moved)
        )


def render(page: Page, formats: Sequence[str], *, figure: bool | None = None) -> dict[str, bytes]:
    """File name to content for each format; ``figure`` says whether the Markdown shows leaderboard.svg."""
    unknown = [f for f in formats if f not in FORMATS]
    if unknown:
        raise UsageError(f"unknown format {unknown[0]!r}; {nearest(unknown[0], FORMATS)}")
    return {f"leaderboard.{name}": _WRITERS[name](page, figure, formats) for name in formats}


def _markdown(page: Page, figure: bool | None, formats: Sequence[str]) -> bytes:
    shown = "svg" in formats if figure is None else figure
    return markdown(page, figure="leaderboard.svg" if shown else None).encode()


def _html(page: Page, figure: bool | None, formats: Sequence[str]) -> bytes:
    from fedmeki_bench.leaderboard.html import page_html

    return page_html(page).encode()


def _svg(page: Page, figure: bool | None, formats: Sequence[str]) -> bytes:
    from fedmeki_bench.leaderboard.figure import figure_svg

    return figure_svg(page)


_WRITERS: dict[str, Callable[[Page, bool | None, Sequence[str]], bytes]] = {
    "md": _markdown,
    "csv": lambda page, *_: rows_csv(page).encode(),
    "json": lambda page, *_: page_json(page).encode(),
    "tex": lambda page, *_: page_latex(page).encode(),
    "html": _html,
    "svg": _svg,
}


def _first_difference(found: bytes, wanted: bytes) -> int:
    a, b = found.splitlines(), wanted.splitlines()
    for number, (left, right) in enumerate(zip(a, b, strict=False), start=1):
        if left != right:
            return number
    return min(len(a), len(b)) + 1
