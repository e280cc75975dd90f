"""What of a board stands under other choices: from its records, or from a published table alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from fedmeki_bench.boards.board import Board
from fedmeki_bench.definitions.places import look_in
from fedmeki_bench.errors import InputError, UsageError
from fedmeki_bench.files import write_atomically
from fedmeki_bench.leaderboard.build import collected_of
from fedmeki_bench.leaderboard.collect import Collected
from fedmeki_bench.leaderboard.grid import Facts
from fedmeki_bench.leaderboard.page import Context
from fedmeki_bench.leaderboard.reading import reader
from fedmeki_bench.leaderboard.studies.beside_tables import first_runs
from fedmeki_bench.leaderboard.studies.stability import study_of, study_of_worlds
from fedmeki_bench.leaderboard.studies.study import Study
from fedmeki_bench.leaderboard.studies.worlds import Worlds, worlds_of_board, worlds_of_csv
from fedmeki_bench.records.store import RecordStore
from fedmeki_bench.workflow.boards import AnyBoard, board_of
from fedmeki_bench.workflow.tables import context_of, records_of


@dataclass(frozen=True, slots=True)
class _Gathered:
    board: Board
    collected: Collected
    context: Context
    worlds: Worlds
    repeated: Mapping[str, str]

    @property
    def study(self) -> Study:
        return study_of_worlds(self.board, self.worlds, self.collected, self.repeated)


def _gathered(board: AnyBoard, results: str | Path, again: Path | None = None) -> _Gathered:
    """Everything of a board, from its records; with ``again``, the first run of each row done again on data there."""
    from fedmeki_bench.runs.plan import cells  # loads what runs need, and a table does not

    look_in(results)
    found, store = board_of(board), RecordStore(results)
    records, context = records_of(found, store), replace(context_of(found), read=reader(store.folder))
    collected = collected_of(found, cells(found, records), records, context)
    worlds = worlds_of_board(found, collected, Facts(context.tasks, context.metrics))
    repeated: dict[str, str] = {}
    if again is not None:
        from fedmeki_bench.workflow.repeating import repeat

        for row, key in first_runs(worlds, collected).items():
            repeated[row] = repeat(store.folder(key), again).agreement.text
    return _Gathered(found, collected, context, worlds, repeated)


def stability(
    board: AnyBoard, results: str | Path = "results", *, reproduce: bool = False, data: str | Path = "data"
) -> Study:
    """Claims judged in every world, intervals over worlds, what moves the numbers, and what carries no signal.

    Nothing is trained and no test data are opened, unless one run of every row is to be done again.

    Args:
        board: a board by itself, its name, its file or its keys; or a published ``leaderboard.csv``, which needs
            neither the board nor records.
        results: the folder of records.
        reproduce: do the first run of every row at the base again, and say how well its predictions agree.
        data: the folder of cohorts for that.

    Raises:
        UsageError: no such board, or a table alone, of which nothing can be done again.
        InputError: there is no record, or the table can't be read.
    """
    if isinstance(board, str | Path) and str(board).endswith(".csv"):
        if reproduce:
            raise UsageError("a table alone can't be done again: give its board and --results")
        return study_of(worlds_of_csv(Path(board)))
    return _gathered(board, results, Path(data) if reproduce else None).study


def document_stability(
    board: AnyBoard, results: str | Path, out: str | Path, *, data: str | Path | None = None,
    reproduce: bool = False,
) -> list[Path]:  # fmt: skip
    """Write the five sections of PCS documentation as ``stability.md`` and ``stability.html``; returns the files.

    Args:
        board: a board; a table alone knows too little of its data.
        results: the folder of records.
        out: the folder to write into.
        data: the folder of cohorts, for their cards.
        reproduce: as for :func:`stability`.

    Raises:
        UsageError: a table was given, or there is no such board.
        InputError: there is no record, the file of reasons is bad, or ``out`` can't be written.
    """
    from fedmeki_bench.documentation.document import markdown, page
    from fedmeki_bench.documentation.judgement import judgement_of
    from fedmeki_bench.documentation.pcs import document_of

    if isinstance(board, str | Path) and str(board).endswith(".csv"):
        raise UsageError("a table alone knows too little of its data to be documented: give its board and --results")
    found = _gathered(board, results, Path(data) if reproduce and data is not None else None)
    made = document_of(
        found.board, found.worlds, found.study, found.collected, found.context, judgement_of(found.board),
        None if data is None else Path(data),
    )  # fmt: skip
    written = []
    for name, text in (("stability.md", markdown(made)), ("stability.html", page(made))):
        path = Path(out) / name
        try:
            write_atomically(path, text.encode())
        except OSError as error:
            raise InputError(f"{path} can't be written: {error.strerror or error}; choose another folder") from error
        written.append(path)
    return written
