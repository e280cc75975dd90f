from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedmeki_bench.builtin.data_prep.ptbxl import PtbXl
from fedmeki_bench.builtin.tasks.ecg_abnormal import EcgAbnormal
from fedmeki_bench.data.cohort import Cohort
from fedmeki_bench.data.contract import ArraySpec, DatasetMeta, DatasetPreparer, Decoded, Dropped
from fedmeki_bench.data.prepare.prepare import prepare
from fedmeki_bench.errors import InputError, RunFailed
from fedmeki_bench.task import Clinical, Exclude, Task, TaskMeta

ROOT = Path(__file__).parents[2]
OPTIONS = PtbXl.Options()


def run(raw: Path, out: Path, options=OPTIONS, **kwargs):
    return prepare(PtbXl(), raw, out, [EcgAbnormal()], options, workers=1, **kwargs)[0]


def visible(out: Path) -> list[str]:
    return sorted(p.name for p in out.iterdir() if p.name != ".prepare.lock")


def test_what_changes_the_digest(raw, tmp_path):
    mine, out = Path(shutil.copytree(raw, tmp_path / "raw")), tmp_path / "out"
    first = run(mine, out)
    for path in mine.rglob("*"):
        os.utime(path)
    assert run(mine, out).unchanged
    assert run(Path(shutil.copytree(mine, tmp_path / "elsewhere")), out).unchanged
    other = run(mine, out, PtbXl.Options(split_seed=1))
    assert not other.unchanged
    assert other.card_hash != first.card_hash
    (mine / "records100" / "00000" / "00001_lr.dat").unlink()
    assert run(mine, out).card["rows"]["dropped"] == 1
    (out / "ecg_abnormal" / "signal.npy").unlink()
    assert not run(mine, out).unchanged
    assert visible(out) == ["ecg_abnormal"]


def test_prepared_twice_gives_the_same_bytes(raw, data, tmp_path):
    other = run(raw, tmp_path).path
    for path in (data / "ecg_abnormal").iterdir():
        assert path.read_bytes() == (other / path.name).read_bytes()


def test_an_error_leaves_the_old_cohort_and_nothing_else(raw, tmp_path):
    mine, out = Path(shutil.copytree(raw, tmp_path / "raw")), tmp_path / "out"
    before = run(mine, out).card_hash
    table = mine / "ptbxl_database.csv"
    whole = table.read_text()
    for text, sentence in (
        (whole[: len(whole) // 2], "cut in mid-line"),
        (whole.replace(",", ";"), "separated by ';'"),
    ):
        table.write_text(text)
        with pytest.raises(InputError, match=rf"ptbxl_database\.csv.*{sentence}"):
            run(mine, out)
        assert visible(out) == ["ecg_abnormal"]
        assert Cohort.open(out / "ecg_abnormal").card_hash == before


def test_interrupted_leaves_nothing(raw, tmp_path):
    def stop(done, total, text):
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(raw, tmp_path, progress=stop)
    assert visible(tmp_path) == []


SCRIPT = """
import os, signal, sys
from pathlib import Path
from fedmeki_bench.builtin.data_prep.ptbxl import PtbXl
from fedmeki_bench.data.prepare.prepare import prepare
from fedmeki_bench.builtin.tasks.ecg_abnormal import EcgAbnormal
def progress(done, total, text):
    if sys.argv[3] == "kill" and done:
        os.kill(os.getpid(), signal.SIGKILL)
raw, out = Path(sys.argv[1]), Path(sys.argv[2])
prepare(PtbXl(), raw, out, [EcgAbnormal()], PtbXl.Options(), workers=1, progress=progress)
"""


def start(raw: Path, out: Path, how: str) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", SCRIPT, str(raw), str(out), how], cwd=ROOT)


def test_killed_leaves_no_cohort_and_the_next_prepare_works(raw, data, tmp_path):
    assert start(raw, tmp_path, "kill").wait(60) == -signal.SIGKILL
    assert not (tmp_path / "ecg_abnormal").exists()
    assert [name for name in visible(tmp_path) if ".partial-" in name]
    assert not run(raw, tmp_path).unchanged
    assert visible(tmp_path) == ["ecg_abnormal"]


def test_killed_between_two_renames_gives_the_old_cohort_back(raw, data, tmp_path):
    shutil.copytree(data / "ecg_abnormal", tmp_path / ".ecg_abnormal.old-99999999")
    assert run(raw, tmp_path).unchanged
    assert visible(tmp_path) == ["ecg_abnormal"]


def test_two_at_once(raw, data, tmp_path):
    both = [start(raw, tmp_path, "go") for _ in range(2)]
    assert [process.wait(60) for process in both] == [0, 0]
    assert visible(tmp_path) == ["ecg_abnormal"]
    cohort = Cohort.open(tmp_path / "ecg_abnormal")
    cohort.verify()
    assert cohort.card_hash == Cohort.open(data / "ecg_abnormal").card_hash


class Toy(DatasetPreparer):
    """Rows made in memory: two samples per source, three sources per group, one source unreadable."""

    meta: ClassVar[DatasetMeta] = DatasetMeta(
        name="toy", version=1, title="toy", modalities=("image",), grouping="patient", licence="", access="",
        citation="", url="", real_layout="nothing",
    )  # fmt: skip
    decoded: ClassVar[list[str]] = []
    wrong: ClassVar[str] = ""

    def sources(self, raw, options):
        return []

    def table(self, raw, options, drops):
        import pandas as pd

        drops.read = 60 + (self.wrong == "lost")
        return pd.DataFrame(
            {
                "sample_id": [str(k // (2 if self.wrong == "twice" else 1)) for k in range(60)],
                "group_id": [f"p{k // 6}" for k in range(60)],
                "site": "s",
                "source": [f"i{k // 2:02d}" for k in range(60)],
                "value": list(range(60)),
            }
        )

    def arrays(self, options):
        return {"image": ArraySpec((2,), "float32")}

    def decode(self, raw, source, options):
        self.decoded.append(source)
        if source == "i03":
            raise Dropped("bad picture")
        value = np.float64 if self.wrong == "dtype" else np.float32
        number = int(source[1:])
        return Decoded({"image": np.full(2, number, dtype=value)}, {"site": f"s{number % 2}"})


def meta(name: str, **kwargs) -> TaskMeta:
    facts = {
        "version": 1, "title": name, "dataset": "toy", "modalities": ("image",),
        "kind": "binary",
        "role": "training", "clinical": Clinical("what?", "", ""), "licence": "",
        "access": "", "citation": "", "grouping": "patient",
    } | kwargs  # fmt: skip
    return TaskMeta(name=name, **facts)


class Odd(Task):
    meta = meta("odd")

    def label(self, row):
        return Exclude("too big") if row["value"] >= 50 else row["value"] % 2


class Ask(Task):
    meta = meta("ask", kind="generation", role="zero_shot")

    def question(self, row):
        return f"which? {row['value']}"

    def answer(self, row):
        return f"it is {row['value']}"


def test_tasks_share_decoding_and_splits(tmp_path):
    Toy.decoded.clear()
    odd, ask = prepare(Toy(), tmp_path, tmp_path / "out", [Odd(), Ask()], Toy.Options(), workers=1)
    assert sorted(Toy.decoded) == [f"i{k:02d}" for k in range(30)]  # each once for both tasks
    assert odd.card["rows"] == {"read": 60, "merged": 0, "kept": 48, "dropped": 2, "excluded": 10}
    assert odd.card["excluded"] == {"too big": 10}
    assert odd.card["dropped"]["bad picture"]["examples"] == ["6 (i03)", "7 (i03)"]
    assert ask.card["rows"]["kept"] == 58
    assert ask.card["splits"]["test"]["samples"] == 58
    assert ask.card["split_mode"] == "test only"
    part = Cohort.open(odd.path).part("client")
    batch = part.batch(range(len(part)))["image"]
    assert batch[:, 0].tolist() == [int(sample) // 2 for sample in part.sample_ids]
    assert set(part.sites) == {"s0", "s1"}
    cohort = Cohort.open(ask.path)
    assert cohort._part("test").labels is None
    assert cohort._part("test").answers[0] == "it is 0"
    again = prepare(Toy(), tmp_path, tmp_path / "out", [Odd(), Ask()], Toy.Options(), workers=1)
    assert [cohort.unchanged for cohort in again] == [True, True]


@pytest.mark.parametrize(("wrong", "sentence"), [("lost", "lost rows"), ("twice", "twice"), ("dtype", "float64")])
def test_a_wrong_preparer_is_caught(tmp_path, monkeypatch, wrong, sentence):
    monkeypatch.setattr(Toy, "wrong", wrong)
    with pytest.raises(RunFailed, match=sentence):
        prepare(Toy(), tmp_path, tmp_path / "out", [Odd()], Toy.Options(), workers=1)
    assert visible(tmp_path / "out") == []


def test_no_task_no_room(tmp_path):
    with pytest.raises(InputError, match="no known task reads dataset 'toy'"):
        prepare(Toy(), tmp_path, tmp_path / "out", [EcgAbnormal()], Toy.Options())
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write into"):
        prepare(Toy(), tmp_path, tmp_path / "file" / "out", [Odd()], Toy.Options())


edits = st.lists(
    st.tuples(
        st.sampled_from(["cut", "delete", "insert", "repeat"]),
        st.floats(0, 1),
        st.text(alphabet=",;\"'\n\r{}[]():.-0129eNnaO \0é/\\", min_size=1, max_size=6),
    ),
    min_size=1,
    max_size=4,
)


def mutated(data: bytes, steps: list[tuple[str, float, str]]) -> bytes:
    for how, where, text in steps:
        at = int(where * len(data))
        if how == "cut":
            data = data[: max(at, 1)] if where > 0.5 else data[:-1]
        elif how == "delete":
            data = data[:at] + data[at + len(text) :]
        elif how == "insert":
            data = data[:at] + text.encode()[: len(text)] + data[at:]
        else:
            line = data[:at].rfind(b"\n") + 1
            data = data[:at] + b"\n" + data[line:]
    return data


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=edits)
def test_any_table_is_read_refused_or_counted(raw, tmp_path, steps):
    whole = (raw / "ptbxl_database.csv").read_bytes()
    short = b"".join(whole.splitlines(keepends=True)[:13])
    mine, out = tmp_path / "mutant", tmp_path / "out"
    mine.mkdir(exist_ok=True)
    if not (mine / "records100").exists():
        (mine / "records100").symlink_to(raw / "records100")
    (mine / "ptbxl_database.csv").write_bytes(mutated(short, steps))
    shutil.rmtree(out, ignore_errors=True)
    try:
        rows = run(mine, out).card["rows"]
    except InputError as error:
        told = str(error)
    else:
        assert rows["read"] == rows["kept"] + rows["dropped"] + rows["excluded"] > 0
        return
    assert "\n" not in told
    assert not (out / "ecg_abnormal").exists()
