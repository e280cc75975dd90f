"""Workers of a sweep are killed at random: every cell is done, once, and ends in the bits of an undisturbed sweep."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from fedmeki_bench.records.store import RecordStore
from fedmeki_bench.runs.execute import execute
from fedmeki_bench.workflow.boards import planned

from .test_ends import family
from .test_kills import contents, different

BOARD = """\
name: small
profile: demo
seeds: {seeds}
clients: 2
tasks: [ecg_abnormal]
algorithms: {rows}
options: {{rounds: {rounds}, local_epochs: 1}}
"""

SWEEP = """
import sys
{broken}
if __name__ == "__main__":
    from fedmeki_bench.cli.main import run
    from fedmeki_bench.cli.view import sweep

    usual = sweep.plain_line
    sweep.plain_line = lambda event, name: usual(event, event.key)  # names leave the seed out
    run()
"""

BROKEN = """
from contextlib import contextmanager
from types import SimpleNamespace
from fedmeki_bench.records.store import RecordStore

@contextmanager
def lock(self, key):
    self.folder(key).mkdir(parents=True, exist_ok=True)
    yield SimpleNamespace(check=lambda: None)

RecordStore.lock = lock
"""
"""A version that holds no lease; workers read the script anew, so that theirs is that one, too."""


def children(parent: int, of: bytes) -> list[int]:
    """The processes that a process has started, those with this in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            facts = path.read_text().rpartition(")")[2].split()
            if int(facts[1]) == parent and facts[0] != "Z" and of in (path.parent / "cmdline").read_bytes():
                found.append(int(path.parent.name))
        except (OSError, IndexError):
            continue
    return found


def workers(parent: int) -> list[int]:
    """The processes that a sweep has started to run trainings: what the server forks that it has begun for them."""
    return [pid for server in children(parent, b"forkserver") for pid in children(server, b"forkserver")]


class Sweeps:
    """Sweeps of one board into one folder, one after another or several at a time, whose workers can be killed."""

    def __init__(self, where: Path, cohorts: Path, board: str, broken: str = "") -> None:
        where.mkdir()
        (where / "small.yaml").write_text(board)
        (where / "sweep.py").write_text(SWEEP.format(broken=broken))
        self.where, self.results = where, where / "results"
        self.args = [sys.executable, "sweep.py", "sweep", "small.yaml", "--data", str(cohorts), "--plain"]
        self.said: list[Path] = []
        self.killed = 0

    def start(self, jobs: int) -> subprocess.Popen[bytes]:
        self.said.append(self.where.parent / f"{self.where.name}-said-{len(self.said)}")
        with self.said[-1].open("wb") as out:
            args = [*self.args, "--launcher", "local", "--jobs", str(jobs)]
            return subprocess.Popen(args, cwd=self.where, stdout=out, stderr=out, start_new_session=True)

    def disturb(self, kills: int, draw: random.Random, *, jobs: int = 4, at_once: int = 1, pause: float = 1.5) -> None:
        """Sweep, again and again, until the board is done; meanwhile kill so many workers at random moments."""
        running = [self.start(jobs) for _ in range(at_once)]
        begun = 0
        while running:
            time.sleep(draw.uniform(0, pause) if self.killed < kills else 0.2)
            there = [pid for one in running for pid in workers(one.pid)]
            if there and self.killed < kills:
                os.kill(draw.choice(there), signal.SIGKILL)
                self.killed += 1
            ended = [one for one in running if one.poll() is not None]
            running = [one for one in running if one not in ended]
            for one in ended:
                until = time.monotonic() + 10  # the server of workers leaves once it sees that the sweep is gone
                while (left := family(one.pid)) and time.monotonic() < until:
                    time.sleep(0.1)
                assert not left
                if one.returncode:
                    begun += 1
                    assert begun < 12, self.told()
                    running.append(self.start(jobs))
        assert "Traceback" not in self.told()

    def told(self) -> str:
        return "\n".join(path.read_text() for path in self.said)

    def done(self) -> Counter[str]:
        """How often each cell was said to have been trained to its end."""
        lines = (line.split(maxsplit=2) for line in self.told().splitlines())
        return Counter(line[2].partition(" in ")[0] for line in lines if line[1:2] == ["done"])


def undisturbed(where: Path, cohorts: Path, board: str) -> dict[str, object]:
    """What the runs leave that a sweep executes one after another, here in this process."""
    where.mkdir()
    (where / "small.yaml").write_text(board)
    for entry in planned(where / "small.yaml", cohorts, where / "results").chosen:
        execute(entry.spec, cohorts, RecordStore(where / "results"))
    return results(where)


def results(where: Path) -> dict[str, object]:
    """Every file below the folder of results, hidden ones too, by what must not depend on a kill."""
    return {n: c for n, c in contents(where / "results").items() if n.startswith("results")}


@pytest.mark.parametrize(
    ("kills", "rows", "seeds", "rounds", "jobs"),
    [
        pytest.param(3, "[fedavg_s, fedprox_s]", [0], 4, 2, id="3"),
        pytest.param(20, "[fedavg_s, fedprox_s, scaffold_s]", [0, 1, 2, 3], 8, 4, marks=pytest.mark.slow, id="20"),
    ],
)
def test_killed_workers_change_nothing(cohorts, tmp_path, record_property, kills, rows, seeds, rounds, jobs):
    board = BOARD.format(rows=rows, seeds=seeds, rounds=rounds)
    sweeps = Sweeps(tmp_path / "killed", cohorts, board)
    begun = time.monotonic()
    sweeps.disturb(kills, random.Random(kills), jobs=jobs, pause=1.0 if kills == 3 else 1.5)
    took = time.monotonic() - begun
    whole = undisturbed(tmp_path / "whole", cohorts, board)
    found = results(sweeps.where)
    assert not different(found, whole), different(found, whole)
    records = [c for name, c in found.items() if name.endswith("record.json")]
    assert [c["status"] for c in records] == ["ok"] * (rows.count(",") + 1) * len(seeds)
    assert max(sweeps.done().values()) == 1, sweeps.done()
    record_property("killed", f"{sweeps.killed} of {kills} in {len(sweeps.said)} sweeps, {took:.0f} s")
    assert sweeps.killed == kills, "the board was done before: more rounds are needed"


@pytest.mark.slow
@pytest.mark.parametrize("broken", ["", BROKEN], ids=["leases", "without"])
def test_two_sweeps_of_one_board_at_once_do_every_cell_once(cohorts, tmp_path, broken):
    """Both with killed workers. The control holds no leases: cells are then done twice, and it is seen."""
    board = BOARD.format(rows="[fedavg_s, fedprox_s]", seeds=[0, 1], rounds=6)
    sweeps = Sweeps(tmp_path / "both", cohorts, board, broken)
    try:
        sweeps.disturb(6 if not broken else 0, random.Random(5), jobs=2, at_once=2, pause=3.0)
    except AssertionError:  # two that write at a time are in each other's way, too
        if not broken:
            raise
    often = sweeps.done()
    if broken:
        assert max(often.values()) > 1
        return
    assert max(often.values()) == 1, often
    assert "already being run by process" in sweeps.told(), "they met"
    assert not different(results(sweeps.where), undisturbed(tmp_path / "whole", cohorts, board))
