"""One wrong task among others: these are prepared, it is named, and the command ends with 3."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from fedmeki_bench import registry
from fedmeki_bench.builtin.data_prep.ptbxl import PtbXl
from fedmeki_bench.builtin.tasks.ecg_abnormal import EcgAbnormal
from fedmeki_bench.data.prepare.prepare import prepare
from fedmeki_bench.errors import InputError, TasksFailed
from fedmeki_bench.task import Exclude


def task(name: str, act: str, **meta):
    class Wrong(EcgAbnormal):
        def label(self, row):
            return eval(act)

    Wrong.meta = replace(EcgAbnormal.meta, name=name, **meta)
    return Wrong()


WRONG = {
    "seven": ("7", "labelled '1' 7, not 0 or 1"),
    "none": ("None", "labelled '1' None, not 0 or 1"),
    "text": ("'yes'", "labelled '1' 'yes', not 0 or 1"),
    "zero_division": ("1 // 0", "ZeroDivisionError in <string>, line 1: "),
    "exits": ("exit(1)", "SystemExit in "),
    "nobody": ("Exclude('not for me')", "not for me"),
}


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.mark.parametrize("name", WRONG)
def test_the_others_are_prepared_and_the_wrong_one_is_named(raw, out, name):
    act, says = WRONG[name]
    assert Exclude  # the acts may name it
    with pytest.raises(TasksFailed) as caught:
        prepare(PtbXl(), raw, out, [task(name, act), EcgAbnormal()], PtbXl.Options(), workers=1)
    assert list(caught.value.failed) == [name]
    assert says in caught.value.failed[name]
    assert caught.value.exit_code == 3
    assert [cohort.name for cohort in caught.value.prepared] == ["ecg_abnormal"]
    assert sorted(p.name for p in out.iterdir() if not p.name.startswith(".")) == ["ecg_abnormal"]
    assert f"1 task could not be prepared, the other 1 were: {name}: " in str(caught.value)


def test_the_others_are_as_they_would_be_alone(raw, data, out):
    with pytest.raises(TasksFailed):
        prepare(PtbXl(), raw, out, [task("seven", "7"), EcgAbnormal()], PtbXl.Options(), workers=1)
    for path in (data / "ecg_abnormal").iterdir():
        assert path.read_bytes() == (out / "ecg_abnormal" / path.name).read_bytes()


def test_its_cohort_of_before_stays(raw, out):
    (before,) = prepare(PtbXl(), raw, out, [task("mine", "1")], PtbXl.Options(), workers=1)
    options = PtbXl.Options(split_seed=1)
    with pytest.raises(TasksFailed):
        prepare(PtbXl(), raw, out, [task("mine", "7"), EcgAbnormal()], options, workers=1)
    (again,) = prepare(PtbXl(), raw, out, [task("mine", "1")], PtbXl.Options(), workers=1)
    assert again.unchanged
    assert again.card_hash == before.card_hash


def test_a_modality_that_nobody_offers(raw, out):
    with pytest.raises(TasksFailed, match="smell: task 'smell' wants modality 'odour'"):
        prepare(PtbXl(), raw, out, [task("smell", "1", modalities=("odour",)), EcgAbnormal()], PtbXl.Options())


def test_where_nothing_is_left_for_anybody_the_input_is_to_blame(raw, out):
    with pytest.raises(InputError) as caught:
        prepare(PtbXl(), raw, out, [task("nobody", "Exclude('x')")], PtbXl.Options(), workers=1)
    assert not isinstance(caught.value, TasksFailed)


MODULE = """
from dataclasses import replace

from fedmeki_bench.builtin.tasks.ecg_abnormal import EcgAbnormal


class Bad(EcgAbnormal):
    meta = replace(EcgAbnormal.meta, name="zz_bad", title="Bad")

    def label(self, row):
        return {"a": 1}[row["sample_id"]]


class Lost(EcgAbnormal):
    meta = replace(EcgAbnormal.meta, name="zz_lost", title="Lost", dataset="ptbxll")


class Misnamed(EcgAbnormal):
    meta = replace(EcgAbnormal.meta, name="ecg_abnormal", title="Mine")


class Unmade(EcgAbnormal):
    meta = replace(EcgAbnormal.meta, name="zz_unmade", title="Unmade")

    def __init__(self):
        raise OSError("no table of codes")
"""


@pytest.fixture
def bench(tmp_path):
    """The command line in a process of its own, where a foreign distribution declares four wrong tasks."""
    root = tmp_path / "foreign"
    info = root / "foreign-0.1.dist-info"
    info.mkdir(parents=True)
    (root / "foreign.py").write_text(MODULE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: foreign\nVersion: 0.1\n")
    points = {"zz_bad": "Bad", "zz_lost": "Lost", "zz_misnamed": "Misnamed", "zz_unmade": "Unmade"}
    lines = [f"{name} = foreign:{cls}" for name, cls in points.items()]
    (info / "entry_points.txt").write_text("\n".join(["[fedmeki_bench.tasks]", *lines, ""]))
    path = os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])])

    def call(*args: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "fedmeki_bench", *map(str, args)], cwd=tmp_path, capture_output=True, text=True,
            env={**os.environ, "PYTHONPATH": path}, timeout=180, check=False,
        )  # fmt: skip

    return call


@pytest.mark.slow
def test_prepare_all_names_the_wrong_ones_and_how_to_go_on(bench, raw, tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "ptbxl").symlink_to(raw)
    ended = bench("prepare", "all", "--raw", "raw", "--out", "data", "--plain")
    assert ended.returncode == 3
    assert "Traceback" not in ended.stderr
    error, again = ended.stderr.strip().splitlines()[-2:]
    good = [name for name, cls in registry.working("tasks").items() if cls.meta.dataset == "ptbxl"]
    assert f"error: 4 tasks could not be prepared, the other {len(good)} were: " in error
    for says in (
        "zz_bad: KeyError in foreign.py, line 11: '1'", "zz_unmade: OSError in foreign.py, line 26: no table of codes",
        "zz_lost: no dataset is called 'ptbxll'; did you mean 'ptbxl'",
        "zz_misnamed: it is registered under this name, and its meta names it 'ecg_abnormal'",
    ):  # fmt: skip
        assert says in error
    assert again == "go on with: " + " ".join(
        [sys.executable, "-m fedmeki_bench prepare all --raw raw --out data --plain"]
    )
    assert "ecg_abnormal" in ended.stdout
    listed = json.loads(bench("list", "tasks", "--data", "data", "--json").stdout)
    states = {row["name"]: row["cohort"] for row in listed}
    assert {states[name] for name in good} == {"prepared"}
    assert states["zz_bad"] == states["lung_opacity"] == "lacking"
    (tmp_path / "b.yaml").write_text(
        "name: b\nprofile: demo\nseeds: [0]\nclients: 2\ntasks: [ecg_abnormal, zz_bad]\nalgorithms: [majority]\n"
    )
    swept = bench("sweep", "b.yaml", "--jobs", 1, "--plain")
    assert swept.returncode == 0, swept.stderr
    assert "left out: no cohort for task 'zz_bad' in data" in swept.stderr


@pytest.mark.slow
def test_another_dataset_does_not_mind(bench, tmp_path):
    assert bench("synth", "rsna", "--out", "raw", "--size", 40).returncode == 0
    ended = bench("prepare", "rsna", "--raw", "raw", "--out", "data", "-o", "image_size=32", "--plain")
    assert ended.returncode == 0, ended.stderr
