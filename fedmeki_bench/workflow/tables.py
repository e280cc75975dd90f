"""A board's leaderboard: gathered, written, checked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedmeki_bench import registry
from fedmeki_bench.boards.board import Board
from fedmeki_bench.definitions.places import look_in
from fedmeki_bench.errors import FedmekiError
from fedmeki_bench.leaderboard import build as building
from fedmeki_bench.leaderboard.collect import Row
from fedmeki_bench.leaderboard.judging import Comparison
from fedmeki_bench.leaderboard.own_options import own_options
from fedmeki_bench.leaderboard.page import Context, Page
from fedmeki_bench.leaderboard.published import load_published, published_folder
from fedmeki_bench.records.record import Record
from fedmeki_bench.records.store import BadRecord, RecordStore
from fedmeki_bench.runs.command import changed_options, command_of
from fedmeki_bench.runs.plan import cells
from fedmeki_bench.workflow.boards import AnyBoard, board_of, no_record

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Leaderboard:
    """A board's tables.

    Attributes:
        page: everything the board shows.
        files: what was written.
    """

    page: Page
    files: tuple[Path, ...] = ()

    @property
    def scores(self) -> pd.DataFrame:
        """One row per algorithm, task, partition, seed and metric, as in ``leaderboard.csv``.

        ``value`` with its 95 % interval over patients, ``low`` to ``high``, is in the metric's own units; NaN where
        there is no number, and then ``status`` and ``reason`` say why. ``options`` are those that the board gives the
        row alone.
        """
        import pandas as pd

        own = own_options(self.page.board)
        rows = [asdict(row) | {"options": own.get(row.algorithm, "")} for row in self.page.rows]
        frame = pd.DataFrame(rows, columns=[*(f.name for f in fields(Row)), "options"])
        numbers = dict.fromkeys(("value", "low", "high"), "float64")
        return frame.astype(numbers | dict.fromkeys(("n", "groups"), "Int64"))

    @property
    def ranks(self) -> pd.DataFrame:
        """One row per ranked algorithm and section of the page, best first.

        ``place`` is 1 + the number of rows with a better mean over the tasks, ``low`` and ``high`` the best and the
        worst place that are possible, ``best`` whether it may be the best.
        """
        import pandas as pd

        columns = ["section", "partition", "algorithm", "title", "place", "low", "high", "best"]
        return pd.DataFrame(list(self._ranks()), columns=columns)

    def _ranks(self) -> Iterator[list[Any]]:
        for section in self.page.sections:
            titles = {row.algorithm.name: row.algorithm.title for row in section.table.rows}
            for name, place in sorted(section.analysis.places.items(), key=lambda item: item[1].place):
                yield [
                    section.key, section.partition, name, titles.get(name, name), place.place, place.low, place.high,
                    name in section.analysis.best,
                ]  # fmt: skip

    @property
    def differences(self) -> pd.DataFrame:
        """One row per comparison of an algorithm with the reference, or with a bound.

        ``difference`` is ``algorithm`` minus ``against`` in the metric's own units (in margins where ``metric`` is
        empty, for then different metrics were averaged); ``task`` is empty for the mean over tasks. All intervals of
        a ``family`` hold together. ``question`` and ``answer`` are filled for bounds.
        """
        import pandas as pd

        columns = ["section", "partition", "family", "question", "answer", *(f.name for f in fields(Comparison))]
        frame = pd.DataFrame(list(self._differences()), columns=columns)
        return frame.astype(dict.fromkeys(Comparison.NUMBERS, "float64"))

    def _differences(self) -> Iterator[dict[str, Any]]:
        for section in self.page.sections:
            place = {"section": section.key, "partition": section.partition}
            analysis = section.analysis
            for found in analysis.primary:
                yield place | {"family": "mean", "question": "", "answer": ""} | asdict(found)
            for asked in analysis.questions:
                said = {"family": "mean", "question": asked.question, "answer": asked.answer}
                yield place | said | asdict(asked.found)
            for found in analysis.per_task:
                yield place | {"family": "tasks", "question": "", "answer": ""} | asdict(found)


def leaderboard(
    board: AnyBoard, results: str | Path = "results", *, out: str | Path | None = None,
    formats: Sequence[str] = building.FORMATS,
) -> Leaderboard:  # fmt: skip
    """Build a board's tables from records and the predictions beside them; the same ones give the same bytes.

    Args:
        board: its name, its file, the board itself, or a mapping of what its file would hold.
        results: the folder of records.
        out: the folder to write ``leaderboard.<format>`` into; nothing is written by default.
        formats: of the files: md, csv, json, tex, html, svg.

    Raises:
        UsageError: no such board or format.
        InputError: there is no record, predictions are gone or changed, or ``out`` can't be written.
    """
    page = page_of(board, results)
    return Leaderboard(page, () if out is None else tuple(building.write(page, Path(out), formats)))


def page_of(board: AnyBoard, results: str | Path) -> Page:
    """Everything a board shows.

    Raises:
        UsageError, InputError: as :func:`leaderboard`.
    """
    look_in(results)
    board, store = board_of(board), RecordStore(results)
    found = records_of(board, store)
    return building.page_of(board, cells(board, found), store, context_of(board))


def check_leaderboard(
    board: AnyBoard, results: str | Path, out: Path, formats: Sequence[str] = building.FORMATS
) -> None:
    """Compare the files in ``out`` with what the records give.

    Raises:
        CheckFailed: one is missing or stale.
        UsageError, InputError: as :func:`leaderboard`.
    """
    board, store = board_of(board), RecordStore(results)
    found = records_of(board, store)
    building.check(board, cells(board, found), store, out, formats, context_of(board))


def records_of(board: Board, store: RecordStore) -> list[Record | BadRecord]:
    """All records of a folder.

    Raises:
        InputError: there is none; the sentence holds the command that makes some.
    """
    records = list(store.all())
    if not any(isinstance(record, Record) for record in records):
        raise no_record(board, store.root)
    return records


def context_of(board: Board) -> Context:
    """What the board's page takes from the registry: its tasks, all metrics, and how to write a command."""
    return Context(
        tasks={name: registry.load("tasks", name, files=False).meta for name in board.tasks},
        metrics=registry.working("metrics"),
        command=_command,
        changed=changed_options,
        published=load_published(published_folder(board) / f"{board.published}.csv") if board.published else None,
    )


def _command(record: Record) -> str:
    try:
        return command_of(record)
    except FedmekiError as error:  # it names what is not installed here
        return f"can't be repeated here: {error}"
