"""Killed at any moment and called again, a command ends in the bits of an undisturbed one and leaves nothing over."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from .test_ends import command, family

KILLS = 12  # of each command

BOARD = """\
name: small
profile: demo
seeds: [0]
clients: 2
tasks: [ecg_abnormal]
algorithms: [fedavg_s, fedprox_s]
options: {rounds: 3, local_epochs: 1}
"""


@dataclass
class Case:
    """A command, and the folder it fills; ``done`` is what it answers where everything was there already."""

    args: tuple[object, ...]
    made: str
    done: int = 0


@pytest.fixture(scope="module")
def cases(cohorts, tmp_path_factory) -> Callable[[str], Case]:
    folder = tmp_path_factory.mktemp("kills")
    (folder / "small.yaml").write_text(BOARD)
    raw = cohorts.parent / "raw"
    tiny = ("--clients", 2, "-o", "rounds=3", "-o", "local_epochs=1", "--plain")
    sweep = ("sweep", folder / "small.yaml", "--data", cohorts, "--plain", "--jobs", 2)

    def case(name: str) -> Case:
        if name == "leaderboard" and not (folder / "results").exists():
            subprocess.run(command(*sweep), cwd=folder, check=True, capture_output=True, timeout=200)
        return {
            "run": Case(("run", "fedavg_m_plus", "--data", cohorts, "--tasks", "ecg_abnormal", *tiny), "results"),
            "sweep": Case(sweep, "results"),
            "prepare": Case(("prepare", "rsna", "--raw", raw / "rsna", "--out", "data", "-o", "image_size=64"), "data"),
            "synth": Case(("synth", "rsna", "--out", "raw", "--size", 150), "raw", done=3),
            "leaderboard": Case(("leaderboard", folder / "small.yaml", "--results", folder / "results", "--out", "out"),
                                "out"),
        }[name]  # fmt: skip

    return case


def plain(record: dict) -> dict:
    """A record without times, memory and where it ran."""
    record = {k: v for k, v in record.items() if k not in ("started", "finished", "environment", "digest")}
    record["cost"] = {k: v for k, v in record["cost"].items() if k not in ("seconds", "peak_memory")}
    record["history"] = [{k: v for k, v in one.items() if k != "seconds"} for one in record["history"]]
    return record


def contents(folder: Path) -> dict[str, object]:
    """Every file below a folder, hidden ones and empty folders too, by what must not depend on a kill."""
    found: dict[str, object] = {}
    for path in sorted(folder.parent.rglob("*")):
        name = path.relative_to(folder.parent).as_posix()
        if path.is_dir():
            found[name] = "folder"
        elif path.name == "record.json":
            found[name] = plain(json.loads(path.read_text()))
        else:
            found[name] = path.read_bytes()
    return found


def different(here: dict[str, object], there: dict[str, object]) -> list[str]:
    return sorted(name for name in {**here, **there} if here.get(name) != there.get(name))


def finish(where: Path, case: Case, codes: tuple[int, ...] = (0,)) -> None:
    ended = subprocess.run(command(*case.args), cwd=where, capture_output=True, text=True, timeout=200)
    assert ended.returncode in codes, ended.stderr
    assert "Traceback" not in ended.stderr


def kill(where: Path, case: Case, delay: float) -> bool:
    """Start the command and kill it after ``delay`` seconds; False if it had ended. Nothing of it goes on."""
    started = subprocess.Popen(
        command(*case.args), cwd=where, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        started.wait(delay)
        hit = False
    except subprocess.TimeoutExpired:
        os.kill(started.pid, signal.SIGKILL)
        started.wait()
        hit = True
    deadline = time.monotonic() + 30
    while family(started.pid):
        assert time.monotonic() < deadline, family(started.pid)
        time.sleep(0.05)
    return hit


@pytest.mark.slow
@pytest.mark.parametrize("name", ["run", "sweep", "prepare", "synth", "leaderboard"])
def test_killed_and_called_again_it_ends_in_the_same_bits(cases, tmp_path, monkeypatch, record_property, name):
    monkeypatch.setenv("FEDMEKI_BENCH_CACHE", str(tmp_path / "cache"))
    case = cases(name)
    (tmp_path / "whole").mkdir()
    begun = time.monotonic()
    finish(tmp_path / "whole", case)
    usual = time.monotonic() - begun
    reference = contents(tmp_path / "whole" / case.made)
    assert any(isinstance(content, bytes) for content in reference.values())
    delays, hits, half = random.Random(name), 0, 0
    for number in range(KILLS):
        where = tmp_path / f"killed{number}"
        where.mkdir()
        hits += kill(where, case, usual * (number + delays.random()) / KILLS)
        left = contents(where / case.made)
        half += bool(left) and left != reference
        finish(where, case, (0, case.done) if (where / case.made).exists() else (0,))
        found = contents(where / case.made)
        assert not different(found, reference), (number, different(found, reference))
        shutil.rmtree(where)
    record_property("killed", f"{usual:.1f} s, {hits} of {KILLS} killed, {half} with something half done")
    assert hits >= KILLS // 2, "most kills came before the end"


def test_the_judge_sees_changed_bits_and_leftovers(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name / "made").mkdir(parents=True)
        (tmp_path / name / "made" / "x").write_bytes(b"1")
    a, b = tmp_path / "a" / "made", tmp_path / "b" / "made"
    assert not different(contents(a), contents(b))
    (b / "x").write_bytes(b"2")
    assert different(contents(a), contents(b)) == ["made/x"]
    (b / "x").write_bytes(b"1")
    for left in ("made/.x.77.tmp", ".made.partial-77", ".made.old-77", "made/lock", "made/checkpoint"):
        (b.parent / left).mkdir()
        assert different(contents(a), contents(b)) == [left]
        (b.parent / left).rmdir()
