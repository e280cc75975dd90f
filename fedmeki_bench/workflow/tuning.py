"""Options of a board's rows, chosen on `valid`: one budget for all, every trial a run, no test split opened."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fedmeki_bench import registry
from fedmeki_bench.boards.axes import SEED
from fedmeki_bench.boards.board import Board
from fedmeki_bench.boards.edit import Change, with_changes
from fedmeki_bench.boards.loading import board_from, load_board
from fedmeki_bench.boards.rows import BoardRow, RowSpec, Scalar, TunedSpec
from fedmeki_bench.definitions.places import look_in
from fedmeki_bench.errors import InputError, RunFailed, UsageError
from fedmeki_bench.events import Listener, RunEnded, silent
from fedmeki_bench.files import write_atomically
from fedmeki_bench.options import safe_yaml
from fedmeki_bench.records.store import RecordStore
from fedmeki_bench.runs import sweep as sweeping
from fedmeki_bench.runs.engines import devices_of
from fedmeki_bench.runs.execute import CHECKPOINT, trained
from fedmeki_bench.runs.plan import Planned, inspect
from fedmeki_bench.runs.trials import (
    Grid,
    Trial,
    best_of,
    check_numbers,
    combinations,
    edges,
    scored,
    trial_of,
)
from fedmeki_bench.workflow.boards import AnyBoard, board_of
from fedmeki_bench.workflow.training import Building, build_stand_ins, check_device
from fedmeki_bench.workflow.tunable import as_written, laid_over, notes_of, rows_asked, why_not

if TYPE_CHECKING:
    import pandas as pd

    from fedmeki_bench.evaluation.metric_spec import MetricSpec


@dataclass(frozen=True, slots=True)
class TunedRow:
    """The trials of one row.

    Attributes:
        row: as the board gives it; of an algorithm that is no row of it, as it would.
        trials: in the order of the grid.
        best: the one that is chosen; None if none ended with a number.
        measure: what decided, in words.
        notes: what should be known, in sentences.
    """

    row: BoardRow
    trials: tuple[Trial, ...]
    best: Trial | None
    measure: str
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Tuning:
    """What was tried for some rows of a board, and what did best on `valid`.

    Attributes:
        over: option -> the values of the grid.
        seed: of the trials.
        rows: one per row, in the order asked for.
        left_out: rows that were not tried, with the reason, in sentences.
        notes: what should be known of all of them, in sentences.
        written: the board file that now has the chosen values.
    """

    board: Board
    over: Grid
    seed: int
    rows: tuple[TunedRow, ...]
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    written: Path | None = None

    @property
    def trials(self) -> pd.DataFrame:
        """One row per trial: its values, status, ``score``, whether it is ``chosen``, and ``valid`` per task.

        ``valid`` values are in the metric's own units, under ``valid TASK`` (``valid TASK, PARTITION`` where the board
        has several); NaN where there is none, and then ``reason`` says why.
        """
        import pandas as pd

        return pd.DataFrame([
            {"row": one.row.name, **trial.values, "status": trial.status, "reason": trial.reason, "score": trial.score,
             "chosen": trial is one.best} | {column_of(place): value for place, value in trial.valid.items()}
            for one in self.rows for trial in one.trials
        ])  # fmt: skip


def column_of(place: tuple[str, str]) -> str:
    """How a table calls the values on `valid` of a partition and task."""
    partition, task = place
    return f"valid {task}" + (f", {partition}" if partition else "")


@dataclass(frozen=True, slots=True)
class TrialRuns:
    """The training runs behind the trials of some rows, with their state before they are run.

    Attributes:
        board: the trials as a board: a row each, one seed.
        rows: the rows of the board that are tuned.
        names: per row of the board, what its trials' rows are called, and their values.
    """

    board: Board
    rows: tuple[BoardRow, ...]
    names: tuple[dict[str, dict[str, Scalar]], ...]
    entries: tuple[Planned, ...]
    chosen: tuple[Planned, ...]
    jobs: int
    left_out: tuple[str, ...] = ()
    notes: tuple[tuple[str, ...], ...] = ()


Watch = Callable[[TrialRuns], AbstractContextManager[Listener]]
"""Gives the trials the listener that follows them."""


def tune(
    rows: str | Sequence[str] | None, over: Grid, *, board: AnyBoard, data: str | Path = "data",
    results: str | Path = "results", seed: int = 0, trials: int | None = None, write: bool = False,
    jobs: int | None = None, device: str = "cpu", listener: Listener = silent,
) -> Tuning:  # fmt: skip
    """Try every combination of options for some rows of a board, and choose the one that does best on `valid`.

    Each trial is a run under the board's tasks, partitions and budget. It stays in ``results``, so a second call, and a
    larger grid, go on from there. No test split is opened: the run of the chosen values has but to be scored by the
    next sweep. Worker processes are started afresh, so a script must call this under ``if __name__ == "__main__":``.

    Args:
        rows: what rows of the board are called, or algorithms; None for all rows that are trained.
        over: option -> values, e.g. ``{"lr": [0.0003, 0.001, 0.003]}``.
        board: its name, its file, the board itself, or a mapping of what its file would hold.
        data: the folder of prepared cohorts.
        results: the folder of records.
        seed: of the trials; it may be one that the board does not report.
        trials: draw so many combinations, the same for all rows; by default all.
        write: write the chosen values and the budget into the board's file.
        jobs: processes; by default as many as fill the cores.
        device: where models live; of several, comma-separated, processes take one each in turn.
        listener: takes the events of all runs.

    Raises:
        UsageError: no such board, row or device; a row lacks an option, so that budgets would differ; a value is given
            twice; or ``write`` without a file to write to.
        InputError: data are missing, or a value is out of range.
        RunFailed: every trial of some row diverged or failed; nothing was written.
    """
    asked = None if rows is None else [rows] if isinstance(rows, str) else list(rows)
    planned = plan_trials(asked, over, board=board, data=data, results=results, seed=seed, trials=trials, write=write,
                          jobs=jobs)  # fmt: skip
    return run_trials(
        planned, over, board=board, data=data, results=results, write=write, device=device,
        watch=lambda _: nullcontext(listener),
    )  # fmt: skip


def plan_trials(
    asked: Sequence[str] | None, over: Grid, *, board: AnyBoard, data: str | Path, results: str | Path, seed: int = 0,
    trials: int | None = None, write: bool = False, jobs: int | None = None,
) -> TrialRuns:  # fmt: skip
    """The runs that :func:`tune` would make.

    Raises:
        UsageError, InputError: as :func:`tune`.
    """
    look_in(data)
    given = board_of(board)
    if seed < 0:
        raise UsageError(f"the seed cannot be {seed}: it is not negative")
    if write and given.source is None:
        raise UsageError("this board has no file to write to; give the board's file, or leave out write")
    values = combinations(over, trials, seed)
    left_out: list[str] = []
    chosen: list[BoardRow] = []
    notes: list[tuple[str, ...]] = []
    for row in rows_asked(given, asked):
        said = why_not(given, row, over)
        if said and asked is not None:
            raise UsageError(said)
        if said:
            left_out.append(said)
            continue
        if write and row.place < 0:
            raise UsageError(f"{row.name!r} is no row of {given.called}: add it there first, or leave out --write")
        chosen.append(row)
        notes.append(notes_of(row))
    if not chosen:
        raise UsageError(f"no row of {given.called} can be tuned over {', '.join(over)}: {'; '.join(left_out)}")
    names = [{f"{row.name}, {_said(one)}": one for one in values} for row in chosen]
    entries = [
        {row.algorithm: RowSpec.model_construct(name=name, label=None, options=laid_over(given, row, own), tuned=None)}
        for row, own_trials in zip(chosen, names, strict=True) for name, own in own_trials.items()
    ]  # fmt: skip
    base = {axis: values[:1] for axis, values in given.axes.items() if axis != SEED}
    made = given.model_copy(
        update={"algorithms": entries, "seeds": [seed], "axes": base, "reference": None, "questions": None}
    )
    made._source, made._lines = None, {}
    planned = inspect(made, Path(data), RecordStore(Path(results)))
    lacking = next((entry.reason for entry in planned if entry.status == "no data"), None)
    if lacking is not None:
        raise InputError(lacking)
    todo = [e for e in planned if e.record is None or not trained(e.record)]
    return TrialRuns(
        made, tuple(chosen), tuple(names), tuple(planned), tuple(todo), jobs or sweeping.default_jobs(todo),
        tuple(left_out), tuple(notes),
    )  # fmt: skip


def run_trials(
    planned: TrialRuns, over: Grid, *, board: AnyBoard, data: str | Path, results: str | Path, write: bool = False,
    watch: Watch, device: str = "cpu", building: Building | None = None,
) -> Tuning:  # fmt: skip
    """Run what of the trials is not done, and choose.

    Raises:
        UsageError, InputError, RunFailed: as :func:`tune`.
    """
    for name in devices_of(device):
        check_device(name)
    store = RecordStore(Path(results))
    build_stand_ins([entry.spec for entry in planned.chosen], building)
    with watch(planned) as listener:
        waiting = {entry.key for entry in planned.chosen}
        for entry in planned.entries:
            if entry.key not in waiting and entry.record is not None:
                listener(RunEnded(entry.key, "cached", entry.record.cost.seconds))
        sweeping.sweep(
            planned.chosen, Path(data), store, jobs=planned.jobs, listener=listener, device=device, test=False
        )  # fmt: skip
    after = inspect(planned.board, Path(data), store)
    metrics = watched_metrics(planned.board)
    rows = tuple(
        _judged(row, names, after, metrics, notes)
        for row, names, notes in zip(planned.rows, planned.names, planned.notes, strict=True)
    )
    _forget_the_others(rows, after, store)
    given = board_of(board)
    found = Tuning(given, over, planned.board.seeds[0], rows, planned.left_out, tuple(_other_budgets(given, rows)))
    if not write:
        return found
    lost = next((one for one in rows if one.best is None), None)
    if lost is not None:
        raise RunFailed(f"nothing was written: {_nothing(lost)}")
    return replace(found, written=_written(found))


def _other_budgets(board: Board, rows: Sequence[TunedRow]) -> list[str]:
    """That other rows of the board were tuned with other numbers of trials."""
    now = {one.row.name for one in rows}
    n = len(rows[0].trials)
    others = [r for r in board.rows if r.tuned is not None and r.name not in now and r.tuned.trials != n]
    said = ", ".join(f"{row.name} among {row.tuned.trials}" for row in others if row.tuned is not None)
    return [f"budgets differ on this board: {said}, these among {n}"] if others else []


def check(found: Tuning) -> None:
    """Raise if nothing could be chosen for some row.

    Raises:
        RunFailed: names the row and why its first trial does not count.
    """
    for one in found.rows:
        if one.best is None:
            raise RunFailed(_nothing(one))


def _nothing(one: TunedRow) -> str:
    first = one.trials[0]
    return f"no trial of {one.row.name} ended with a number on valid, first {_said(first.values)}: {first.reason}"


def watched_metrics(board: Board) -> dict[str, MetricSpec]:
    """Task -> the metric by which it is watched on `valid`."""
    from fedmeki_bench.evaluation.scoring import watched

    tasks = {name: registry.load("tasks", name)() for name in board.tasks}
    known = registry.working("metrics")
    return {name: watched(task, known) for name, task in tasks.items()}


def _said(values: Mapping[str, Scalar]) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items())


def _judged(
    row: BoardRow, names: Mapping[str, Mapping[str, Scalar]], after: Sequence[Planned],
    metrics: Mapping[str, MetricSpec], notes: Sequence[str],
) -> TunedRow:  # fmt: skip
    trials = []
    for name, values in names.items():
        runs = {
            entry.key: (cell.partition, entry.record, entry.reason)
            for entry in after for cell in entry.cells if cell.algorithm.name == name
        }  # fmt: skip
        trials.append(trial_of(values, runs))
    found, measure = scored(trials, metrics)
    check_numbers(found, row.name)
    best = best_of(found)
    said = [*notes, *(edges(best, found) if best is not None else ())]
    lost = sum(trial.status != "ok" for trial in found)
    said += [f"{lost} of {len(found)} trials diverged or failed"] * bool(lost)
    return TunedRow(row, tuple(found), best, measure, tuple(said))


def _forget_the_others(rows: Sequence[TunedRow], after: Sequence[Planned], store: RecordStore) -> None:
    """Remove the checkpoints of trials that were not chosen: their histories, which decided, stay in the records."""
    kept = {key for one in rows if one.best is not None for key in one.best.keys}
    for entry in after:
        if entry.key not in kept and entry.record is not None and trained(entry.record):
            with store.lock(entry.key):
                shutil.rmtree(store.folder(entry.key) / CHECKPOINT, ignore_errors=True)


def _written(found: Tuning) -> Path:
    """Write the chosen values into the board's file, as it is by now."""
    assert found.board.source is not None
    path = found.board.source.resolve()
    now = load_board(path)
    changes = []
    for one in found.rows:
        assert one.best is not None
        place = next((r.place for r in now.rows if (r.name, r.options) == (one.row.name, one.row.options)), None)
        if place is None:
            raise InputError(f"{path}: the row {one.row.name!r} was changed meanwhile; nothing was written")
        keys = {key: as_written(now, one.row, key) for key in found.over}
        tuned = TunedSpec(over={keys[k]: list(v) for k, v in found.over.items()}, trials=len(one.trials),
                          split="valid", seed=found.seed)  # fmt: skip
        changes.append(Change(place, {keys[k]: value for k, value in one.best.values.items()}, tuned))
    made = with_changes(path.read_bytes().decode("utf-8"), changes, where=str(path))
    board_from(safe_yaml(made))
    try:
        write_atomically(path, made.encode("utf-8"))
    except OSError as error:
        raise InputError(f"{path} can't be written: {error.strerror or error}") from error
    return found.board.source
