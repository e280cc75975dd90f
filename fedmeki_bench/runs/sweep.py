"""Run what a board lacks, in as many processes as asked for; the numbers do not depend on how many."""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from fedmeki_bench.errors import FedmekiError
from fedmeki_bench.events import Event, Listener, RunEnded
from fedmeki_bench.processes import end_with_parent, interrupt_once, keep_pages, worker_context
from fedmeki_bench.records.store import RecordStore
from fedmeki_bench.runs.plan import Planned
from fedmeki_bench.runs.spec import RunSpec

_PATIENCE = 20.0  # seconds that an interrupted run has to write its record


def choose(entries: Sequence[Planned], only: str | None) -> list[Planned]:
    """Which training runs to run: all that are not done, the never-run, the failed, or those of one row."""
    runnable = [e for e in entries if e.status != "no data"]
    if only == "missing":
        return [e for e in runnable if e.status in ("missing", "interrupted")]
    if only == "failed":
        return [e for e in runnable if e.status == "failed"]
    if only is not None:
        return [e for e in runnable if e.status != "ok" and only in {c.algorithm.name for c in e.cells}]
    return [e for e in runnable if e.status != "ok"]


def default_jobs(entries: Sequence[Planned]) -> int:
    """As many processes as fill the cores with the profile's threads per run."""
    threads = max((e.spec.resolved_profile().threads or os.cpu_count() or 1 for e in entries), default=1)
    return max(1, (os.cpu_count() or 1) // threads)


class _Worker:
    """A process that runs one training after another, and a pipe to it."""

    def __init__(self, context: Any, data: Path, results: Path, device: str, test: bool) -> None:
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, data, results, device, test), daemon=True)
        self.process.start()
        theirs.close()  # so that the process's death is the end of the pipe
        self.entry: Planned | None = None

    def begin(self, entry: Planned) -> None:
        self.entry = entry
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
    test: bool = True,
) -> None:  # fmt: skip
    """Execute the training runs; failures become records and do not stop the others, nor does a process that is killed.

    Args:
        test: whether test splits are opened, see :func:`~fedmeki_bench.runs.execute.execute`.

    Raises:
        KeyboardInterrupt: after the runs under way were told to stop; their checkpoints stay.
    """
    context = worker_context()
    waiting, workers = deque(entries), list[_Worker]()
    try:
        while waiting or any(worker.entry for worker in workers):
            while waiting and len(workers) < jobs:
                workers.append(_Worker(context, data, store.root, device, test))
            for worker in workers:
                if waiting and worker.entry is None:
                    worker.begin(waiting.popleft())
            ready = wait([worker.connection for worker in workers if worker.entry])
            for worker in [w for w in workers if w.connection in ready]:
                if not _heard(worker, listener):
                    workers.remove(worker)
                    _died(worker, data, store, listener)
    except KeyboardInterrupt:
        _interrupt(workers, listener)
        raise
    finally:
        for worker in workers:
            worker.end()


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


def _died(worker: _Worker, data: Path, store: RecordStore, listener: Listener) -> None:
    """A process that was killed could leave no record: it becomes a failed row like any other."""
    from fedmeki_bench.runs.execute import record_death

    worker.process.join()
    code = worker.process.exitcode or 0
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    assert worker.entry is not None
    message = f"its process was killed ({how}; out of memory?); run sweep again, with fewer --jobs if memory is short"
    record_death(worker.entry.spec, data, store, message)
    listener(RunEnded(worker.entry.key, "failed", message=message))
    worker.connection.close()


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
