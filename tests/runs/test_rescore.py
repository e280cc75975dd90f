"""Metrics are computed anew from stored predictions, without training; what was edited or damaged is seen."""

from __future__ import annotations

import json

import pytest

from fedmeki_bench.records.record import Record
from fedmeki_bench.records.store import RecordStore

METRIC = """from dataclasses import replace
from fedmeki_bench.evaluation.metrics import AUROC


def halved(labels, scores, weights):
    return AUROC.function(labels, scores, weights) / {by}


HALVED = replace(AUROC, name="halved", function=halved, version={version})
"""

TASK = '''from dataclasses import replace
from fedmeki_bench.builtin.tasks.ecg_abnormal import EcgAbnormal


class Halved(EcgAbnormal):
    """The built-in task under another metric."""

    meta = replace(EcgAbnormal.meta, name="halved_task", metrics=("halved", "f1"))
'''


@pytest.fixture
def bench(distribution):
    distribution.declare(metrics={"halved": "halved:HALVED"}, tasks={"halved_task": "halved_task:Halved"})
    distribution.write("halved.py", METRIC.format(by=2, version=1))
    distribution.write("halved_task.py", TASK)
    assert distribution.bench("synth", "ptbxl", "--out", "raw", "--size", 80).returncode == 0
    assert distribution.bench("prepare", "ptbxl", "--raw", "raw", "--out", "data", "--plain").returncode == 0
    return distribution


def run(bench) -> dict:
    ended = bench.bench(
        "run", "fedavg_s", "--tasks", "halved_task", "--data", "data", "--clients", 2, "-o", "rounds=1", "--json"
    )
    assert ended.returncode == 0, ended.stderr
    (record,) = json.loads(ended.stdout)
    return record


@pytest.mark.slow
@pytest.mark.parametrize(
    "change", [{"by": 4, "version": 1}, pytest.param({"by": 4, "version": 2}, marks=pytest.mark.slow)]
)
def test_an_edited_metric_is_scored_anew_without_training(bench, change):
    before = run(bench)
    bench.write("halved.py", METRIC.format(**change))
    told = bench.bench("rescore", "results", "--json")
    assert told.returncode == 0, told.stderr
    (row,) = json.loads(told.stdout)
    assert row["state"] == "rescored"
    assert row["values changed"] == 1
    after = RecordStore(bench.out / "results").load(before["key"])
    assert after.evaluations[0].metrics["halved"].value == before["evaluations"][0]["metrics"]["halved"]["value"] / 2
    assert after.finished == Record.model_validate(before).finished, "nothing was trained"
    assert [row["state"] for row in json.loads(bench.bench("rescore", "results", "--json").stdout)] == ["unchanged"]


@pytest.mark.slow
def test_run_scores_a_finished_run_anew_by_itself(bench):
    before = run(bench)
    bench.write("halved.py", METRIC.format(by=4, version=2))
    after = run(bench)
    assert after["key"] == before["key"], "metrics are no part of what names a run"
    assert after["evaluations"][0]["metrics"]["halved"]["value"] == (
        before["evaluations"][0]["metrics"]["halved"]["value"] / 2
    )
    assert after["finished"] == before["finished"]


@pytest.mark.slow
def test_rescoring_without_predictions_changes_nothing_and_says_so(bench):
    before = run(bench)
    bench.write("halved.py", METRIC.format(by=4, version=2))
    folder = bench.out / "results" / before["key"]
    text = (folder / "record.json").read_text()
    (path,) = (folder / "predictions").iterdir()
    path.unlink()
    told = bench.bench("rescore", "results")
    assert told.returncode == 1
    assert "the predictions are missing" in told.stderr
    assert (folder / "record.json").read_text() == text
    refused = bench.bench(
        "run", "fedavg_s", "--tasks", "halved_task", "--data", "data", "--clients", 2, "-o", "rounds=1"
    )
    assert refused.returncode == 3
    assert "run it again with --fresh" in refused.stderr


@pytest.mark.slow
def test_a_board_says_that_its_numbers_are_of_an_older_metric(bench):
    run(bench)
    bench.write(
        "../out/small.yaml",
        "name: small\nprofile: demo\nseeds: [0]\nclients: 2\ntasks: [halved_task]\nalgorithms: [fedavg_s]\n"
        "options: {rounds: 1}\n",
    )
    assert "rescore" not in bench.bench("leaderboard", "small.yaml", "--json").stdout
    bench.write("halved.py", METRIC.format(by=4, version=2))
    (remark,) = json.loads(bench.bench("leaderboard", "small.yaml", "--json").stdout)["remarks"]
    assert remark.startswith("version of metric halved was 1, is 2 (1 records)")
    (row,) = json.loads(bench.bench("status", "small.yaml", "--data", "data", "--json").stdout)
    assert row["status"] == "ok"
    assert "to be scored anew" in row["reason"]
