"""Leases: who runs a key, across machines that see but one folder. Another machine is a process that says it is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from test_store import made

from fedmeki_bench.records import lease as leases
from fedmeki_bench.records.lease import KeyLocked, LeaseLost, Pace
from fedmeki_bench.records.store import RecordStore

PACE = Pace(beat=0.05, patience=0.5, watch=0.4)

ELSEWHERE = """
import sys, time
from pathlib import Path
from fedmeki_bench.errors import RunFailed
from fedmeki_bench.records import lease
from fedmeki_bench.records.record import Record
from fedmeki_bench.records.store import RecordStore
{broken}
lease.machine = lambda: "elsewhere"
lease.socket.gethostname = lambda: "node7"
store = RecordStore(sys.argv[1], lease.Pace(0.05, 0.5, 0.4))
record = Record.from_json(sys.argv[2])
try:
    with store.lock("abc"):
        print("held", flush=True)
        sys.stdin.readline()
        store.write(record)
        print("wrote", flush=True)
except RunFailed as error:
    print(f"{{type(error).__name__}}: {{error}}", flush=True)
"""


class Elsewhere:
    """A process of another machine that holds the key ``abc`` until it is told to write its record."""

    def __init__(self, root: Path, broken: str = "") -> None:
        script = ELSEWHERE.format(broken=broken)
        self.process = subprocess.Popen(
            [sys.executable, "-c", script, str(root), made(seed=7).to_json()], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.said() == "held"

    def said(self) -> str:
        return self.process.stdout.readline().strip()

    def go_on(self) -> str:
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.said()


@pytest.fixture
def elsewhere(tmp_path):
    made_here = []

    def start(broken: str = "") -> Elsewhere:
        made_here.append(Elsewhere(tmp_path, broken))
        return made_here[-1]

    yield start
    for one in made_here:
        one.process.kill()
        one.process.communicate()


@pytest.fixture
def store(tmp_path):
    return RecordStore(tmp_path, PACE)


def left(root: Path) -> list[str]:
    return sorted(path.name for path in (root / "abc").iterdir())


def test_a_holder_elsewhere_is_respected_as_long_as_it_is_heard_of(store, elsewhere):
    other = elsewhere()
    time.sleep(3 * PACE.patience)
    assert store.holder("abc") == f"process {other.process.pid} on node7"
    with pytest.raises(KeyLocked, match=f"process {other.process.pid} on node7"), store.lock("abc"):
        pass
    assert other.go_on() == "wrote"
    other.process.wait()
    assert left(store.root) == ["record.json"]


def test_a_holder_elsewhere_that_died_is_followed_when_its_lease_has_run_out(store, elsewhere):
    other = elsewhere()
    other.process.kill()
    other.process.wait()
    with pytest.raises(KeyLocked), store.lock("abc"):
        pass  # as far as anybody here knows, it lives
    time.sleep(PACE.patience)
    assert store.holder("abc") == ""
    assert store.lease("abc").ran_out(PACE.patience)
    with store.lock("abc"):
        pass
    assert left(store.root) == []


def resumed(store, other) -> str:
    """A holder is stopped, taken over, and comes back; what it says. The other's record is there by then."""
    other.process.send_signal(signal.SIGSTOP)
    time.sleep(PACE.patience)
    with store.lock("abc") as lease:
        store.write(made(seed=1))
        other.process.send_signal(signal.SIGCONT)
        time.sleep(4 * PACE.beat)
        said = other.go_on()
        lease.check()
    return said


def test_a_holder_that_lost_its_lease_writes_nothing(store, elsewhere):
    said = resumed(store, elsewhere())
    assert said.startswith("LeaseLost: abc: this process was not heard of for so long")
    assert f"process {os.getpid()} on" in said
    assert store.load("abc").seed == 1
    assert left(store.root) == ["record.json"]


def test_without_looking_it_would_write_over_the_other(store, elsewhere):
    """The control of the test above."""
    assert resumed(store, elsewhere("lease.Lease.check = lambda self: None")) == "wrote"
    assert store.load("abc").seed == 7


def test_a_clock_that_runs_ahead_takes_nothing_from_a_holder(store, elsewhere, monkeypatch):
    other = elsewhere()
    monkeypatch.setattr(leases.os, "fstat", Ahead(os.fstat))
    with pytest.raises(KeyLocked), store.lock("abc"):
        pass  # its heartbeat is seen, whatever the times say
    monkeypatch.undo()
    assert other.go_on() == "wrote"


class Ahead:
    """The times of files that this machine writes, by a clock that is an hour ahead of the others'."""

    def __init__(self, fstat) -> None:
        self.fstat, self.first = fstat, True

    def __call__(self, handle):
        found = self.fstat(handle)
        name = Path(f"/proc/self/fd/{handle}").readlink().name
        return found if not name.endswith(".tmp") else os.stat_result([*found[:8], found[8] + 3600, *found[9:10]])


def test_of_many_observers_one_takes_over(store, elsewhere):
    other = elsewhere()
    other.process.kill()
    other.process.wait()
    time.sleep(PACE.patience)
    winners, at_once, gate = [], [], threading.Barrier(8)

    def observe() -> None:
        gate.wait()
        try:
            with RecordStore(store.root, PACE).lock("abc") as lease:
                at_once.append(1)
                winners.append(len(at_once))
                time.sleep(3 * PACE.watch)
                lease.check()
                at_once.pop()
        except KeyLocked:
            pass

    threads = [threading.Thread(target=observe) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert winners == [1]
    assert left(store.root) == []


def test_a_late_observer_puts_back_what_is_not_its_to_take(store, monkeypatch):
    """It judged a lease dead, and by the time it acts another has followed: that one's lease stands again."""
    store.folder("abc").mkdir()
    with store.lock("abc") as lease:
        path = store.folder("abc") / "lease"
        late = leases.Owner("node9", 1, "other", "", "f" * 32)
        assert not leases._withdraw(path, "the token of one that is gone", late)
        lease.check()
        assert left(store.root) == ["lease"]
        monkeypatch.setattr(leases, "_token", lambda seen: "the token of one that is gone")  # the control
        assert leases._withdraw(path, "the token of one that is gone", late)
        with pytest.raises(LeaseLost, match="its lease is gone"):
            lease.check()


def test_a_process_number_that_came_again_is_not_the_holder(store):
    with store.lock("abc"):
        said = json.loads((store.folder("abc") / "lease").read_text())
    path = store.folder("abc") / "lease"
    path.write_text(json.dumps(said))
    assert store.holder("abc").startswith(f"process {os.getpid()}")
    path.write_text(json.dumps({**said, "began": "1"}))
    assert store.holder("abc") == ""
    with store.lock("abc"):
        pass
    path.write_text(json.dumps({**said, "began": "1", "machine": "rebooted"}))
    assert store.holder("abc") != "", "of another machine nothing is known but its heartbeat"


def test_a_job_is_named(store, monkeypatch):
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "123")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "4")
    with store.lock("abc"):
        assert store.holder("abc").endswith("(job 123_4)")


@pytest.mark.parametrize("step", ["os.link", "os.open", "Path.rename", "_read", "FileLock.acquire"])
def test_killed_at_any_step_nothing_stands_in_the_way(store, elsewhere, step):
    """A process is killed after a step of each kind while it follows one that is gone."""
    if step != "os.link":
        elsewhere().process.kill()
        time.sleep(PACE.patience)
    script = f"""
import os, signal, sys
from pathlib import Path
from filelock import FileLock
from fedmeki_bench.records import lease
from fedmeki_bench.records.store import RecordStore
place, _, name = {step!r}.rpartition(".")
owner = dict(os=os, Path=Path, FileLock=FileLock).get(place, lease)
usual, left = getattr(owner, name), {2 if step in ("os.open", "_read") else 1}
def killed(*args, **kwargs):
    global left
    left -= 1
    made = usual(*args, **kwargs)
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    return made
store = RecordStore({str(store.root)!r}, lease.Pace(0.05, 0.5, 0.4))
setattr(owner, name, killed)
with store.lock("abc"):
    print("held")
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    time.sleep(PACE.patience)
    with store.lock("abc"):
        pass
    assert left(store.root) == []


def test_a_file_system_without_hard_links(store, elsewhere, monkeypatch):
    def link(*args, **kwargs):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    with store.lock("abc"):
        with pytest.raises(KeyLocked), store.lock("abc"):
            pass
        store.write(made())
    assert left(store.root) == ["record.json"]
