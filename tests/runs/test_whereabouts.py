"""Where the runs of a board are: under way, queued, or left by a process that is gone."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from fedmeki_bench.records.lease import machine
from fedmeki_bench.records.store import RecordStore
from fedmeki_bench.runs import submitted, whereabouts
from fedmeki_bench.runs.submitted import Job, remember


@pytest.fixture
def store(tmp_path):
    return RecordStore(tmp_path)


def where(store, key="a", status="missing"):
    found = whereabouts.whereabouts([SimpleNamespace(key=key, status=status)], store).get(key)
    return found and (found.state, found.text)


def lease(store, key="a", *, age=0.0, **changes):
    owner = {"host": "node7", "pid": 12, "machine": "elsewhere", "began": "1", "token": "t", "job": "100_4"}
    store.folder(key).mkdir(exist_ok=True)
    path = store.folder(key) / "lease"
    path.write_text(json.dumps({**owner, **changes}))
    os.utime(path, (path.stat().st_mtime - age,) * 2)


def queue(store, monkeypatch, answer, ended=False):
    jobs = store.root / ".jobs"
    remember(store.root, {"a": Job("slurm", "100_3", jobs), "a2": Job("slurm", "100_4", jobs)})
    monkeypatch.setitem(submitted._ASK, "slurm", lambda ids: answer)
    if ended:
        (jobs / "100_3_0_result.pkl").touch()


def test_leases(store):
    assert where(store) is None
    lease(store)
    assert where(store) == ("running", "process 12 on node7 (job 100_4)")
    assert where(store, status="ok") is None
    lease(store, age=600)
    said = (
        "process 12 on node7 (job 100_4) was not heard of for 10 min, its lease ran out: the next sweep goes on with it"
    )
    assert where(store) == ("lost", said)
    lease(store, age=9000, job="")
    assert "process 12 on node7 was not heard of for 2.5 h" in where(store)[1]
    lease(store, machine=machine(), pid=os.getpid())  # a number that came again
    assert where(store) == (
        "lost",
        f"process {os.getpid()} on node7 (job 100_4) is gone: the next sweep goes on with it",
    )
    (store.folder("a") / "lease").unlink()
    (store.folder("a") / "lease").symlink_to(Path("nowhere"))
    assert where(store)[0] == "running"
    with store.lock("b"):
        assert where(store, "b")[0] == "running"


def test_jobs(store, monkeypatch):
    queue(store, monkeypatch, {"100_3": "PENDING"})
    assert where(store) == ("queued", "job 100_3, pending")
    assert where(store, "a2") is None, "it is no longer in the queue"
    lease(store)
    assert where(store)[0] == "running", "what it does says more than where its job is"
    lease(store, age=600)
    assert where(store)[0] == "queued", "queued again"
    queue(store, monkeypatch, None)
    assert where(store, "a2")[0] == "submitted"
    queue(store, monkeypatch, {"100_3": "PENDING"}, ended=True)
    (store.folder("a") / "lease").unlink()
    assert where(store) is None


def test_of_several_submissions_the_last_counts_and_damage_is_passed_over(store, monkeypatch):
    queue(store, monkeypatch, {})
    remember(store.root, {"a": Job("slurm-here", "77", store.root / ".jobs")})
    (store.root / ".jobs" / "submission-1.json").write_text("{")
    (store.root / ".jobs" / "submission-2.json").write_text("[]")
    found = submitted.submitted(store.root)
    assert (found["a"].launcher, found["a"].id, found["a2"].id) == ("slurm-here", "77", "100_4")
