"""Jobs of a cluster that run cells of a board: which were submitted, and which of them are still there.

What is known of them lies in ``RESULTS/.jobs``, beside submitit's files and the jobs' own output: a file per submission
with the job of every run. Whether a job has ended is seen from the result that it leaves there; whether one that has
not is still in the queue, the cluster is asked.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from fedmeki_bench.files import write_atomically
from fedmeki_bench.processes import began

JOBS = ".jobs"
"""The folder of jobs in a folder of results; its name begins as no run's does."""

_SUBMISSION = "submission-{}.json"
_PATIENCE = 60.0  # seconds that a cluster has to answer


@dataclass(frozen=True, slots=True)
class Job:
    """A job that was to carry out a run.

    Attributes:
        launcher: who submitted it.
        id: its name on the cluster, such as ``123_4``.
        folder: where its output lies.
        submitted: when.
    """

    launcher: str
    id: str
    folder: Path
    submitted: str = ""

    @property
    def ended(self) -> bool:
        """Whether it left a result, of success or of an error; one that was killed does not."""
        return (self.folder / f"{self.id}_0_result.pkl").exists()

    @property
    def output(self) -> str:
        """The file in its folder that holds what it said on stderr."""
        return f"{self.id}_0_log.err"


def remember(root: Path, jobs: Mapping[str, Job]) -> None:
    """Write down a submission.

    Args:
        jobs: key of a run -> its job.
    """
    for launcher in {job.launcher for job in jobs.values()}:
        now = datetime.now(timezone.utc).isoformat(timespec="microseconds")
        own = {key: job.id for key, job in jobs.items() if job.launcher == launcher}
        first = next(iter(own.values())).split("_")[0]
        content = {"launcher": launcher, "submitted": now, "jobs": own}
        write_atomically(root / JOBS / _SUBMISSION.format(first), json.dumps(content, indent=1).encode())


def submitted(root: Path) -> dict[str, Job]:
    """Key of a run -> the job that was submitted for it last."""
    found: dict[str, Job] = {}
    for path in sorted((root / JOBS).glob(_SUBMISSION.format("*"))):
        try:
            said = json.loads(path.read_text(encoding="utf-8"))
            for key, job in said["jobs"].items():
                if key not in found or found[key].submitted <= said["submitted"]:
                    found[key] = Job(str(said["launcher"]), str(job), path.parent, str(said["submitted"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):  # nothing hangs on it but what is shown
            continue
    return found


def states(jobs: Iterable[Job]) -> dict[str, str] | None:
    """Id -> state of those jobs that have not ended, as their cluster calls it; None if it can't be asked."""
    asked: dict[str, list[str]] = {}
    for job in jobs:
        asked.setdefault(job.launcher, []).append(job.id)
    found: dict[str, str] = {}
    for launcher, ids in asked.items():
        answer = _ASK[launcher](ids) if launcher in _ASK else None
        if answer is None:
            return None
        found |= answer
    return found


def _squeue(ids: list[str]) -> dict[str, str] | None:
    if shutil.which("squeue") is None:
        return None
    arrays = sorted({one.split("_")[0] for one in ids})
    command = ["squeue", "--noheader", "--array", "--format=%i %T", f"--jobs={','.join(arrays)}"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if answer.returncode and "Invalid job id" not in answer.stderr:  # the cluster is busy, which says nothing of jobs
        return None
    lines = (line.split() for line in answer.stdout.splitlines())
    return {line[0]: line[1] for line in lines if len(line) == 2 and line[0] in ids}


def _processes(ids: list[str]) -> dict[str, str] | None:
    """Of jobs that are processes of this machine."""
    return {one: "RUNNING" for one in ids if one.isdecimal() and began(int(one)) is not None}


_ASK: dict[str, Callable[[list[str]], dict[str, str] | None]] = {"slurm": _squeue, "slurm-here": _processes}
