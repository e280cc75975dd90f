"""Workers begin as forks of a server that has imported everything, and end as new interpreters would."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fedmeki_bench import processes

from .test_ends import family

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="workers are new interpreters elsewhere")

STARTS = """
import multiprocessing, os, signal, sys, time
from fedmeki_bench.processes import end_with_parent, interrupt_once, worker_context


def tell(connection):
    there = set(sys.modules)
    from fedmeki_bench.runs import execute
    import torch
    new = len(set(sys.modules) - there)
    connection.send((new, torch.cuda.is_initialized(), torch.cuda._is_in_bad_fork(),
                     os.environ.get("LATER"), signal.getsignal(signal.SIGINT) is signal.default_int_handler))


def stay(connection):
    end_with_parent()
    interrupt_once()
    try:
        connection.send(os.getpid())
        time.sleep(60)
    except KeyboardInterrupt:
        connection.send("interrupted")


def begin(context, target):
    ours, theirs = context.Pipe()
    process = context.Process(target=target, args=(theirs,), daemon=True)
    process.start()
    theirs.close()
    return process, ours
"""

FRESH = """
if __name__ == "__main__":
    for context in (worker_context(), multiprocessing.get_context("spawn")):
        process, ours = begin(context, tell)
        new, used, forked_badly, _, interruptible = ours.recv()
        assert (used, forked_badly, interruptible) == (False, False, True), (used, forked_badly, interruptible)
        print(context.get_start_method(), new)
"""

ENDS = """
if __name__ == "__main__":
    context = worker_context()
    process, ours = begin(context, stay)
    os.kill(ours.recv(), signal.SIGKILL)
    process.join()
    print(process.exitcode)
    process, ours = begin(context, stay)
    os.kill(ours.recv(), signal.SIGINT)
    print(ours.recv())
    process.join()
    print(process.exitcode)
"""

LEFT = """
if __name__ == "__main__":
    process, ours = begin(worker_context(), stay)
    print(ours.recv(), flush=True)
    time.sleep(60)
"""

CHANGED = """
if __name__ == "__main__":
    print(worker_context().get_start_method())
    os.environ["LATER"] = "1"
    context = worker_context()
    print(context.get_start_method(), begin(context, tell)[1].recv()[3])
    del os.environ["LATER"]
    print(worker_context().get_start_method())
"""


def script(folder: Path, text: str) -> list[str]:
    (folder / "start.py").write_text(STARTS + text)
    return [sys.executable, str(folder / "start.py")]


def told(folder: Path, text: str) -> list[str]:
    return subprocess.run(script(folder, text), check=True, capture_output=True, text=True, timeout=200).stdout.split()


@linux
def test_a_worker_finds_everything_imported_and_no_accelerator_touched(tmp_path):
    forked, none, spawned, many = told(tmp_path, FRESH)
    assert (forked, int(none)) == ("forkserver", 0)
    assert spawned == "spawn"
    assert int(many) > 500  # the control: what a new interpreter has yet to import


@linux
def test_a_killed_worker_has_its_signal_and_an_interrupted_one_is_told(tmp_path):
    assert told(tmp_path, ENDS) == ["-9", "interrupted", "0"]


@linux
def test_workers_and_their_server_leave_with_a_killed_command(tmp_path):
    command = subprocess.Popen(script(tmp_path, LEFT), stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert command.stdout is not None
    assert command.stdout.readline().strip()  # the worker is at work
    assert len(family(command.pid)) >= 3  # command, server, worker
    command.kill()
    command.wait()
    until = time.monotonic() + 20
    while family(command.pid) and time.monotonic() < until:
        time.sleep(0.1)
    left = family(command.pid)
    if left:
        os.killpg(command.pid, signal.SIGKILL)
    assert not left


@linux
@pytest.mark.slow
def test_a_worker_never_has_an_old_environment(tmp_path):
    assert told(tmp_path, CHANGED) == ["forkserver", "spawn", "1", "forkserver"]


@pytest.mark.parametrize("system", ["win32", "darwin"])
def test_other_systems_start_new_interpreters(monkeypatch, system):
    monkeypatch.setattr(sys, "platform", system)
    assert processes.worker_context().get_start_method() == "spawn"
