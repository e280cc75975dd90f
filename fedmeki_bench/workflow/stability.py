"""What of a board stands under other choices: from its records, or from a published table alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from fedmeki_bench.boards.board import Board
from fedmeki_bench.definitions.places import look_in
from fedmeki_bench.errors import FedmekiError, InputError, UsageError
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
class Gathered:
    """A board with what its records say of it in every world.

    Attributes:
        board, collected, context, worlds: as they are named.
        store: the folder of records.
        repeated: row -> how well a run of it agreed with its repetition, where that was asked for.
    """

    board: Board
    collected: Collected
    context: Context
    worlds: Worlds
    store: RecordStore
    repeated: Mapping[str, str] = field(default_factory=dict)

    @property
    def study(self) -> Study:
        """What the analysis finds."""
        return study_of_worlds(self.board, self.worlds, self.collected, self.repeated)

    def done_again(self, data: Path, device: str = "cpu") -> Gathered:
        """The same with the first run of every row at the base done again; why one can't be is said in its place."""
        from fedmeki_bench.workflow.repeating import repeat

        found: dict[str, str] = {}
        for row, key in first_runs(self.worlds, self.collected).items():
            try:
                found[row] = repeat(self.store.folder(key), data, device=device).agreement.text
            except FedmekiError as error:
                found[row] = f"not done: {error}"
        return replace(self, repeated=found)


def gathered(board: AnyBoard, results: str | Path) -> Gathered:
    """Everything of a board in every world.

    Raises:
        UsageError: no such board, or a table alone was given.
        InputError: there is no record, or the board's file is bad.
    """
    from fedmeki_bench.runs.plan import cells  # loads what runs need, and a table does not

    if is_table(board):
        raise UsageError("a table alone knows neither runs nor data: give its board and --results")
    look_in(results)
    found, store = board_of(board), RecordStore(results)
    records, context = records_of(found, store), replace(context_of(found), read=reader(store.folder))
    collected = collected_of(found, cells(found, records), records, context)
    worlds = worlds_of_board(found, collected, Facts(context.tasks, context.metrics))
    return Gathered(found, collected, context, worlds, store)


def is_table(board: AnyBoard) -> bool:
    """Whether a published table was named, and no board."""
    return isinstance(board, str | Path) and str(board).endswith(".csv")


def stability(
    board: AnyBoard, results: str | Path = "results", *, reproduce: bool = False, data: str | Path = "data",
    device: str = "cpu",
) -> Study:  # fmt: skip
    """Claims judged in every world, intervals over worlds, what moves the numbers, and what carries no signal.

    Nothing is trained and no test data are opened, unless one run of every row is to be done again.

    Args:
        board: a board by itself, its name, its file or its keys; or a published ``leaderboard.csv``, which needs
            neither the board nor records.
        results: the folder of records.
        reproduce: do the first run of every row at the base again, and say how well its predictions agree.
        data: the folder of cohorts for that.
        device: where models live for that.

    Raises:
        UsageError: no such board, or a table alone, of which nothing can be done again.
        InputError: there is no record, or the table can't be read.
    """
    if is_table(board) and not reproduce:
        return study_of(worlds_of_csv(Path(str(board))))
    found = gathered(board, results)
    return found.done_again(Path(data), device).study if reproduce else found.study


def document_stability(found: Gathered, out: str | Path, data: str | Path | None = None) -> list[Path]:
    """Write the five sections of PCS documentation as ``stability.md`` and ``stability.html``; returns the files.

    Args:
        found: what :func:`gathered` gives.
        out: the folder to write into.
        data: the folder of cohorts, for their cards.

    Raises:
        InputError: the file of reasons is bad, or ``out`` can't be written.
    """
    from fedmeki_bench.documentation.document import markdown, page
    from fedmeki_bench.documentation.judgement import judgement_of
    from fedmeki_bench.documentation.pcs import document_of

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
