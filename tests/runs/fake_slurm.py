"""Slurm's commands as far as submitit and this project use them: they keep what they are given, and jobs are processes.

An array's tasks run one after another, so that some are in the queue while one runs. A job that asks to be queued again
runs again at once.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SBATCH = """
import os, shutil, subprocess, sys
from pathlib import Path
here = Path(__file__).parent
number = 100 + len(list(here.glob("job-*")))
job = here / f"job-{number}"
job.mkdir()
shutil.copy(sys.argv[1], job / "script")
array = [line.split("=")[1].split("%")[0] for line in open(sys.argv[1]) if line.startswith("#SBATCH --array=")]
tasks = range(int(array[0].split("-")[1]) + 1) if array else [None]
names = [str(number) if task is None else f"{number}_{task}" for task in tasks]
for name in names:
    (job / name).write_text("PENDING")
print("Submitted batch job", number)
sys.stdout.flush()
if os.environ.get("FAKE_SLURM_IS_FULL") or os.fork():
    os._exit(0)
os.setsid()
out = os.open(job / "slurmd", os.O_CREAT | os.O_WRONLY)
os.dup2(out, 1), os.dup2(out, 2)
for name in names:
    if not (job / name).exists():  # cancelled
        continue
    while True:
        (job / name).write_text("RUNNING")
        ids = name.split("_")
        env = dict(os.environ, SLURM_JOB_ID=str(1000 + number), SLURM_NTASKS="1", SLURM_JOB_NUM_NODES="1",
                   SLURM_NODEID="0", SLURM_PROCID="0", SLURM_LOCALID="0", SLURM_JOB_NODELIST="node1")
        env |= {"SLURM_ARRAY_JOB_ID": ids[0], "SLURM_ARRAY_TASK_ID": ids[1]} if ids[1:] else {"SLURM_JOB_ID": name}
        subprocess.run(["bash", str(job / "script")], env=env)
        if not (job / f"{name}.requeue").exists():
            break
        (job / f"{name}.requeue").unlink()
    (job / name).unlink(missing_ok=True)
"""
SQUEUE = """
import sys
from pathlib import Path
(asked,) = [a.split("=")[1].split(",") for a in sys.argv if a.startswith("--jobs=")]
for job in asked:
    for path in sorted(Path(__file__).parent.glob(f"job-{job}/{job}*")):
        if "." not in path.name:
            print(path.name, path.read_text())
"""
SCONTROL = """
import sys
from pathlib import Path
assert sys.argv[1] == "requeue"
name = sys.argv[2]
(Path(__file__).parent / f"job-{name.split('_')[0]}" / f"{name}.requeue").touch()
"""
SRUN = """
import os, sys
before = {i + 1 for i, a in enumerate(sys.argv) if a in ("--output", "--error")}
at = next(i for i, a in enumerate(sys.argv) if i and i not in before and not a.startswith("-"))
ids = os.environ.get("SLURM_ARRAY_JOB_ID", os.environ["SLURM_JOB_ID"]), os.environ.get("SLURM_ARRAY_TASK_ID", "")
for number, option in ((1, "--output"), (2, "--error")):
    path = sys.argv[sys.argv.index(option) + 1].replace("%A_%a", "_".join(ids)).replace("%j", ids[0]).replace("%t", "0")
    os.dup2(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND), number)
os.execvp(sys.argv[at], sys.argv[at:])
"""


class FakeSlurm:
    """The commands in a folder that is put first on PATH."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        for name, text in (("sbatch", SBATCH), ("squeue", SQUEUE), ("scontrol", SCONTROL), ("srun", SRUN)):
            (folder / name).write_text(f"#!{sys.executable}\n{text}")
            (folder / name).chmod(0o755)

    @property
    def env(self) -> dict[str, str]:
        return {**os.environ, "PATH": f"{self.folder}{os.pathsep}{os.environ['PATH']}"}

    def script(self, job: int = 100) -> list[str]:
        """What was given to sbatch."""
        return (self.folder / f"job-{job}" / "script").read_text().splitlines()

    def states(self, job: int = 100) -> str:
        return subprocess.run(
            ["squeue", f"--jobs={job}"], env=self.env, capture_output=True, text=True, check=True
        ).stdout
