"""What of a board stands under other choices: from its records, or from a published table alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fedmeki_bench.definitions.places import look_in
from fedmeki_bench.leaderboard.build import collected_of
from fedmeki_bench.leaderboard.grid import Facts
from fedmeki_bench.leaderboard.reading import reader
from fedmeki_bench.leaderboard.studies.stability import study_of, study_of_board
from fedmeki_bench.leaderboard.studies.study import Study
from fedmeki_bench.leaderboard.studies.worlds import worlds_of_csv
from fedmeki_bench.records.store import RecordStore
from fedmeki_bench.workflow.boards import AnyBoard, board_of
from fedmeki_bench.workflow.tables import context_of, records_of


def stability(board: AnyBoard, results: str | Path = "results") -> Study:
    """Claims judged in every world, intervals over worlds, what moves the numbers, and what carries no signal.

    Nothing is trained and no test data are opened.

    Args:
        board: a board by itself, its name, its file or its keys; or a published ``leaderboard.csv``, which needs
            neither the board nor records.
        results: the folder of records.

    Raises:
        UsageError: no such board.
        InputError: there is no record, or the table can't be read.
    """
    if isinstance(board, str | Path) and str(board).endswith(".csv"):
        return study_of(worlds_of_csv(Path(board)))
    from fedmeki_bench.runs.plan import cells  # loads what runs need, and a table does not

    look_in(results)
    found, store = board_of(board), RecordStore(results)
    records, context = records_of(found, store), replace(context_of(found), read=reader(store.folder))
    collected = collected_of(found, cells(found, records), records, context)
    return study_of_board(found, collected, Facts(context.tasks, context.metrics))
