"""Run what a board lacks, in as many processes as asked for; the numbers do not depend on how many."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from fedmeki_bench.errors import FedmekiError, RunFailed
from fedmeki_bench.events import Event, Listener, RoundEnded, RunEnded
from fedmeki_bench.processes import end_with_parent
from fedmeki_bench.results.store import RecordStore
from fedmeki_bench.runs.plan import Planned
from fedmeki_bench.runs.spec import RunSpec

_events: Any = None  # in a worker: the queue to the command that started it
_stop: Any = None  # in a worker: set once the user asked to stop


def choose(entries: Sequence[Planned], only: str | None) -> list[Planned]:
    """Which trainings to run: all that are not done, the never-run, the failed, or those of one algorithm."""
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
    threads = max((e.spec.settings().threads or os.cpu_count() or 1 for e in entries), default=1)
    return max(1, (os.cpu_count() or 1) // threads)


def sweep(
    entries: Sequence[Planned], data: Path, store: RecordStore, *, jobs: int, listener: Listener, device: str = "cpu"
) -> None:
    """Execute the trainings; failures become records and do not stop the others.

    Raises:
        KeyboardInterrupt: after the runs under way were told to stop; their checkpoints stay.
    """
    if not entries:
        return
    context = multiprocessing.get_context("spawn")  # a forked torch is not safe
    with context.Manager() as manager:
        events = manager.Queue()
        reader = threading.Thread(target=_forward, args=(events, listener), daemon=True)
        reader.start()
        stop = context.Event()
        pool = ProcessPoolExecutor(min(jobs, len(entries)), context, _start, (events, stop))
        try:
            pending = {pool.submit(_work, e.spec, data, store.root, device): e for e in entries}
            for done in as_completed(pending):
                _account(done, pending[done], events)
        except KeyboardInterrupt:
            stop.set()  # workers took the next run from the queue already, and may not have got the signal
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            events.put(None)
            reader.join(timeout=10)


def _start(events: Any, stop: Any) -> None:
    global _events, _stop
    _events, _stop = events, stop
    end_with_parent()


def _tell(event: Event) -> None:
    _events.put(event)
    if _stop.is_set() and isinstance(event, RoundEnded):
        raise KeyboardInterrupt


def _work(spec: RunSpec, data: Path, results: Path, device: str) -> str:
    from fedmeki_bench.runs.execute import execute

    if _stop.is_set():
        return "interrupted"
    try:
        return execute(spec, data, RecordStore(results), device=device, listener=_tell).status
    except KeyboardInterrupt:
        _stop.set()
        return "interrupted"


def _account(done: Future[str], entry: Planned, events: Any) -> None:
    """What a run could not tell itself: it was locked, its data vanished, or its process was killed."""
    try:
        done.result()
    except BrokenProcessPool:
        raise RunFailed(
            "a worker process was killed (out of memory?); run sweep again with fewer --jobs, finished runs are kept"
        ) from None
    except FedmekiError as error:
        events.put(RunEnded(entry.key, "failed", message=str(error)))


def _forward(events: Any, listener: Listener) -> None:
    while (event := events.get()) is not None:
        listener(event)
