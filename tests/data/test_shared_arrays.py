"""Tasks that store the same samples cost the disk once, and nothing else about them changes."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from fedmeki_bench.builtin.data_prep.ptbxl import PtbXl
from fedmeki_bench.builtin.tasks.ecg_abnormal import EcgAbnormal
from fedmeki_bench.data.cohort import Cohort, prepared
from fedmeki_bench.data.prepare.prepare import prepare
from fedmeki_bench.task import Exclude, Task

OPTIONS = PtbXl.Options()


class Abnormal(EcgAbnormal):
    """The same question under another name."""

    meta = replace(EcgAbnormal.meta, name="twin")


class Young(Abnormal):
    """The same question about some of the patients."""

    meta = replace(EcgAbnormal.meta, name="young")

    def label(self, row):
        return super().label(row) if (row["age"] or 0) < 60 else Exclude("sixty or older")


def run(raw: Path, out: Path, *tasks: Task) -> None:
    prepare(PtbXl(), raw, out, list(tasks), OPTIONS, workers=1)


def array(out: Path, task: str) -> Path:
    return out / task / "signal.npy"


def inodes(out: Path) -> dict[str, int]:
    return {task: array(out, task).stat().st_ino for task in prepared(out)}


def contents(out: Path) -> dict[str, bytes]:
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}


@pytest.fixture
def refused(monkeypatch):
    """A file system that knows no links, or another one than the neighbour's."""

    def refuse(number: int) -> None:
        def link(source, target, **kwargs):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "link", link)

    return refuse


def test_two_tasks_prepared_together_have_one_array(raw, tmp_path):
    run(raw, tmp_path, EcgAbnormal(), Abnormal())
    assert len(set(inodes(tmp_path).values())) == 1
    for task in ("ecg_abnormal", "twin"):
        Cohort.open(tmp_path / task).verify()


def test_a_task_that_comes_later_shares_with_what_stands(raw, tmp_path):
    run(raw, tmp_path, EcgAbnormal())
    before = contents(tmp_path)
    run(raw, tmp_path, EcgAbnormal(), Abnormal())
    assert len(set(inodes(tmp_path).values())) == 1
    assert {name: contents(tmp_path)[name] for name in before} == before
    Cohort.open(tmp_path / "twin").verify()


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EMLINK])
@pytest.mark.parametrize("together", [True, False])
def test_without_links_there_are_copies_and_the_same_bytes(raw, tmp_path, refused, number, together):
    run(raw, tmp_path / "shared", EcgAbnormal(), Abnormal())
    refused(number)
    for tasks in ((EcgAbnormal(), Abnormal()),) if together else ((EcgAbnormal(),), (Abnormal(),)):
        run(raw, tmp_path / "copied", *tasks)
    assert contents(tmp_path / "copied") == contents(tmp_path / "shared")
    assert len(set(inodes(tmp_path / "copied").values())) == 2


def test_other_samples_are_another_array(raw, tmp_path):
    run(raw, tmp_path, EcgAbnormal(), Young())
    assert len(set(inodes(tmp_path).values())) == 2
    assert array(tmp_path, "young").stat().st_size < array(tmp_path, "ecg_abnormal").stat().st_size


def test_preparing_one_anew_leaves_the_others_array_alone(raw, tmp_path):
    mine, out = Path(shutil.copytree(raw, tmp_path / "raw")), tmp_path / "out"
    run(mine, out, EcgAbnormal(), Abnormal())
    held = array(out, "twin").read_bytes()
    (mine / "records100" / "00000" / "00001_lr.dat").unlink()
    run(mine, out, EcgAbnormal())
    assert array(out, "ecg_abnormal").stat().st_size < len(held)
    assert array(out, "twin").read_bytes() == held
    Cohort.open(out / "twin").verify()
    run(mine, out, Abnormal())  # and then they are one again
    assert len(set(inodes(out).values())) == 1


def test_removing_a_task_leaves_the_other_whole(raw, tmp_path):
    run(raw, tmp_path, EcgAbnormal(), Abnormal())
    shutil.rmtree(tmp_path / "ecg_abnormal")
    Cohort.open(tmp_path / "twin").verify()


def test_a_damaged_neighbour_is_not_shared_with(raw, tmp_path):
    run(raw, tmp_path, EcgAbnormal())
    facts = array(tmp_path, "ecg_abnormal").stat()
    with array(tmp_path, "ecg_abnormal").open("rb+") as stream:
        stream.seek(-1, os.SEEK_END)
        last = stream.read(1)[0]
        stream.seek(-1, os.SEEK_END)
        stream.write(bytes([last ^ 1]))
    os.utime(array(tmp_path, "ecg_abnormal"), ns=(facts.st_atime_ns, facts.st_mtime_ns))
    run(raw, tmp_path, Abnormal())
    assert len(set(inodes(tmp_path).values())) == 2
    Cohort.open(tmp_path / "twin").verify()


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_shared_arrays import Abnormal, EcgAbnormal, run
from fedmeki_bench.data.prepare import shared_arrays
plain = shared_arrays.link_or_copy
def killed(source, target):
    plain(source, target)
    os.kill(os.getpid(), signal.SIGKILL)
shared_arrays.link_or_copy = killed
run(Path(sys.argv[2]), Path(sys.argv[3]), EcgAbnormal(), Abnormal())
"""


def test_killed_right_after_a_link_leaves_no_cohort_and_the_next_prepare_is_whole(raw, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(Path(__file__).parent), str(raw), str(tmp_path / "out")], check=False
    )
    assert done.returncode == -signal.SIGKILL
    assert prepared(tmp_path / "out") == []
    run(raw, tmp_path / "out", EcgAbnormal(), Abnormal())
    run(raw, tmp_path / "new", EcgAbnormal(), Abnormal())
    assert contents(tmp_path / "out") == contents(tmp_path / "new")
    assert len(set(inodes(tmp_path / "out").values())) == 1
