"""A run as a job of a cluster: picklable, and as often begun as it must be."""

from __future__ import annotations

import importlib
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedmeki_bench.processes import keep_pages
from fedmeki_bench.records.lease import KeyLocked
from fedmeki_bench.records.record import Record
from fedmeki_bench.records.store import RecordStore
from fedmeki_bench.runs.slurm import the_submitit
from fedmeki_bench.runs.spec import RunSpec


@dataclass(frozen=True, slots=True)
class Cell:
    """A run as a job: what a batch job calls, in a process of its own.

    Shortly before its time is up, or where a job with more rights takes its place, Slurm sends it a signal. The run
    then says in its record that it was interrupted, and submitit puts the job back into the queue, where it goes on
    from its checkpoint.

    Attributes:
        ends: signals by which it ends its run in order, beside that one.
    """

    spec: RunSpec
    data: Path
    results: Path
    device: str
    ends: tuple[str, ...] = ()

    def __call__(self) -> str:
        """Execute the run; returns how it ended."""
        keep_pages()
        told: list[int] = []

        def interrupt(number: int, frame: Any) -> None:
            signal.signal(number, signal.SIG_IGN)
            told.append(number)
            raise KeyboardInterrupt

        requeue = {number: signal.signal(number, interrupt) for number in _signals(*self.ends, _requeue_signal())}
        try:
            return self._patiently().status
        except KeyboardInterrupt:
            back = requeue.get(signal.Signals(told[0])) if told else None
            if callable(back):
                back(told[0], None)  # leaves, unless the job had its turns
            raise

    def checkpoint(self) -> Any:
        """What submitit queues again: the same run, which goes on from its own checkpoint."""
        return the_submitit().helpers.DelayedSubmission(self)

    def _patiently(self) -> Record:
        """Execute; a lease that a job of a node which died left is waited for until it has run out."""
        from fedmeki_bench.runs.execute import execute

        store = RecordStore(self.results)
        deadline = time.monotonic() + 1.5 * store.pace.patience
        while True:
            try:
                return execute(self.spec, self.data, store, device=self.device)
            except KeyLocked:
                if time.monotonic() > deadline:
                    raise
                time.sleep(store.pace.beat)


def _requeue_signal() -> str:
    return f"SIG{importlib.import_module('submitit.core.job_environment').JobEnvironment.USR_SIG}"


def _signals(*names: str) -> list[signal.Signals]:
    return [getattr(signal, name) for name in names if hasattr(signal, name)]
