"""Boards with axes on the command line: what is planned, what it will cost, and what is asked before it begins."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace

import pytest

from fedmeki_bench.runs.expected import work
from fedmeki_bench.workflow.boards import planned
from fedmeki_bench.workflow.tuning import plan_trials

STUDY = """\
name: study
profile: demo
tasks: [ecg_abnormal, lung_opacity]
clients: 2
algorithms: [majority, fedavg_s]
options: {rounds: 1, local_epochs: 1}
axes:
  seed: [0, 1]
  lr: [0.001, 0.002]
  picture:
    - {prepare: {image_size: 64}}
    - {prepare: {image_size: 96}}
"""


def test_a_board_is_planned_before_its_first_run(bench, cohorts, tmp_path):
    (tmp_path / "study.yaml").write_text(STUDY)
    said = bench("status", "study.yaml", "--data", cohorts)
    assert "Axes, the base of each first (4 points, one axis moved at a time): seed: seed 0, seed 1; lr:" in said.out
    entries = json.loads(bench("status", "study.yaml", "--data", cohorts, "--json").out)
    points = {(e["algorithms"][0], e["tasks"][0], tuple(e["points"])): e["status"] for e in entries}
    # what an axis does not reach is run once: ECGs have no image size
    assert points["fedavg_s", "ecg_abnormal", ("base", "image_size 96")] == "missing"
    assert points["fedavg_s", "lung_opacity", ("image_size 96",)] == "no data"
    assert points["fedavg_s", "lung_opacity", ("base",)] == "missing"
    assert points["fedavg_s", "lung_opacity", ("lr 0.002",)] == "missing"
    (reason,) = {e["reason"] for e in entries if e["status"] == "no data"}
    assert f"`fedmeki-bench sweep study.yaml --data {cohorts} --raw RAW` prepares it with image_size 96" in reason
    assert f"{len(entries)} runs, {len(entries)} of them to do: hours and megabytes are not known yet" in said.out


def test_what_is_left_is_judged_by_runs_alike():
    def some(n: int, *, done: bool, tasks: str = "a") -> list:
        cost = SimpleNamespace(seconds=720.0, bytes_up=10_000_000, bytes_down=20_000_000)
        row = SimpleNamespace(bound=False, pooled=False, options=())
        entry = SimpleNamespace(
            status="ok" if done else "missing", spec=SimpleNamespace(rule="fedavg", stage="none", tasks=(tasks,)),
            cells=[SimpleNamespace(algorithm=row)], record=SimpleNamespace(cost=cost) if done else None,
        )  # fmt: skip
        return [entry] * n

    found = work([*some(2, done=True), *some(10, done=False), *some(1, done=False, tasks="b")])
    assert found.text == (
        "13 runs, 11 of them to do: about 2.0 h in one process and 300 MB sent, judged by runs alike that are done, "
        "1 runs like none of these not counted"
    )
    assert work(some(3, done=True)).text == "3 runs, 0 of them to do"
    assert work(some(3, done=False)).text.endswith("not known yet, as no run alike is done")


def test_data_prepared_otherwise_than_the_base_says_are_no_data(bench, cohorts, tmp_path):
    (tmp_path / "study.yaml").write_text(STUDY.replace("64", "80"))
    entries = json.loads(bench("status", "study.yaml", "--data", cohorts, "--json").out)
    reasons = {e["reason"] for e in entries if e["tasks"] == ["lung_opacity"] and "base" in e["points"]}
    assert len(reasons) == 1
    assert "was prepared with image_size 64, and the board's axes want image_size 80" in reasons.pop()


def test_trials_are_of_the_base_point(cohorts, tmp_path):
    (tmp_path / "study.yaml").write_text(STUDY.replace(", lung_opacity", "").partition("  picture")[0])
    trials = plan_trials(["fedavg_s"], {"batch_size": [8, 16]}, board=str(tmp_path / "study.yaml"), data=cohorts,
                         results=tmp_path / "results", seed=7)  # fmt: skip
    assert [(e.spec.seed, e.spec.params["profile"]["lr"], e.cells[0].partition) for e in trials.entries] == [
        (7, 0.001, ""), (7, 0.001, ""),
    ]  # fmt: skip


@pytest.mark.slow
def test_more_than_two_hundred_runs_are_begun_only_when_told(bench, cohorts, tmp_path):
    text = STUDY.replace("lung_opacity", "").replace("[0, 1]", str(list(range(101)))).partition("  picture")[0]
    (tmp_path / "study.yaml").write_text(text)
    refused = bench("sweep", "study.yaml", "--data", cohorts, "--results", "results")
    assert refused.code == 2
    assert "study.yaml has 204 runs, 204 of them to do" in refused.err
    assert "more than 200 are begun with --yes only" in refused.err
    assert len(refused.err.strip().splitlines()) == 1
    assert not (tmp_path / "results").exists()
    assert len(planned("study.yaml", cohorts, "results", yes=True).chosen) == 204
    assert len(planned("study.yaml", cohorts, "results", only="fedavg_s").chosen) == 102
    # the control: of a board without axes as many are nobody's question
    (tmp_path / "study.yaml").write_text(text.replace("axes:\n  seed:", "seeds:").partition("  lr")[0])
    assert len(planned("study.yaml", cohorts, "results").chosen) == 202


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("lr: [0.001", "lrr: [0.001", "study.yaml:9: no algorithm of the board has the option 'lrr'; did you mean"),
        ("image_size: 96", "imag_size: 96", "axes.picture.0: it does not say with which imag_size"),
        ("image_size", "imag_size", "study.yaml:11: no dataset of the board's tasks has the option 'imag_size'"),
        ("image_size: 96", "image_size: 3", "study.yaml:12: .*image_size"),
        ("image_size: 96", "image_size: '96'", "study.yaml:12: write image_size: 96 for '96'"),
        ("0.002", "-1", "study.yaml:9: lr -1: .*lr"),
        ("lr: [0.001, 0.002]", "x: [{}, {rows: {majority: {mu: 1}}}]", "yaml:9: majority does not have the option"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_value_is_said_with_its_line(bench, tmp_path, old, new, says):
    (tmp_path / "study.yaml").write_text(STUDY.replace(old, new))
    said = bench("status", "study.yaml")
    assert said.code == 3
    assert re.search(says, said.err), said.err
    assert len(said.err.strip().splitlines()) == 1
