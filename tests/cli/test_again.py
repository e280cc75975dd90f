"""What a command that failed or was interrupted says to go on: the command itself, which a shell takes as it stands."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

BOARD = """\
name: another
profile: demo
seeds: [0]
clients: 2
tasks: [ecg_abnormal]
algorithms: [fedavg_s, "{ill}"]
options: {{rounds: {rounds}, local_epochs: 1}}
"""

ILL = '''
from pathlib import Path

from fedmeki_bench.api import Rule


class Ill(Rule):
    """Fails until a file is there."""

    def client_update(self, ctx, received):
        if not Path("healed").exists():
            raise ValueError("ill")
        return super().client_update(ctx, received)
'''


def advised(err: str) -> list[str]:
    """The words of the last line, as a shell reads them."""
    line = err.strip().splitlines()[-1]
    assert line.startswith("go on with: "), err
    return shlex.split(line.removeprefix("go on with: "))


@pytest.fixture
def data(cohorts, tmp_path):
    """The cohorts under a name that a shell must have quoted."""
    (tmp_path / "my data").symlink_to(cohorts, target_is_directory=True)
    return "my data"


@pytest.mark.slow
def test_after_a_failed_sweep_the_same_board_and_folders(bench, data, tmp_path):
    (tmp_path / "ill.py").write_text(ILL)
    (tmp_path / "my board.yaml").write_text(BOARD.format(ill="ill.py:Ill_s", rounds=1))
    args = [
        "sweep",
        "./my board.yaml",
        "--data",
        data,
        "--results",
        "my results",
        "-j1",
        "--only",
        "missing",
        "--plain",
    ]
    ended = bench(*args)
    assert ended.code == 4, ended.err
    assert "1 of 2 runs failed" in ended.err
    words = advised(ended.err)
    # with --only missing the failed one would stay as it is
    assert words == [
        "fedmeki-bench", "sweep", "./my board.yaml", "--data", "my data", "--results", "my results", "--jobs", "1",
        "--plain",
    ]  # fmt: skip
    (tmp_path / "healed").touch()
    again = bench(*words[1:])
    assert again.code == 0, again.err
    assert "cached" in again.err


def test_after_a_failed_run_every_option_that_was_given(bench, data, tmp_path):
    (tmp_path / "ill.py").write_text(ILL)
    args = [
        "run", "./ill.py:Ill", "--variant", "s", "--data", data, "--tasks", "ecg_abnormal", "--seed", "3", "--clients",
        "2", "--results", "r", "-o", "rounds=1", "-o", "local_epochs=1", "--fresh", "--plain",
    ]  # fmt: skip
    ended = bench(*args)
    assert ended.code == 4, ended.err
    words = advised(ended.err)
    # --fresh would forget what is done
    assert sorted(words[1:]) == sorted(word for word in args if word != "--fresh")
    (tmp_path / "healed").touch()
    assert bench(*words[1:], "--json").code == 0
    (record,) = [json.loads(p.read_text()) for p in (tmp_path / "r").glob("*/record.json")]
    assert (record["status"], record["seed"], record["clients"]) == ("ok", 3, 2)


@pytest.mark.slow
def test_after_a_failed_demo(bench, tmp_path):
    (tmp_path / "ill.py").write_text(ILL)
    board = BOARD.format(ill="ill.py:Ill_s", rounds=1) + "synth: {ptbxl: {size: 60}}\n"
    (tmp_path / "b.yaml").write_text(board)
    ended = bench("demo", "--board", "./b.yaml", "--out", "my demo", "-j", 1, "--plain")
    assert ended.code == 4, ended.err
    words = advised(ended.err)
    assert words == ["fedmeki-bench", "demo", "--out", "my demo", "--board", "./b.yaml", "--jobs", "1", "--plain"]
    (tmp_path / "healed").touch()
    assert bench(*words[1:]).code == 0


@pytest.mark.parametrize("command", ["run", pytest.param("sweep", marks=pytest.mark.slow)])
def test_after_an_interruption(data, tmp_path, command):
    (tmp_path / "ill.py").write_text(ILL)
    (tmp_path / "b.yaml").write_text(BOARD.format(ill="fedprox_s", rounds=40))
    args = {
        "run": ["run", "fedavg_s", "--tasks", "ecg_abnormal", "-o", "rounds=40"],
        "sweep": ["sweep", "./b.yaml", "--jobs", "1"],
    }[command]
    args += ["--data", data, "--results", "r", "--plain"]
    heed = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731  (a shell's background jobs ignore it)
    started = subprocess.Popen(
        [sys.executable, "-m", "fedmeki_bench", *args], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, preexec_fn=heed,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not list((tmp_path / "r").glob("*/checkpoint/state.pt")):
        assert time.monotonic() < deadline
        assert started.poll() is None, started.communicate()
        time.sleep(0.02)
    os.kill(started.pid, signal.SIGINT)
    _, err = started.communicate(timeout=60)
    assert started.returncode == 130
    assert "interrupted\ngo on with: " in err
    words = advised(err)
    assert words[:3] == [sys.executable, "-m", "fedmeki_bench"], "as it was called"
    assert sorted(words[3:]) == sorted(args)


def test_an_interrupted_prepare(bench, tmp_path, monkeypatch):
    from fedmeki_bench.workflow import data as workflow

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(workflow, "prepare", interrupted)
    ended = bench("prepare", "rsna", "--raw", "raw data", "--out", "d", "-o", "image_size=32", "-o", "split_seed=1")
    assert ended.code == 130
    assert advised(ended.err) == [
        "fedmeki-bench", "prepare", "rsna", "--raw", "raw data", "--out", "d", "-o", "image_size=32", "-o",
        "split_seed=1",
    ]  # fmt: skip


def test_values_that_look_like_options_stay_values():
    import click

    from fedmeki_bench.cli.again import command_given
    from fedmeki_bench.cli.run import run_command

    ctx = run_command.make_context("run", ["--data=-odd", "-o", "--x", "--", "-file.py:Rule"])
    words = shlex.split(command_given(ctx))
    assert words == ["fedmeki-bench", "run", "--data=-odd", "-o", "--x", "--", "-file.py:Rule"]
    assert isinstance(run_command, click.Command)
    assert run_command.make_context("run", words[2:]).params == ctx.params


def test_the_program_is_called_as_it_was(monkeypatch, tmp_path):
    from fedmeki_bench.cli import again

    script = tmp_path / "bin" / "fedmeki-bench"
    script.parent.mkdir()
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "argv", [str(script), "list"])
    monkeypatch.setenv("PATH", "/nowhere")
    assert again.program() == [str(script)]
    monkeypatch.setenv("PATH", str(script.parent))
    assert again.program() == ["fedmeki-bench"]


def test_a_board_in_a_file_is_called_by_its_file(bench, tmp_path):
    (tmp_path / "my board.yaml").write_text(BOARD.format(ill="fedprox_s", rounds=1))
    ended = bench("leaderboard", "my board.yaml", "--results", "r s")
    assert ended.code == 3
    assert "`fedmeki-bench sweep 'my board.yaml' --results 'r s'`" in ended.err
    assert "`fedmeki-bench sweep demo --results results`" in bench("leaderboard", "demo").err
    assert Path("my board.yaml").exists()
