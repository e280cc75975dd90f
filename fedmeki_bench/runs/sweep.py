"""Run what a board lacks, in as many processes as asked for; the numbers do not depend on how many."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from fedmeki_bench.errors import FedmekiError
from fedmeki_bench.events import Event, Listener, RunEnded
from fedmeki_bench.memory import resident
from fedmeki_bench.processes import end_with_parent, interrupt_once, keep_pages, worker_context
from fedmeki_bench.records.lease import KeyLocked
from fedmeki_bench.records.store import RecordStore
from fedmeki_bench.runs.engines import devices_of
from fedmeki_bench.runs.launchers import Orders
from fedmeki_bench.runs.plan import Planned
from fedmeki_bench.runs.spec import RunSpec
from fedmeki_bench.runs.waiting import Waiting

_PATIENCE = 20.0  # seconds that an interrupted run has to write its record
_LOOK = 5.0  # seconds after which a sweep that waits for memory looks again


def choose(entries: Sequence[Planned], only: str | None) -> list[Planned]:
    """Which training runs to run: all that are not done, the never-run, the failed, or those of one row."""
    runnable = [e for e in entries if e.status != "no data"]
    if only == "missing":
        return [e for e in runnable if e.status in ("missing", "interrupted")]
    if only == "failed":
        return [e for e in runnable if e.status == "failed"]
    if only is not None:
        return [e for e in runnable if e.status != "ok" and only in {a.name for a in e.algorithms}]
    return [e for e in runnable if e.status != "ok"]


def default_jobs(entries: Sequence[Planned], device: str = "cpu") -> int:
    """One process for each of several devices; else as many as fill the cores with the profile's threads per run."""
    if len(devices := devices_of(device)) > 1:
        return len(devices)
    threads = max((e.spec.resolved_profile().threads or os.cpu_count() or 1 for e in entries), default=1)
    return max(1, (os.cpu_count() or 1) // threads)


class _Worker:
    """A process that runs one training after another on one device, and a pipe to it."""

    def __init__(self, context: Any, data: Path, results: Path, device: str, test: bool) -> None:
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, data, results, device, test), daemon=True)
        self.process.start()
        theirs.close()  # so that the process's death is the end of the pipe
        self.entry: Planned | None = None

    def begin(self, entry: Planned) -> None:
        self.entry = entry
        with contextlib.suppress(OSError):  # it has just been killed, which its pipe will say
            self.connection.send(entry.spec)

    def end(self) -> None:
        """Let it leave; one that does not within its time is killed."""
        self.connection.close()
        self.process.join(timeout=_PATIENCE)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def sweep(
    entries: Sequence[Planned], data: Path, store: RecordStore, *, jobs: int, listener: Listener, device: str = "cpu",
    test: bool = True, done: Sequence[Planned] = (),
) -> None:  # fmt: skip
    """Execute the training runs; failures become records and do not stop the others, nor does a process that is killed.

    A run whose process was killed is tried once more, from its checkpoint. The longest run comes first, and none is
    begun that would not find the memory that runs like it took.

    Args:
        device: where models live; of several, comma-separated, the processes take one each in turn.
        test: whether test splits are opened, see :func:`~fedmeki_bench.runs.execute.execute`.
        done: other runs of the board, by whose records time and memory are judged.

    Raises:
        KeyboardInterrupt: after the runs under way were told to stop; their checkpoints stay.
    """
    context = worker_context()
    devices = devices_of(device)
    waiting, workers = Waiting(entries, done, data), dict[int, _Worker]()
    try:
        while waiting or _busy(workers):
            for slot in range(jobs):
                worker = workers.get(slot)
                if worker is not None and worker.entry is not None:
                    continue
                held = resident(worker.process.pid) if worker else 0
                entry = waiting.next(((e, resident(w.process.pid)) for w, e in _busy(workers)), held)
                if entry is None:
                    break
                if worker is None:
                    worker = workers[slot] = _Worker(context, data, store.root, devices[slot % len(devices)], test)
                worker.begin(entry)
            ready = wait([worker.connection for worker, _ in _busy(workers)], _LOOK if waiting else None)
            for slot, worker in [(s, w) for s, w in workers.items() if w.connection in ready]:
                entry = worker.entry
                if not _heard(worker, listener):
                    del workers[slot]
                    _died(worker, data, store, listener, waiting)
                elif entry is not None and worker.entry is None:
                    waiting.learn(entry, store)
    except KeyboardInterrupt:
        _interrupt(list(workers.values()), listener)
        raise
    finally:
        for worker in workers.values():
            worker.end()


def local(entries: Sequence[Planned], data: Path, store: RecordStore, orders: Orders, listener: Listener) -> None:
    """The launcher ``local``: :func:`sweep` as ordered."""
    sweep(entries, data, store, jobs=orders.jobs, listener=listener, device=orders.device, done=orders.done)


def _busy(workers: Mapping[int, _Worker]) -> list[tuple[_Worker, Planned]]:
    return [(worker, worker.entry) for worker in workers.values() if worker.entry is not None]


def _heard(worker: _Worker, listener: Listener) -> bool:
    """Take one message; False if the process is gone."""
    try:
        message = worker.connection.recv()
    except (EOFError, OSError):
        return False
    if message is None:
        worker.entry = None
    else:
        listener(message)
    return True


def _died(worker: _Worker, data: Path, store: RecordStore, listener: Listener, waiting: Waiting) -> None:
    """A process that was killed could leave no record: its run is tried again, then becomes a failed row."""
    from fedmeki_bench.runs.execute import main_scores, record_death

    worker.connection.close()
    worker.process.join()
    entry, code = worker.entry, worker.process.exitcode or 0
    assert entry is not None
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    if code == -signal.SIGKILL and waiting.again(entry):
        said = f"its process was killed ({how}; out of memory?); it is tried once more, from its checkpoint"
        listener(RunEnded(entry.key, "interrupted", message=said))
        return
    message = f"its process was killed ({how}; out of memory?); run sweep again, with fewer --jobs if memory is short"
    try:
        record = record_death(entry.spec, data, store, message)
    except KeyLocked as error:  # another sweep has gone on with it
        listener(RunEnded(entry.key, "failed", message=str(error)))
        return
    said = record.error.message if record.error else ""
    listener(RunEnded(entry.key, record.status, record.cost.seconds, main_scores(record), said))


def _interrupt(workers: Sequence[_Worker], listener: Listener) -> None:
    """Have the runs under way write that they were interrupted, and wait for it."""
    for worker in workers:
        if worker.entry is not None and worker.process.pid is not None and worker.process.is_alive():
            os.kill(worker.process.pid, signal.SIGINT)
    for worker in workers:
        while worker.entry is not None and worker.connection.poll(_PATIENCE):
            if not _heard(worker, listener):
                break


def _serve(connection: Connection, data: Path, results: Path, device: str, test: bool) -> None:
    """What a worker does: a specification in, events out, then None; until the pipe ends."""
    end_with_parent()
    interrupt_once()
    keep_pages()

    def tell(event: Event) -> None:
        connection.send(event)

    while True:
        try:
            spec = connection.recv()
        except (EOFError, OSError, KeyboardInterrupt):
            return
        stopped = _work(spec, data, results, device, test, tell)
        try:
            connection.send(None)
        except OSError:  # the command is gone
            return
        if stopped:
            return


def _work(spec: RunSpec, data: Path, results: Path, device: str, test: bool, tell: Callable[[Event], None]) -> bool:
    """Execute one training; True if it was interrupted."""
    from fedmeki_bench.runs.execute import execute, key_of, open_cohorts

    try:
        execute(spec, data, RecordStore(results), device=device, listener=tell, test=test)
    except KeyboardInterrupt:
        return True
    except FedmekiError as error:  # it was locked, or its data vanished
        try:
            key = key_of(spec, open_cohorts(spec, data))
        except FedmekiError:
            key = ""
        tell(RunEnded(key, "failed", message=str(error)))
    return False
