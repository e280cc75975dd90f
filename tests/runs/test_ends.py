"""Every end is told, and the rest goes on: killed processes, signals, exits in plug-ins, full disks, poor terminals."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fedmeki_bench.records.store import RecordStore

BOARD = """\
name: small
profile: demo
seeds: [0, 1]
clients: 2
tasks: [ecg_abnormal]
algorithms: [{first}, fedavg_s, fedprox_s]
options: {{rounds: {rounds}, local_epochs: 1}}
"""

RULE = '''
import os, signal
from fedmeki_bench.api import Rule


class Ill(Rule):
    """A rule that ends its process."""

    def client_update(self, ctx, received):
        {act}
'''


def command(*args: object) -> list[str]:
    return [sys.executable, "-m", "fedmeki_bench", *map(str, args)]


def call(where: Path, *args: object, **more) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*args), cwd=where, capture_output=True, text=True, timeout=300, **more)


def records(results: Path) -> dict[str, dict]:
    found = [json.loads(path.read_text()) for path in results.glob("*/record.json")]
    return {f"{r['algorithm']} {r['seed']}": r for r in found}


def family(session: int) -> list[str]:
    """Processes of a session that are still there."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            facts = (entry / "stat").read_text().rpartition(")")[2].split()
            if entry.name.isdecimal() and int(facts[3]) == session and facts[0] != "Z":
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except (OSError, IndexError):
            continue
    return found


@pytest.mark.slow
def test_a_killed_process_is_a_failed_row_and_the_others_finish(cohorts, tmp_path):
    (tmp_path / "ill.py").write_text(RULE.format(act="os.kill(os.getpid(), signal.SIGKILL)"))
    (tmp_path / "small.yaml").write_text(BOARD.format(first="'ill.py:Ill_s'", rounds=1))
    ended = call(tmp_path, "sweep", "small.yaml", "--data", cohorts, "--jobs", 2, "--plain")
    assert ended.returncode == 4
    assert "2 of 6 runs failed" in ended.stderr
    assert "Traceback" not in ended.stderr
    found = records(tmp_path / "results")
    assert {name: r["status"] for name, r in found.items()} == {
        "ill.py:Ill_s 0": "failed", "ill.py:Ill_s 1": "failed", "fedavg_s 0": "ok", "fedavg_s 1": "ok",
        "fedprox_s 0": "ok", "fedprox_s 1": "ok",
    }  # fmt: skip
    assert "signal SIGKILL" in found["ill.py:Ill_s 0"]["error"]["message"]
    (tmp_path / "results" / found["fedavg_s 1"]["key"] / "record.json").unlink()
    again = call(tmp_path, "sweep", "small.yaml", "--data", cohorts, "--jobs", 1, "--plain")
    assert again.returncode == 4
    assert records(tmp_path / "results")["fedavg_s 1"]["status"] == "ok", "a later sweep goes on past it"


@pytest.mark.slow
def test_a_process_that_is_killed_once_costs_nothing(cohorts, tmp_path):
    act = "open('once', 'x').close(); os.kill(os.getpid(), signal.SIGKILL)"
    act = (
        f"if ctx.round == 1 and not os.path.exists('once'): {act}\n        return super().client_update(ctx, received)"
    )
    (tmp_path / "ill.py").write_text(RULE.format(act=act))
    board = BOARD.format(first="'ill.py:Ill_s'", rounds=3).replace("[0, 1]", "[0]").replace(", fedavg_s, fedprox_s", "")
    (tmp_path / "small.yaml").write_text(board)
    ended = call(tmp_path, "sweep", "small.yaml", "--data", cohorts, "--jobs", 1, "--plain")
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "once").exists()
    assert "its process was killed (signal SIGKILL; out of memory?); it is tried once more, from its" in ended.stderr
    assert "3 rounds, resumed after round 1" in ended.stderr


def test_an_exit_in_a_plug_in_is_a_failure(cohorts, tmp_path):
    (tmp_path / "ill.py").write_text(RULE.format(act="raise SystemExit(0)"))
    ended = call(
        tmp_path, "run", "ill.py:Ill_s", "--data", cohorts, "--tasks", "ecg_abnormal", "-o", "rounds=1", "--plain"
    )
    assert ended.returncode == 4
    (record,) = records(tmp_path / "results").values()
    assert (record["status"], record["error"]["type"]) == ("failed", "SystemExit")


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "how",
    [signal.SIGTERM, *(pytest.param(s, marks=SLOW) for s in (signal.SIGKILL, signal.SIGHUP, signal.SIGINT))],
)
def test_a_sweep_told_to_end_leaves_records_and_no_process(cohorts, tmp_path, how):
    (tmp_path / "small.yaml").write_text(BOARD.format(first="fedavg_m", rounds=30))

    def heed() -> None:  # a shell's background jobs ignore some signals, and their children inherit that
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)

    started = subprocess.Popen(
        command("sweep", "small.yaml", "--data", cohorts, "--jobs", 2, "--plain"), cwd=tmp_path,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=heed,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while len(list((tmp_path / "results").glob("*/checkpoint/state.pt"))) < 2:
        assert started.poll() is None, started.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(started.pid, how)
    started.communicate(timeout=60)  # the pipes end only when nobody holds them any more
    while family(started.pid):
        assert time.monotonic() < deadline, family(started.pid)
        time.sleep(0.1)
    if how != signal.SIGKILL:
        assert started.returncode == 130
        states = {r["status"] for r in records(tmp_path / "results").values()}
        assert "interrupted" in states
        assert "failed" not in states


def test_a_full_disk_is_one_sentence(cohorts, tmp_path):
    def full() -> None:  # files larger than 40 KB can't be written, as on a disk that fills up
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))

    ended = call(
        tmp_path, "run", "fedavg_s", "--data", cohorts, "--tasks", "ecg_abnormal", "-o", "rounds=1", "--plain",
        preexec_fn=full,
    )  # fmt: skip
    assert ended.returncode == 4
    assert "Traceback" not in ended.stderr
    assert "File too large" in ended.stderr
    (record,) = records(tmp_path / "results").values()
    assert record["status"] == "failed"
    assert not list((tmp_path / "results").rglob("*.tmp"))


def test_results_that_can_not_be_written_to(cohorts, tmp_path):
    (tmp_path / "results").write_text("a file where a folder should be")
    ended = call(tmp_path, "run", "fedavg_s", "--data", cohorts, "--tasks", "ecg_abnormal", "-o", "rounds=1", "--plain")
    assert ended.returncode == 4
    assert ended.stderr.strip().splitlines()[-1].startswith("error: cannot write into results/")
    assert "Traceback" not in ended.stderr


@pytest.mark.slow
def test_a_cache_that_can_not_be_written_to(cohorts, tmp_path):
    (tmp_path / "cache").write_text("a file where a folder should be")
    env = {**os.environ, "FEDMEKI_BENCH_CACHE": str(tmp_path / "cache")}
    args = ("--data", cohorts, "--tasks", "ecg_abnormal", "-o", "rounds=1", "-o", "local_epochs=1", "--plain")
    assert call(tmp_path, "run", "fedavg_s", *args, env=env).returncode == 0, "digests are then not remembered"
    ended = call(tmp_path, "run", "fedavg_s_fm", *args, env=env)
    assert ended.returncode == 4
    assert "set FEDMEKI_BENCH_CACHE" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", pytest.param("latin-1", marks=SLOW)])
def test_terminals_with_few_characters(cohorts, tmp_path, encoding):
    env = {**os.environ, "PYTHONIOENCODING": encoding, "LC_ALL": "C"}
    (tmp_path / "small.yaml").write_text(BOARD.format(first="fedavg_m", rounds=1))
    for args in (
        ("list", "algorithms"), ("info", "fedavg_m_plus"), ("status", "small.yaml", "--data", cohorts), ("--help",),
        ("run", "fedavg_s", "--data", cohorts, "--tasks", "ecg_abnormal", "-o", "rounds=1", "-o", "local_epochs=1"),
        ("audit", cohorts),
    ):  # fmt: skip
        ended = subprocess.run(command(*args), cwd=tmp_path, capture_output=True, env=env, timeout=120, check=False)
        assert ended.returncode == 0, ended.stderr
        assert b"Traceback" not in ended.stderr
        ended.stdout.decode(encoding)


@pytest.mark.slow
def test_the_checkpoint_of_a_finished_run_goes_with_the_next_command(cohorts, tmp_path):
    args = ("run", "fedavg_s", "--data", cohorts, "--tasks", "ecg_abnormal", "-o", "rounds=1", "--plain")
    assert call(tmp_path, *args).returncode == 0
    (folder,) = (tmp_path / "results").iterdir()
    (folder / "checkpoint").mkdir()
    (folder / "checkpoint" / "state.pt").write_text("of a run that was killed at its very end")
    assert call(tmp_path, *args).returncode == 0
    assert sorted(p.name for p in folder.iterdir()) == ["predictions", "record.json"]


def test_what_a_killed_synth_left_goes_with_the_next_one(tmp_path):
    for left in (".raw.partial-3999999", f".raw.partial-{os.getpid()}"):
        (tmp_path / left).mkdir()
    assert call(tmp_path, "synth", "ptbxl", "--out", "raw", "--size", 20).returncode == 0
    assert not (tmp_path / ".raw.partial-3999999").exists()
    assert (tmp_path / f".raw.partial-{os.getpid()}").exists(), "its process runs"


@pytest.mark.slow
def test_a_sweep_says_what_another_process_keeps_it_from(cohorts, tmp_path):
    small = BOARD.format(first="fedavg_m", rounds=1).replace("[0, 1]", "[0]").replace(", fedprox_s", "")
    (tmp_path / "small.yaml").write_text(small)
    states = json.loads(call(tmp_path, "status", "small.yaml", "--data", cohorts, "--json").stdout)
    held = next(row["key"] for row in states if row["algorithms"] == ["fedavg_s"])
    with RecordStore(tmp_path / "results").lock(held):
        ended = call(tmp_path, "sweep", "small.yaml", "--data", cohorts, "--jobs", 1, "--plain")
    assert ended.returncode == 4, "a cell is missing that should not be"
    assert "1 of 2 runs are not done, first fedavg_s on ecg_abnormal" in ended.stderr
    assert f"{held}: already being run by process {os.getpid()}" in ended.stderr
    assert call(tmp_path, "sweep", "small.yaml", "--data", cohorts, "--jobs", 1, "--plain").returncode == 0
