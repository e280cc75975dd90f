"""A sweep as jobs of a cluster, one per run, submitted as one Slurm array through submitit.

A job executes its run as any process would: the record is what it leaves, and whoever waits reads that. So a job needs
nobody who waits for it, and nobody who waits needs it to be their own.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedmeki_bench.errors import InputError, Interrupted, UsageError
from fedmeki_bench.events import Listener, RunEnded, RunStarted
from fedmeki_bench.records.lease import KeyLocked
from fedmeki_bench.records.record import Record
from fedmeki_bench.records.store import RecordStore
from fedmeki_bench.runs.cell import Cell
from fedmeki_bench.runs.expected import longest_first
from fedmeki_bench.runs.launchers import Orders
from fedmeki_bench.runs.plan import Planned
from fedmeki_bench.runs.slurm import checked_parameters, the_submitit
from fedmeki_bench.runs.submitted import JOBS, Job, remember, states, submitted

_LOOK, _ASK = 2.0, 20.0  # seconds between two looks at the records, and between two questions to the cluster
_TIMES = 50  # how often a job may reach its time limit and be queued again


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where jobs go.

    Attributes:
        launcher: its name among the launchers.
        executor: its class in submitit.
        queue: whether it holds back jobs that may not run yet; without, this process does.
        cancel: the command that ends jobs, to be followed by them.
        ends: signals by which a job ends its run in order; Slurm has its own, see :class:`~.cell.Cell`.
        parameters: what a job asks for, as the executor wants it.
    """

    launcher: str
    executor: str
    queue: bool
    cancel: str
    ends: tuple[str, ...]
    parameters: Callable[[Mapping[str, Any], Orders], dict[str, Any]]


def slurm(entries: Sequence[Planned], data: Path, store: RecordStore, orders: Orders, listener: Listener) -> None:
    """Submit runs to Slurm as one array, and wait for their records if that was ordered.

    Raises:
        UsageError: no submitit, no Slurm, or a parameter that there isn't.
        Interrupted: by the user while waiting; the jobs run on.
    """
    _launch(SLURM, entries, data, store, orders, listener)


def slurm_here(entries: Sequence[Planned], data: Path, store: RecordStore, orders: Orders, listener: Listener) -> None:
    """What :func:`slurm` does, by processes of this machine that go on by themselves."""
    _launch(HERE, entries, data, store, orders, listener)


def _launch(
    cluster: Cluster, entries: Sequence[Planned], data: Path, store: RecordStore, orders: Orders, listener: Listener
) -> None:
    folder = store.root.resolve() / JOBS
    asked = checked_parameters(orders.slurm)
    executor = _executor(cluster, folder, asked, orders)
    known = {key: job for key, job in submitted(store.root).items() if not job.ended}
    alive = states(known.values()) or {}
    jobs = {e.key: known[e.key] for e in entries if e.key in known and known[e.key].id in alive}
    new = longest_first([entry for entry in entries if entry.key not in jobs], orders.done, data)
    at_once = len(new) if cluster.queue else orders.array or os.cpu_count() or 1
    if len(new) > at_once and not orders.wait:
        raise UsageError(f"--launcher {cluster.launcher} has no queue: wait, or give --array {len(new)}")
    if jobs:
        orders.told(f"{len(jobs)} of the runs are submitted already and are not submitted again")
    watched = _Watched(cluster, entries, data, store, listener)
    try:
        while True:
            if batch := new[: max(0, at_once - len(jobs)) if not cluster.queue else None]:
                new = new[len(batch) :]
                made = _submit(cluster, executor, batch, data, store, orders)
                jobs |= made
                orders.told(_said(cluster, made, folder))
            if not orders.wait or not (jobs or new):
                return
            time.sleep(_LOOK)
            jobs = watched.left(jobs)
    except KeyboardInterrupt:
        if not jobs:
            raise
        arrays = " ".join(dict.fromkeys(_whole(job) for job in jobs.values()))
        error = Interrupted(
            f"no longer waiting; the {len(jobs)} jobs run on: see them with `fedmeki-bench status`, "
            f"end them with `{cluster.cancel} {arrays}`"
        )
        error.goes_on = True  # by waiting again
        raise error from None


def _of_slurm(asked: Mapping[str, Any], orders: Orders) -> dict[str, Any]:
    named = {"job_name": f"fedmeki-{orders.board}", **asked}
    return named | ({"array_parallelism": orders.array} if orders.array else {})


def _of_here(asked: Mapping[str, Any], orders: Orders) -> dict[str, Any]:
    heeded = {name: asked[name] for name in ("gpus_per_node", "signal_delay_s", "setup") if name in asked}
    return {"timeout_min": asked.get("time", 60 * 24 * 365), **heeded}


SLURM = Cluster("slurm", "SlurmExecutor", True, "scancel", (), _of_slurm)
HERE = Cluster("slurm-here", "LocalExecutor", False, "kill", ("SIGTERM",), _of_here)


def _executor(cluster: Cluster, folder: Path, asked: Mapping[str, Any], orders: Orders) -> Any:
    try:
        executor = getattr(the_submitit(), cluster.executor)(folder=folder, max_num_timeout=_TIMES)
        executor.update_parameters(**cluster.parameters(asked, orders))
    except RuntimeError as error:
        raise UsageError(f"no Slurm here ({error}); submit where `sbatch` is, or try --launcher slurm-here") from error
    except (ValueError, TypeError) as error:
        raise UsageError(f"--slurm: {str(error).splitlines()[0]}") from error
    return executor


def _submit(
    cluster: Cluster, executor: Any, entries: Sequence[Planned], data: Path, store: RecordStore, orders: Orders
) -> dict[str, Job]:
    cells = [Cell(e.spec, data.resolve(), store.root.resolve(), orders.device, cluster.ends) for e in entries]
    try:
        with _deaf(), executor.batch():
            made = [executor.submit(cell) for cell in cells]
    except Exception as error:  # submitit's own, and those of a missing or refusing sbatch
        raise UsageError(f"the jobs could not be submitted: {error}") from error
    folder = store.root.resolve() / JOBS
    jobs = {e.key: Job(cluster.launcher, job.job_id, folder) for e, job in zip(entries, made, strict=True)}
    remember(store.root, jobs)
    return jobs


@contextmanager
def _deaf() -> Iterator[None]:
    """Start processes that heed no Ctrl-C of this terminal."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heeded = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, heeded)


def _said(cluster: Cluster, jobs: Mapping[str, Job], folder: Path) -> str:
    arrays = list(dict.fromkeys(_whole(job) for job in jobs.values()))
    several = f"job {arrays[0]}" if len(arrays) == 1 else f"{len(arrays)} jobs, the first {arrays[0]}"
    runs = f"{len(jobs)} run{'s' * (len(jobs) != 1)}"
    return f"submitted {runs} as {several}; output in {folder}; to end them: {cluster.cancel} {' '.join(arrays)}"


def _whole(job: Job) -> str:
    """The array that a job is one of."""
    return job.id.split("_")[0]


class _Watched:
    """Jobs that are waited for, by the records that they leave."""

    def __init__(
        self, cluster: Cluster, entries: Sequence[Planned], data: Path, store: RecordStore, listener: Listener
    ) -> None:
        self._cluster, self._data, self._store, self._listener = cluster, data, store, listener
        self._entries = {entry.key: entry for entry in entries}
        self._before = {key: self._stamp(key) for key in self._entries}
        self._begun: set[str] = set()
        self._gone: set[str] = set()
        self._asked = time.monotonic()

    def left(self, jobs: Mapping[str, Job]) -> dict[str, Job]:
        """Those of the jobs that have not ended; the listener hears of the others, and of those that have begun."""
        ended = {key for key, job in jobs.items() if job.ended}  # before records are read: these come first
        lost = self._lost({key: job for key, job in jobs.items() if key not in ended})
        for key, job in jobs.items():
            if key in ended or key in lost:
                self._end(self._entries[key], job)
            elif key not in self._begun and self._store.holder(key):
                self._begun.add(key)
                self._listener(RunStarted(key, self._entries[key].spec.resolved_profile().rounds))
        return {key: job for key, job in jobs.items() if key not in ended and key not in lost}

    def _lost(self, jobs: Mapping[str, Job]) -> set[str]:
        """Jobs that are gone without a word; those that the cluster did not name when it was asked twice."""
        if time.monotonic() - self._asked < _ASK:
            return set()
        self._asked = time.monotonic()
        alive = states(jobs.values())
        if alive is None:
            return set()
        gone = {key for key, job in jobs.items() if job.id not in alive and not job.ended}
        twice, self._gone = gone & self._gone, gone
        return twice

    def _end(self, entry: Planned, job: Job) -> None:
        from fedmeki_bench.runs.execute import main_scores, record_death

        record = self._record(entry.key)
        if record is None or (record.status != "ok" and self._stamp(entry.key) == self._before[entry.key]):
            message = (
                f"its job {job.id} ended without a record (killed, out of time or memory?): see {JOBS}/{job.output}"
            )
            try:
                record = record_death(entry.spec, self._data, self._store, message)
            except KeyLocked as error:
                self._listener(RunEnded(entry.key, "failed", message=str(error)))
                return
        said = record.error.message if record.error else ""
        self._listener(RunEnded(entry.key, record.status, record.cost.seconds, main_scores(record), said))

    def _record(self, key: str) -> Record | None:
        try:
            return self._store.load(key)
        except InputError:
            return None

    def _stamp(self, key: str) -> int:
        try:
            return self._store.path(key).stat().st_mtime_ns
        except OSError:
            return 0
