"""A board as jobs: what is submitted, what is waited for, and that the bits are those of a sweep on one machine.

No Slurm: its commands are stand-ins that write down what they are given and run jobs as processes (``fake_slurm.py``).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cloudpickle
import pytest

import fedmeki_bench as fb
from fedmeki_bench.cli.options import settings
from fedmeki_bench.errors import InputError, UsageError
from fedmeki_bench.runs import submitted
from fedmeki_bench.runs import sweep as sweeping
from fedmeki_bench.runs.slurm import checked_parameters

from .fake_slurm import FakeSlurm
from .test_ends import command
from .test_kills import contents, different

BOARD = """\
name: small
profile: demo
seeds: [0]
clients: 2
tasks: [ecg_abnormal]
algorithms: [majority, fedavg_s, fedprox_s]
options: {{rounds: {rounds}, local_epochs: 1}}
"""


@pytest.fixture(scope="module")
def whole(cohorts, tmp_path_factory):
    """What an undisturbed sweep leaves."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "small.yaml").write_text(BOARD.format(rounds=1))
    fb.sweep(folder / "small.yaml", cohorts, results=folder / "results", jobs=1)
    return contents(folder / "results")


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    (tmp_path / "small.yaml").write_text(BOARD.format(rounds=1))
    found = FakeSlurm(tmp_path / "slurm")
    monkeypatch.setenv("PATH", found.env["PATH"])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fedmeki_bench.runs.jobs._LOOK", 0.2)
    monkeypatch.setattr("fedmeki_bench.runs.jobs._ASK", 0.5)
    return found


def bench(*args: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*args), capture_output=True, text=True, timeout=200, check=False)


def results(where: Path) -> dict[str, object]:
    """What lies in ``results``, without the jobs'."""
    folder, root = where / "results", "results"
    return {n: c for n, c in contents(folder).items() if (n.startswith(f"{root}/") and "/.jobs" not in n) or n == root}


def of_whole(whole) -> dict[str, object]:
    return {name: content for name, content in whole.items() if name.startswith("results")}


def test_one_array_is_submitted_with_a_job_per_run(slurm, cohorts, tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_SLURM_IS_FULL", "1")
    asked = {"partition": "gpu", "gres": "gpu:1", "time": "4:00:00", "mem": "16G", "cpus-per-task": "2"}
    done = fb.sweep(
        "small.yaml", cohorts, launcher="slurm", array=2, slurm=asked | {"nodelist": "a1,a2"}, wait=False, device="cuda"
    )
    (said,) = done.notes
    assert said.startswith("submitted 3 runs as job 100; output in")
    assert said.endswith("scancel 100")
    flags = {line.removeprefix("#SBATCH --") for line in slurm.script() if line.startswith("#SBATCH")}
    assert {
        "array=0-2%2", "partition=gpu", "gres=gpu:1", "time=240", "mem=16G", "cpus-per-task=2", "nodelist=a1,a2",
        "job-name=fedmeki-small",
    } <= flags  # fmt: skip
    (called,) = [line for line in slurm.script() if line.startswith("srun")]
    assert called.endswith(f"-u -m submitit.core._submit {tmp_path / 'results' / '.jobs'}")
    cells = [
        cloudpickle.loads(path.read_bytes()).function for path in Path("results/.jobs").glob("100_*_submitted.pkl")
    ]
    assert sorted(cell.spec.algorithm for cell in cells) == ["fedavg_s", "fedprox_s", "majority"]
    assert {(cell.device, cell.data, cell.results) for cell in cells} == {("cuda", cohorts, tmp_path / "results")}

    again = fb.sweep("small.yaml", cohorts, launcher="slurm", wait=False)
    assert again.notes == ("3 of the runs are submitted already and are not submitted again",)
    assert not (slurm.folder / "job-101").exists()
    for job in ("100_0", "100_1", "100_2"):
        (slurm.folder / "job-100" / job).unlink()  # scancel
    fb.sweep("small.yaml", cohorts, launcher="slurm", wait=False)
    assert "#SBATCH --array=0-2%3" in slurm.script(101), "what was cancelled is submitted again"


@pytest.mark.slow
def test_its_jobs_end_in_the_same_bits(slurm, whole, cohorts, tmp_path):
    ended = bench("sweep", "small.yaml", "--data", cohorts, "--launcher", "slurm", "--array", 2, "--plain")
    assert ended.returncode == 0, ended.stderr
    assert not different(results(tmp_path), of_whole(whole))
    assert sum(line.split()[1] == "done" for line in ended.stderr.splitlines() if line[2:3] == ":") == 3

    assert "holds 3 runs" in bench("status", "small.yaml", "--data", cohorts).stdout, "the folder of jobs is none"
    assert ".jobs" not in bench("clean", "results").stdout
    merged = fb.merge("results", "elsewhere")
    assert len(merged.runs) == 3


@pytest.mark.slow
def test_without_waiting_it_returns_and_status_says_where_the_runs_are(slurm, whole, cohorts, tmp_path):
    (tmp_path / "slow.yaml").write_text(BOARD.format(rounds=40))
    args = ("slow.yaml", "--data", cohorts)
    ended = bench("sweep", *args, "--launcher", "slurm", "--no-wait", "--plain")
    assert ended.returncode == 0, ended.stderr
    assert "see them with: fedmeki-bench status slow.yaml" in ended.stdout
    deadline = time.monotonic() + 60
    while True:
        rows = json.loads(bench("status", *args, "--json").stdout)
        running = [row for row in rows if row["state"] == "running"]
        if running and running[0]["job"].startswith("100_"):
            break
        assert time.monotonic() < deadline
    assert running[0]["host"] == os.uname().nodename
    pid, job = running[0]["pid"], running[0]["job"]
    assert running[0]["status"] == "running"
    assert running[0]["reason"] == f"process {pid} on {os.uname().nodename} (job {job})"
    queued = [row for row in rows if row["state"] == "queued"]
    assert queued
    assert (queued[0]["status"], queued[0]["reason"]) == ("queued", f"job {queued[0]['job']}, pending")

    again = bench("sweep", *args, "--launcher", "slurm", "--no-wait", "--plain")
    assert "of the runs are submitted already" in again.stderr
    assert not list(slurm.folder.glob("job-101/*_[0-9]")), "nothing that is under way is submitted twice"

    os.kill(running[0]["pid"], signal.SIGKILL)
    for row in queued:
        (slurm.folder / "job-100" / row["job"]).unlink(missing_ok=True)  # scancel
    time.sleep(1)
    lost = json.loads(bench("status", *args, "--json").stdout)
    lost = [row for row in lost if row["key"] == running[0]["key"]]
    assert [row["state"] for row in lost] in (["lost"], [None]), lost
    while slurm.states():
        time.sleep(0.2)


@pytest.mark.slow
def test_a_job_that_is_killed_is_a_failed_row_and_its_checkpoint_stays(slurm, cohorts, tmp_path):
    (tmp_path / "slow.yaml").write_text(BOARD.format(rounds=30).replace("majority, fedavg_s, ", ""))
    script = (
        "import sys, fedmeki_bench.runs.jobs as jobs; jobs._LOOK = 0.2; jobs._ASK = 0.5\n"
        "from fedmeki_bench.cli.main import main; main(sys.argv[1:])"
    )
    args = ("sweep", "slow.yaml", "--data", cohorts, "--launcher", "slurm", "--plain")
    started = subprocess.Popen([sys.executable, "-c", script, *map(str, args)], stderr=subprocess.PIPE, text=True)
    os.kill(pid_of_the_run(checkpoint=True), signal.SIGKILL)
    _, said = started.communicate(timeout=60)
    assert started.returncode == 4, said
    assert "its job 100 ended without a record (killed, out of time or memory?): see .jobs/100_0_log.err" in said, said
    (path,) = Path("results").glob("*/record.json")
    assert json.loads(path.read_text())["error"]["type"] == "ProcessKilled"
    assert (path.parent / "checkpoint").is_dir()
    assert not (path.parent / "lease").exists()


def pid_of_the_run(*, checkpoint: bool = False) -> int:
    """The process that runs the board's only run, once it is there."""
    deadline = time.monotonic() + 60
    while True:
        assert time.monotonic() < deadline
        for path in Path("results").glob("*/lease"):
            try:
                if not checkpoint or (path.parent / "checkpoint" / "state.pt").exists():
                    return json.loads(path.read_text())["pid"]
            except (OSError, ValueError):
                continue
        time.sleep(0.02)


@pytest.mark.slow
def test_a_job_whose_time_is_up_is_queued_again_and_goes_on(slurm, cohorts, tmp_path, monkeypatch):
    """Slurm's signal comes in mid-run: the record says interrupted, the job runs again, the bits are the same."""
    board = BOARD.format(rounds=12).replace("majority, fedavg_s, ", "")
    (tmp_path / "slow.yaml").write_text(board)
    (tmp_path / "there").mkdir()
    fb.sweep("slow.yaml", cohorts, results="there/results", jobs=1)
    started = subprocess.Popen(
        command("sweep", "slow.yaml", "--data", cohorts, "--launcher", "slurm", "--plain"),
        stderr=subprocess.PIPE,
        text=True,
    )
    os.kill(pid_of_the_run(checkpoint=True), signal.SIGUSR2)
    _, said = started.communicate(timeout=100)
    assert started.returncode == 0, said
    log = Path("results/.jobs/100_0_log.out").read_text() + Path("results/.jobs/100_0_log.err").read_text()
    assert "Requeued job 100" in log, log
    assert not different(
        results(tmp_path),
        {n: c for n, c in contents(tmp_path / "there" / "results").items() if n.startswith("results")},
    )


@pytest.mark.slow
def test_ctrl_c_leaves_the_jobs_and_says_how_to_see_and_end_them(slurm, cohorts, tmp_path):
    (tmp_path / "slow.yaml").write_text(BOARD.format(rounds=40).replace("majority, fedavg_s, ", ""))
    args = ("sweep", "slow.yaml", "--data", cohorts, "--launcher", "slurm-here", "--plain")
    with Path("said").open("w") as said:  # jobs would hold a pipe open
        started = subprocess.Popen(
            command(*args), stderr=said, start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )  # fmt: skip
        pid_of_the_run()
        os.killpg(started.pid, signal.SIGINT)  # as a terminal does it: to all that it started
        started.wait(60)
    assert started.returncode == 130
    assert "no longer waiting; the 1 jobs run on: see them with `fedmeki-bench status`, end them with `kill " in (
        Path("said").read_text()
    )
    assert "go on with: " in Path("said").read_text()
    again = bench(*args)
    assert again.returncode == 0, again.stderr
    assert "1 of the runs are submitted already" in again.stderr
    (path,) = Path("results").glob("*/record.json")
    assert json.loads(path.read_text())["status"] == "ok"


@pytest.mark.slow
@pytest.mark.parametrize(("memory", "workers"), [((0, 10**9), 1), (None, 2)], ids=["short", "enough"])
def test_processes_take_the_devices_in_turn_and_wait_for_memory(cohorts, tmp_path, monkeypatch, memory, workers):
    (tmp_path / "small.yaml").write_text(BOARD.format(rounds=1).replace("majority, ", ""))
    monkeypatch.setattr("fedmeki_bench.memory.available", lambda: memory)
    begun = []

    class Worker(sweeping._Worker):
        def __init__(self, *args) -> None:
            begun.append(args[3])
            super().__init__(*args)

    monkeypatch.setattr(sweeping, "_Worker", Worker)
    done = fb.sweep(tmp_path / "small.yaml", cohorts, results=tmp_path / "r", device="cpu,cpu:0")  # one job for each
    assert begun == ["cpu", "cpu:0"][:workers]
    assert sorted({record.environment["device"] for record in done}) == begun


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"launcher": "slrm"}, "did you mean 'slurm'"),
        ({"array": 3}, "--array is an option of the launcher slurm or slurm-here, not of local"),
        ({"slurm": {"mem": "1G"}}, "--slurm is an option of the launcher"),
        ({"wait": False}, "--no-wait is an option of the launcher"),
        ({"launcher": "slurm", "jobs": 2}, "--jobs is an option of the launcher local, not of slurm"),
        ({"launcher": "slurm", "slurm": {"partiton": "gpu"}}, "knows no parameter of that name; did you mean 'part"),
        ({"launcher": "slurm", "slurm": {"array-parallelism": "3"}}, "use --array N"),
        ({"launcher": "slurm"}, "no Slurm here"),
        ({"launcher": "slurm", "device": "cuda:0,cuda:1"}, "a job has one device"),
        ({"device": " , "}, "names no device"),
        ({"device": "cpu,cuda:99"}, "can't be used"),
    ],
)  # fmt: skip
def test_what_can_not_be_done_is_refused_in_a_sentence(cohorts, tmp_path, options, says):
    (tmp_path / "small.yaml").write_text(BOARD.format(rounds=1))
    with pytest.raises(UsageError, match=says):
        fb.sweep(tmp_path / "small.yaml", cohorts, results=tmp_path / "r", **options)
    assert not list(tmp_path.glob("r/*/record.json"))


def test_without_the_extra_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(UsageError, match=r"pip install 'fedmeki-bench\[slurm\]'"):
        checked_parameters({})


def test_the_core_does_not_import_it():
    script = "import sys, fedmeki_bench.workflow.boards, fedmeki_bench.cli.boards; sys.exit('submitit' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_parameters_of_slurm_on_the_command_line():
    given = ("partition=gpu,nodelist=a1,a2,time=1-0", "gres=gpu:1")
    assert settings(given) == {"partition": "gpu", "nodelist": "a1,a2", "time": "1-0", "gres": "gpu:1"}
    assert checked_parameters({"cpus-per-task": "4", "mem": "16G", "exclusive": "true", "setup": "a; b"}) == {
        "cpus_per_task": 4, "mem": "16G", "exclusive": True, "setup": ["a; b"],
    }  # fmt: skip
    with pytest.raises(UsageError, match="is not key=value"):
        settings(("partition",))


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("90", 90), ("4:30", 5), ("4:00:00", 240), ("1-0", 1440), ("1-2", 1560), ("1-2:3", 1563), ("2-00:30:01", 2911)],
)
def test_times_are_those_of_slurm(text, minutes):
    assert checked_parameters({"time": text}) == {"time": minutes}
    with pytest.raises(InputError, match="not a time"):
        checked_parameters({"time": f"{text}h"})


def test_a_cluster_that_can_not_be_asked_loses_no_job(tmp_path, monkeypatch):
    job = submitted.Job("slurm", "100_1", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert submitted.states([job]) is None, "no squeue"
    squeue = tmp_path / "squeue"
    for said, answer in (
        ("echo 'Unable to contact slurm controller' >&2; exit 1", None),
        ("echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1", {}),
        ("echo 100_1 RUNNING; echo 100_2 PENDING", {"100_1": "RUNNING"}),
    ):
        squeue.write_text(f"#!/bin/sh\n{said}\n")
        squeue.chmod(0o755)
        assert submitted.states([job]) == answer
