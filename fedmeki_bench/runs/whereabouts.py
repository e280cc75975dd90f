"""Where the runs of a board are that are not done: under way, in a cluster's queue, or held by nobody who lives."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from fedmeki_bench.records.lease import Seen
from fedmeki_bench.records.store import RecordStore
from fedmeki_bench.runs.plan import Planned
from fedmeki_bench.runs.submitted import Job, states, submitted


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where a run is.

    Attributes:
        state: ``running``, ``queued`` (its job has not begun), ``submitted`` (its job may be there or not: the cluster
            can't be asked) or ``lost`` (its process is gone, or was not heard of until its lease ran out).
        host, pid: of the process that holds it.
        job: its job on a cluster.
        silent: seconds since it was heard of.
        text: all of it in words.
    """

    state: Literal["running", "queued", "submitted", "lost"]
    text: str
    host: str | None = None
    pid: int | None = None
    job: str | None = None
    silent: float | None = None


def whereabouts(entries: Sequence[Planned], store: RecordStore) -> dict[str, Whereabouts]:
    """Key of a run that is not done -> where it is; nothing of those that nobody holds or has submitted."""
    keys = [entry.key for entry in entries if entry.key and entry.status != "ok"]
    found: dict[str, Whereabouts] = {}
    jobs = {key: job for key, job in submitted(store.root).items() if key in keys and not job.ended}
    alive = states(jobs.values())
    for key in keys:
        try:
            seen = store.lease(key)
        except OSError:
            found[key] = Whereabouts("running", store.holder(key))
            continue
        if seen is not None:
            found[key] = _held(seen, store)
        if key in jobs and (seen is None or found[key].state == "lost"):
            queued = _queued(jobs[key], alive)
            found |= {key: queued} if queued is not None else {}
    return found


def _held(seen: Seen, store: RecordStore) -> Whereabouts:
    silent = max(0.0, time.time() - seen.written)
    held = partial(Whereabouts, silent=round(silent, 1))
    if seen.owner is not None:
        held = partial(held, host=seen.owner.host, pid=seen.owner.pid, job=seen.owner.job or None)
    if not seen.ran_out(store.pace.patience):
        return held("running", seen.name)
    how = "is gone" if seen.known_dead else f"was not heard of for {_ago(silent)}, its lease ran out"
    return held("lost", f"{seen.name} {how}: the next sweep goes on with it")


def _queued(job: Job, alive: dict[str, str] | None) -> Whereabouts | None:
    """What is known of a job that has not begun its run; None if it is gone."""
    if alive is None:
        return Whereabouts(
            "submitted", f"submitted as job {job.id}; squeue, which would know more, doesn't answer", job=job.id
        )
    if job.id not in alive:
        return None
    return Whereabouts("queued", f"job {job.id}, {alive[job.id].lower()}", job=job.id)


def _ago(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 7200 else f"{seconds / 60:.0f} min"
