"""``check --raw FOLDER``: what a stand-in can't show is asked of a release; without one, the clause says so."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from fedmeki_bench import registry
from fedmeki_bench.builtin.tasks.covid19 import Covid19
from fedmeki_bench.conformance import check
from fedmeki_bench.conformance.releases import contents

from .wrong_datasets import Visits
from .wrong_tasks import OneClass

TASK = '''
"""Pre-excitation on PTB-XL: a finding that the stand-in does not draw."""

from fedmeki_bench.api import Clinical, Task, TaskMeta


class Wpw(Task):
    """Does the ECG show a Wolff-Parkinson-White pattern?"""

    meta = TaskMeta(
        name="wpw", version=1, title="WPW pattern", dataset="ptbxl", modalities=("signal",), kind="binary",
        role="training", clinical=Clinical("Is there a WPW pattern?", "everybody recorded", "when it is read"),
        licence="CC BY 4.0", access="open", citation="Wagner 2020", grouping="patient", positive="WPW is stated",
        asks="is there a WPW pattern",
    )

    def label(self, row):
        return int("WPW" in row["scp_codes"])

    def prompt(self, question):
        return f"Above is an electrocardiogram. Yes or no, {question}"
'''


@pytest.fixture
def task(tmp_path):
    path = tmp_path / "wpw.py"
    path.write_text(TASK)
    return f"{path}:Wpw"


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    """A folder as PTB-XL is released, in which every fourth record has a statement that no stand-in holds."""
    raw = tmp_path_factory.mktemp("release")
    registry.load("datasets", "ptbxl")().synthesize(raw, size=80, seed=3)
    (raw / "SYNTHETIC.json").unlink()
    table = pd.read_csv(raw / "ptbxl_database.csv", dtype=str, keep_default_na=False)
    table.loc[::4, "scp_codes"] = "{'WPW': 100.0, 'SR': 0.0}"
    table.to_csv(raw / "ptbxl_database.csv", index=False)
    return raw


def test_what_the_stand_in_lacks_is_undecided_and_no_failure(bench, task):
    code, out, err = bench("check", task)
    assert code == 0, err
    assert "? labels" in out
    assert (
        "the stand-in of 'ptbxl' has only rows with the label 0, 120 of them, and a real release may have others: "
        "ask again with --raw and a folder of ptbxl"
    ) in out
    assert "7 clauses hold, 0 without anything to check, 1 undecided" in out


def test_a_release_of_ones_own_decides_it(bench, task, release):
    before = contents(release)
    code, out, err = bench("check", task, "--raw", release, "--json")
    assert code == 0, err
    assert {row["status"] for row in json.loads(out)} == {"passed"}
    assert contents(release) == before


def test_no_row_at_all_is_undecided_with_the_commonest_reason(bench, tmp_path):
    path = tmp_path / "wpw.py"
    path.write_text(TASK.replace("Clinical,", "Clinical, Exclude,").replace(
        "return int(", "return Exclude('nobody looked for it') if 'WPW' not in row['scp_codes'] else int(",
    ))  # fmt: skip
    code, out, err = bench("check", f"{path}:Wpw", "--json")
    assert code == 0, err
    rows = {row["clause"]: row for row in json.loads(out)}
    assert {name for name, row in rows.items() if row["status"] == "undecided"} == {"labels", "splits", "metrics"}
    assert "no row for this task (120 of 120 are left out because 'nobody looked for it')" in rows["labels"]["found"]


def test_a_release_with_one_class_is_a_failure(tmp_path):
    raw = tmp_path / "covqu"
    raw.mkdir()
    registry.load("datasets", "covqu")().synthesize(raw, size=24, seed=1)
    assert {o.status for o in check(Covid19, raw=raw)} == {"passed"}
    failed = {o.clause: o.found for o in check(OneClass, raw=raw) if o.status == "failed"}
    assert set(failed) == {"labels"}
    assert "has only rows with the label 1" in failed["labels"]
    assert "ask again" not in failed["labels"]


@pytest.mark.parametrize(
    ("plugin", "folder", "code", "sentence"),
    [
        ("fedavg", "", 2, "one of the rules, which are tried on generated data: --raw is for tasks and datasets"),
        ("ecg_abnormal", "absent", 3, "is no folder; name the one that 'fedmeki-bench prepare' would read"),
        ("ecg_abnormal", "", 3, "lacks 'ptbxl_database.csv'"),
        ("ptbxl", "", 3, "lacks 'ptbxl_database.csv'"),
    ],
)  # fmt: skip
def test_a_folder_that_is_not_the_datasets_ends_before_any_clause(bench, tmp_path, plugin, folder, code, sentence):
    ended, out, err = bench("check", plugin, "--raw", tmp_path / folder)
    assert ended == code
    assert sentence in err
    assert out == ""


class LosesNameless(Visits):
    """Forgets rows without a patient, which its stand-in has none of."""

    def table(self, raw, options, drops):
        table = super().table(raw, options, drops)
        return table[table["patient_id"] != "nobody"]


@pytest.fixture
def visits(tmp_path):
    raw = tmp_path / "visits"
    raw.mkdir()
    Visits().synthesize(raw, size=40, seed=2)
    table = raw / "visits.csv"
    head, first, *rest = table.read_text().splitlines()
    table.write_text("\n".join([head, "nobody," + first.split(",", 1)[1], *rest]) + "\n")
    return raw


def test_a_dataset_is_read_from_ones_own_release_and_nothing_is_written_there(visits):
    before = contents(visits)
    (visits / "SYNTHETIC.json").unlink()
    before.pop("SYNTHETIC.json")
    assert {o.clause: o.found for o in check(Visits, raw=visits) if o.status != "passed"} == {}
    assert contents(visits) == before


def test_a_mistake_that_only_a_release_shows_is_found_there(visits):
    assert {o.status for o in check(LosesNameless)} == {"passed"}
    failed = {o.clause: o.found for o in check(LosesNameless, raw=visits) if o.status == "failed"}
    assert "1 are not accounted for" in failed["counted"]
