"""Two algorithms of a board, or two records, on the same seeds and patients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from fedmeki_bench import registry
from fedmeki_bench.algorithms import described
from fedmeki_bench.boards.board import Board, default_margin
from fedmeki_bench.boards.cells import Cell
from fedmeki_bench.errors import InputError, UsageError, nearest
from fedmeki_bench.leaderboard.collect import Outcome, collect
from fedmeki_bench.leaderboard.comparing import Column, OverTasks, compare_rows
from fedmeki_bench.leaderboard.judging import Comparison
from fedmeki_bench.leaderboard.reading import Reader, reader
from fedmeki_bench.records.record import Evaluation, Record
from fedmeki_bench.records.store import RecordStore, read_record
from fedmeki_bench.runs.plan import cells
from fedmeki_bench.runs.rows import resolve_rows
from fedmeki_bench.workflow.boards import AnyBoard, board_of, no_record
from fedmeki_bench.workflow.partitions import partition_in_words

if TYPE_CHECKING:
    import pandas as pd

    from fedmeki_bench.evaluation.predictions import Predictions, TextPredictions


@dataclass(frozen=True, slots=True)
class Compared:
    """A minus B.

    Attributes:
        a, b: what was asked for.
        comparisons: one per task, partition and metric; all intervals hold together with 95 % probability.
        partitions: which partition each of them is under; empty where the board has one.
        over_tasks: the mean over tasks, where there are several with one metric.
        notes: what should be known, in sentences.
    """

    a: str
    b: str
    comparisons: tuple[Comparison, ...]
    partitions: tuple[str, ...]
    over_tasks: OverTasks | None
    notes: tuple[str, ...]

    @property
    def differences(self) -> pd.DataFrame:
        """One row per comparison: ``difference`` with its interval ``low`` to ``high`` in the metric's own units.

        NaN where there is none, and then ``note`` says why. ``word`` says whether A is better, worse or equivalent.
        """
        import pandas as pd

        rows = [
            {"partition": partition} | asdict(found)
            for partition, found in zip(self.partitions, self.comparisons, strict=True)
        ]  # fmt: skip
        frame = pd.DataFrame(rows).drop(columns=["algorithm", "against"])
        return frame.astype(dict.fromkeys(Comparison.NUMBERS, "float64"))


def compare(
    a: str | Path, b: str | Path, *, board: AnyBoard | None = None, metrics: Sequence[str] | None = None,
    results: str | Path = "results",
) -> Compared:  # fmt: skip
    """Differences A minus B on the same seeds and patients, as one family, and over the tasks.

    Args:
        a: a row of ``board``; without a board a record: its file, its folder, or its key in ``results``.
        b: likewise.
        board: its name, its file, the board itself, or a mapping of what its file would hold.
        metrics: by default the main metric of each task.
        results: the folder of records.

    Raises:
        UsageError: no such row, record, board or metric.
        InputError: the two share nothing that can be compared; says why.
    """
    given, results = (str(a), str(b)), Path(results)
    sides = _of_records(*given, results) if board is None else _of_board(*given, board_of(board), results)
    known = registry.working("metrics")
    for name in metrics or ():
        if name not in known:
            raise UsageError(f"unknown metric {name!r}; {nearest(name, known)}")
    columns: list[Column] = []
    notes, collections = list(sides.notes), dict[str, str]()
    for (task, partition), outcomes in sides.outcomes.items():
        meta = registry.load("tasks", task, files=False).meta
        collections[task] = meta.patients or meta.dataset
        two = [o for row in (sides.a, sides.b) for o in outcomes[row]]
        scored = [o.evaluation.metrics for o in two if o.evaluation is not None]
        for name in metrics or meta.metrics[:1]:
            if all(name in metrics_of for metrics_of in scored):
                columns.append(Column(task, partition, registry.load("metrics", name), sides.margin(name), outcomes))
            else:
                notes.append(f"{task} has no {name} on both sides: left out")
    if not columns:
        asked = f" with {','.join(metrics)}" if metrics else ""
        raise InputError(f"{a} and {b} share no task that both finished{asked}")
    found, over = compare_rows(sides.a, sides.b, columns, sides.read, collections)
    if all(c.difference is None for c in found):
        raise InputError(f"{a} and {b} can't be compared: {found[0].note}")
    return Compared(*given, tuple(found), tuple(column.partition for column in columns), over, tuple(notes))


@dataclass(frozen=True)
class _Sides:
    """(task, partition) -> row -> outcomes; which rows are A and B, and how their predictions are read."""

    a: str
    b: str
    outcomes: dict[tuple[str, str], dict[str, list[Outcome]]]
    read: Reader
    margin: Callable[[str], float]
    notes: list[str]


def _of_board(a: str, b: str, chosen: Board, results: Path) -> _Sides:
    """All rows of the board where both sides have a number."""

    for name in (a, b):
        if name not in chosen.row_names:
            raise UsageError(f"{name!r} is not a row of {chosen.name}; {nearest(name, chosen.row_names)}")
    store = RecordStore(results)
    records = list(store.all())
    if not records:
        raise no_record(chosen, results)
    outcomes = collect(cells(chosen, records), records).outcomes
    shown = {row.row.name: row.shown.name for row in resolve_rows(chosen, load=False)}
    first, second = shown[a], shown[b]
    found: dict[tuple[str, str], dict[str, list[Outcome]]] = {}
    for partition, task in product([point.label for point in chosen.points], chosen.tasks):
        rows: dict[str, list[Outcome]] = {}
        for o in outcomes:
            if (o.cell.task, o.cell.partition) == (task, partition):
                rows.setdefault(o.cell.algorithm.name, []).append(o)
        if all(any(o.status == "ok" for o in rows.get(name, [])) for name in (first, second)):
            found[task, partition] = rows
    return _Sides(first, second, found, reader(store.folder), chosen.margin, [])


def _of_records(a: str, b: str, results: Path) -> _Sides:
    """One outcome each of the two records, each by the view of its algorithm."""

    sides: list[tuple[Record, dict[str, Outcome]]] = []
    readers: dict[int, Reader] = {}
    for given in (a, b):
        path = _record_path(given, results)
        record = read_record(path)
        readers[id(record)] = reader(partial(_same_folder, path.parent))
        algorithm = described(record.algorithm)
        sides.append((record, {
            e.task: Outcome(Cell(algorithm, e.task, 0, record.setting), "ok", "", record, e)
            for e in record.evaluations if e.view == algorithm.view and e.metrics
        }))  # fmt: skip
    (left, ours), (right, theirs) = sides
    notes = [] if left.seed == right.seed else [f"seeds {left.seed} and {right.seed} differ: so may luck"]
    partitions = [partition_in_words(record.partition, record.params) for record in (left, right)]
    if partitions[0] != partitions[1]:
        notes.append(f"partitions differ: {partitions[0]}, and {partitions[1]}")
    cards = [{c.task: c.card for c in record.cohorts} for record in (left, right)]
    shared = [task for task in ours if task in theirs]
    other = [task for task in shared if cards[0].get(task) != cards[1].get(task)]
    notes += [f"{task}: the two records use differently prepared data" for task in other]
    found: dict[tuple[str, str], dict[str, list[Outcome]]] = {
        (task, ""): {"A": [ours[task]], "B": [theirs[task]]} for task in shared
    }

    def read(record: Record, evaluation: Evaluation) -> Predictions | TextPredictions | None:
        return readers[id(record)](record, evaluation)

    return _Sides("A", "B", found, read, default_margin, notes)


def _same_folder(folder: Path, key: str) -> Path:
    return folder


def _record_path(given: str, results: Path) -> Path:
    for path in (Path(given), Path(given) / "record.json", results / given / "record.json"):
        if path.is_file():
            return path
    raise UsageError(
        f"{given!r} is no record: give a record.json, its folder, a key in {results}, or --board for rows of a board"
    )
