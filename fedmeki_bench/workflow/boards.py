"""A board's training runs: what is there, what is lacking, and running the latter."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from fedmeki_bench.boards.board import Board
from fedmeki_bench.boards.loading import board_from, find_board
from fedmeki_bench.boards.rows import RESERVED
from fedmeki_bench.definitions.places import look_in
from fedmeki_bench.errors import InputError, Unfinished, UsageError, nearest
from fedmeki_bench.events import Listener, RunEnded, silent
from fedmeki_bench.processes import worker_context
from fedmeki_bench.records.store import RecordStore
from fedmeki_bench.runs import sweep as sweeping
from fedmeki_bench.runs.engines import devices_of
from fedmeki_bench.runs.execute import main_scores, up_to_date
from fedmeki_bench.runs.expected import Work, work
from fedmeki_bench.runs.failures import pointer
from fedmeki_bench.runs.launchers import Orders, check_orders, launcher_named, sees_devices
from fedmeki_bench.runs.plan import Planned, inspect
from fedmeki_bench.runs.rows import resolve_rows
from fedmeki_bench.workflow.data import prepare
from fedmeki_bench.workflow.preparing import Preparing, prepare_lacking
from fedmeki_bench.workflow.reading import Records
from fedmeki_bench.workflow.training import Building, build_stand_ins, check_device

MANY = 200
"""Runs of a board with axes above which a sweep asks."""

AnyBoard: TypeAlias = Board | str | Path | Mapping[str, Any]
"""A board itself, its name, its file, or a mapping of what its file would hold."""


def board_of(board: AnyBoard) -> Board:
    """A board by itself, its name, its file or its keys.

    Raises:
        UsageError: no such board; names the nearest.
        InputError: its file is bad, or its keys are.
    """
    if isinstance(board, Board):
        return board
    return board_from(board) if isinstance(board, Mapping) else find_board(board)


def no_record(board: Board, results: Path) -> InputError:
    """The error of a board that is to be shown before anything of it was run."""
    command = shlex.join(["fedmeki-bench", "sweep", board.called, "--results", str(results)])
    return InputError(f"no record in {results}; run `{command}` first")


@dataclass(frozen=True, slots=True)
class Sweep:
    """A board's training runs before they are run.

    Attributes:
        entries: all of them, with their state.
        chosen: those to be run.
        jobs: in so many processes.
        left_out: why training runs can't be run, in sentences.
    """

    board: Board
    data: Path
    results: Path
    entries: tuple[Planned, ...]
    chosen: tuple[Planned, ...]
    jobs: int
    left_out: tuple[str, ...]

    @property
    def work(self) -> Work:
        """What is left to do, and what it will cost."""
        return work(self.entries)


Watch = Callable[[Sweep], AbstractContextManager[Listener]]
"""Gives a sweep the listener that follows it."""


def sweep(
    board: AnyBoard, data: str | Path = "data", *, results: str | Path = "results", jobs: int | None = None,
    only: str | None = None, device: str = "cpu", check: bool = True, listener: Listener = silent,
    launcher: str = "local", array: int | None = None, slurm: Mapping[str, str] | None = None, wait: bool = True,
    raw: str | Path | None = None, yes: bool = False,
) -> Records:  # fmt: skip
    """Run what a board lacks; killed at any moment, a second call goes on.

    Worker processes are started afresh, so a script must call this under ``if __name__ == "__main__":``.

    Args:
        board: its name, its file, the board itself, or a mapping of what its file would hold.
        data: the folder of prepared cohorts.
        results: the folder of records.
        jobs: processes; by default as many as fill the cores, or one for each of several devices. The numbers do not
            depend on it.
        only: ``missing``, ``failed``, or what one of the board's rows is called.
        device: where models live: ``cpu``, ``cuda``, ``cuda:1``; of several (``cuda:0,cuda:1``), processes take one
            each in turn.
        check: raise if a run failed or is not done; without it the records say so.
        listener: takes the events of all runs.
        launcher: ``local``, processes of this machine; ``slurm``, jobs of a cluster; ``slurm-here``, the same without
            one, to try it.
        array: of a cluster's jobs, so many at once at most.
        slurm: what a job asks of Slurm, by its names: ``{"partition": "gpu", "time": "4:00:00"}``.
        wait: of a cluster's jobs, until all have ended; without it they are submitted and nothing is checked.
        raw: the folder of releases, each under its name; given, data that the board lacks are prepared first.
        yes: begin, however many runs the axes of a board make.

    Returns:
        The records of the board's runs, in its order; ``notes`` says what was left out for want of data, and which jobs
        were submitted.

    Raises:
        UsageError: no such board or device, ``only`` is none of the board's, or its axes make more than 200 runs and
            nobody said ``yes``.
        InputError: no cohort at all is there, or the board's file is bad.
        RunFailed: with ``check``, some runs failed or are not done (another sweep is at them); all others are.
        Interrupted: the user ended the waiting for a cluster's jobs, which run on.
    """
    said: list[str] = []
    orders = ordered(launcher, jobs=jobs, device=device, array=array, slurm=slurm, wait=wait, told=said.append)
    done = run_sweep(
        planned(board, data, results, jobs=jobs, only=only, device=device, raw=raw, yes=yes), check=check,
        watch=lambda sweep: nullcontext(listener), launcher=launcher, orders=orders,
    )  # fmt: skip
    return replace(done, notes=(*done.notes, *said))


def ordered(
    launcher: str, *, jobs: int | None = None, device: str = "cpu", array: int | None = None,
    slurm: Mapping[str, str] | None = None, wait: bool = True, told: Callable[[str], None],
) -> Orders:  # fmt: skip
    """How a sweep's runs are to be carried out, as :func:`sweep` takes it.

    Args:
        told: takes what is to be said of jobs, in sentences.

    Raises:
        UsageError: no such launcher or device, or an order that the launcher does not heed.
    """
    given = {"jobs": jobs is not None, "array": array is not None, "slurm": bool(slurm), "wait": not wait}
    check_orders(launcher, [name for name, said in given.items() if said], slurm or {})
    devices = devices_of(device)
    if sees_devices(launcher):
        worker_context()  # imports while the board is planned
        for name in devices:
            check_device(name)
    elif len(devices) > 1:
        raise UsageError(f"a job has one device, not {device}: its cluster decides which, say --device cuda")
    return Orders(device=device, array=array, slurm=dict(slurm or {}), wait=wait, told=told)


def planned(
    board: AnyBoard, data: str | Path, results: str | Path, *, jobs: int | None = None,
    only: str | None = None, device: str = "cpu", raw: str | Path | None = None, yes: bool = False,
    preparing: Preparing = prepare,
) -> Sweep:  # fmt: skip
    """What :func:`sweep` would run; with ``raw``, after data that the board lacks were prepared.

    Args:
        preparing: prepares a dataset.

    Raises:
        UsageError, InputError: as :func:`sweep`.
    """
    look_in(data)
    board, data, results = board_of(board), Path(data), Path(results)
    store = RecordStore(results)
    entries = inspect(board, data, store)
    names = [*board.row_names, *RESERVED]
    if only is not None and only not in names:
        raise UsageError(f"--only {only!r} is none of the board's; {nearest(only, names)}")
    called = {row.row.name: row.shown.name for row in resolve_rows(board, load=False)}
    asked = None if only is None else called.get(only, only)
    _check_number(board, entries, asked, prepared=raw is not None, yes=yes)
    if raw is not None and prepare_lacking(board, entries, data, Path(raw), preparing):
        look_in(data)
        entries = inspect(board, data, store)
    lacking = [e for e in entries if e.status == "no data"]
    if len(lacking) == len(entries):
        raise InputError(lacking[0].reason)
    chosen = sweeping.choose(entries, asked)
    left_out = tuple(dict.fromkeys(e.reason for e in lacking))
    jobs = jobs or sweeping.default_jobs(chosen, device)
    return Sweep(board, data, results, tuple(entries), tuple(chosen), jobs, left_out)


def _check_number(
    board: Board, entries: Sequence[Planned], only: str | None, *, prepared: bool, yes: bool
) -> None:  # fmt: skip
    """Refuse to begin very many runs unasked; ``prepared`` says whether those without data will have some."""
    ready = [replace(e, status="missing") if prepared and e.status == "no data" else e for e in entries]
    begun = len(sweeping.choose(ready, only))
    if board.axes and begun > MANY and not yes:
        raise UsageError(f"{board.called} has {work(entries).text}; more than {MANY} are begun with --yes only")


def run_sweep(
    sweep: Sweep, *, watch: Watch, orders: Orders, launcher: str = "local", check: bool = True,
    building: Building | None = None,
) -> Records:  # fmt: skip
    """Run a sweep.

    Raises:
        UsageError, RunFailed, Interrupted: as :func:`sweep`.
    """
    store = RecordStore(sweep.results)
    build_stand_ins([entry.spec for entry in sweep.chosen], building)
    orders = replace(orders, jobs=sweep.jobs, done=sweep.entries, board=sweep.board.name)
    with watch(sweep) as listener:
        for entry in sweep.entries:
            if entry.status == "ok" and entry.record is not None:
                entry.record = record = up_to_date(entry.record, store)
                listener(RunEnded(entry.key, "cached", record.cost.seconds, main_scores(record)))
        for folder in dict.fromkeys(entry.data or sweep.data for entry in sweep.chosen):
            chosen = [entry for entry in sweep.chosen if (entry.data or sweep.data) == folder]
            first = [entry for entry in chosen if entry.serves]
            if first:  # what others start from; one that begins all the same waits for it, or runs it
                launcher_named(launcher)(first, folder, store, orders, listener)
                lost = {entry.spec.setting for entry in first if orders.wait and not _left(entry, store)}
                chosen = [e for e in chosen if e.spec.pretraining is None or e.spec.pretraining.setting not in lost]
            launcher_named(launcher)([entry for entry in chosen if not entry.serves], folder, store, orders, listener)
    after = inspect(sweep.board, sweep.data, store)
    if check and orders.wait:
        _check(sweep, after)
    found = tuple(e.record for e in after if e.record is not None)
    return Records(sweep.results, found, notes=sweep.left_out)


def _left(entry: Planned, store: RecordStore) -> bool:
    """Whether a pre-training left something to start from."""
    try:
        record = store.load(entry.key)
    except InputError:
        return False
    return record is not None and record.status == "ok"


def _check(sweep: Sweep, after: Sequence[Planned]) -> None:
    failed = [e for e in after if e.status == "failed"]
    if failed:
        where = pointer(sweep.results / failed[0].key)
        raise Unfinished(
            f"{len(failed)} of {len(after)} runs failed, first {_named(failed[0])}: {failed[0].reason}{where}"
        )
    asked = {entry.key for entry in sweep.chosen}
    undone = [e for e in after if e.status != "ok" and e.key in asked]
    if undone:
        raise Unfinished(
            f"{len(undone)} of {len(after)} runs are not done, first {_named(undone[0])}: "
            f"{undone[0].reason or undone[0].status}"
        )


def _named(entry: Planned) -> str:
    pretext = entry.spec.params.get("pretext", {}).get("kind")
    what = f"{pretext} for " if pretext else ""
    return f"{what}{entry.algorithms[0].name} on {', '.join(entry.spec.tasks)}"
