"""``compare`` and ``reproduce`` on real runs."""

from __future__ import annotations

import json
import shlex
import shutil
from dataclasses import replace

import pytest
from test_commands import FAST, one_sentence

from fedmeki_bench.evaluation.predictions import read_predictions, write_predictions
from fedmeki_bench.records.store import RecordStore, read_record


@pytest.fixture
def runs(bench, cohorts, tmp_path):
    """FedAvg and FedProx over both tasks."""
    results = tmp_path / "r"
    for name, extra in (("fedavg_m", ()), ("fedprox_m", ("-o", "mu=0.5"))):
        ended = bench("run", name, "--data", cohorts, "--results", results, *FAST, *extra)
        assert ended.code == 0, ended.err
    return {read_record(path).rule: path for path in results.glob("*/record.json")}


def test_two_records_are_compared(bench, runs):
    ended = bench("compare", runs["fedavg"], runs["fedprox"].parent, "--json")
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)["comparisons"]
    assert [(c["task"], c["metric"]) for c in found] == [("ecg_abnormal", "auroc"), ("lung_opacity", "auroc")]
    assert {c["word"] for c in found} <= {"better", "worse", "equivalent", "undecided", "identical"}
    values = {rule: {e.task: e.metrics["auroc"].value for e in read_record(p).evaluations} for rule, p in runs.items()}
    for c in found:
        assert c["difference"] == pytest.approx(values["fedavg"][c["task"]] - values["fedprox"][c["task"]], abs=1e-12)
        if c["low"] is not None:
            assert c["low"] <= c["difference"] <= c["high"]
            assert c["adjusted"] >= c["p"]
    swapped = json.loads(bench("compare", runs["fedprox"], runs["fedavg"], "--json").out)["comparisons"]
    assert [c["difference"] for c in swapped] == [-c["difference"] for c in found]
    same = json.loads(bench("compare", runs["fedavg"], runs["fedavg"], "--json").out)["comparisons"]
    assert {(c["difference"], c["word"]) for c in same} == {(0.0, "identical")}
    text = bench("compare", runs["fedavg"].parent.name, runs["fedprox"].parent.name, "--results",
                 runs["fedavg"].parents[1], "--metrics", "accuracy,f1")  # fmt: skip
    assert text.code == 0
    assert "Intervals hold together with 95 % probability" in text.out
    assert "One seed was trained" in text.out


def test_two_copies_of_a_record_are_told_apart(bench, runs, tmp_path):
    copy = tmp_path / "copy" / runs["fedavg"].parent.name
    shutil.copytree(runs["fedavg"].parent, copy)
    record = read_record(copy / "record.json")
    for evaluation in record.evaluations:
        path = copy / evaluation.predictions
        found = read_predictions(path)
        digest = write_predictions(path, replace(found, score=1 - found.score))
        refused = bench("compare", runs["fedavg"], copy)
        assert "the predictions were changed after they were written" in refused.out + refused.err
        evaluation.digest = digest
    RecordStore(copy.parent).write(record)
    told = json.loads(bench("compare", runs["fedavg"], copy, "--json").out)["comparisons"]
    assert all(abs(c["difference"]) > 0.05 for c in told)
    record.cohorts[0].card = "0" * 64
    RecordStore(copy.parent).write(record)
    assert "ecg_abnormal: the two records use differently prepared data" in bench("compare", runs["fedavg"], copy).out


def test_clients_keep_their_numbers_where_some_lack_the_task(bench, cohorts, tmp_path):
    ended = bench("run", "local_m", "--data", cohorts, "--results", tmp_path / "r", "--clients", 3, "--json", *FAST,
                  "-o", "holds={signal: [0, 2]}")  # fmt: skip
    (record,) = json.loads(ended.out)
    named = {
        e["task"]: [g["name"] for g in e["subgroups"]["client"]]
        for e in record["evaluations"]
        if e["view"] == "personal"
    }
    assert named == {"ecg_abnormal": ["0", "2"], "lung_opacity": ["0", "1", "2"]}


@pytest.mark.slow
def test_two_rows_of_a_board_are_compared(bench, cohorts, tmp_path):
    board = tmp_path / "small.yaml"
    board.write_text(
        "name: small\nprofile: demo\nseeds: [0, 1]\nclients: 2\ntasks: [ecg_abnormal]\n"
        "algorithms: [majority, fedavg_s, fedprox_s]\noptions: {rounds: 1, local_epochs: 1}\n"
    )
    results = tmp_path / "r"
    assert bench("sweep", board, "--data", cohorts, "--results", results, "--jobs", 1, "--plain").code == 0
    ended = bench("compare", "fedprox_s", "majority", "--board", board, "--results", results, "--json")
    (one,) = json.loads(ended.out)["comparisons"]
    assert one["seeds"] == 2
    assert one["word"] in ("better", "worse", "equivalent", "undecided")
    wrong = bench("compare", "fedavg_m", "majority", "--board", board, "--results", results)
    assert wrong.code == 2
    assert "is not a row of small; did you mean 'fedavg_s'" in one_sentence(wrong.err)


def test_what_is_no_record_is_one_sentence(bench, runs):
    ended = bench("compare", "fedavg_m", "fedprox_m")
    assert ended.code == 2
    assert "or --board for rows of a board" in one_sentence(ended.err)
    assert bench("compare", runs["fedavg"], runs["fedprox"], "--metrics", "aurocc").code == 2


def test_a_record_is_reproduced_to_the_last_bit(bench, runs, cohorts):
    ended = bench("reproduce", runs["fedprox"], "--data", cohorts, "--json")
    assert ended.code == 0, ended.err
    told = json.loads(ended.out)
    assert told["predictions_identical"] is True
    assert {m["difference"] for m in told["metrics"]} == {0.0}
    assert len(told["metrics"]) == 18
    text = bench("reproduce", runs["fedprox"].parent, "--data", cohorts, "--plain")
    assert "18 of 18 metrics are equal to the last bit" in text.out


def test_other_numbers_data_or_code_are_told(bench, runs, cohorts, tmp_path):
    content = json.loads(runs["fedavg"].read_text())
    del content["digest"]  # as in a record of before there were digests: one with a digest can't be edited
    recorded = content["evaluations"][0]["metrics"]["auroc"]["value"]
    content["evaluations"][0]["metrics"]["auroc"]["value"] = recorded - 0.01
    runs["fedavg"].write_text(json.dumps(content))
    ended = bench("reproduce", runs["fedavg"], "--data", cohorts, "--plain")
    assert ended.code == 1
    assert "1 of 18 metrics differ by more than 0, first auroc of ecg_abnormal" in ended.err
    assert bench("reproduce", runs["fedavg"], "--data", cohorts, "--tolerance", 0.02, "--plain").code == 0
    content["cohorts"][0]["card"] = "0" * 64
    runs["fedavg"].write_text(json.dumps(content))
    ended = bench("reproduce", runs["fedavg"], "--data", cohorts)
    assert ended.code == 1
    assert "ecg_abnormal have another card" in ended.err
    content["versions"]["rule"] = 99
    content["setting"] = "0" * 16
    runs["fedavg"].write_text(json.dumps(content))
    ended = bench("reproduce", runs["fedavg"], "--data", cohorts)
    assert ended.code == 1
    assert "version of rule fedavg was 99, is 1" in one_sentence(ended.err)
    shutil.rmtree(runs["fedprox"].parent)
    assert bench("reproduce", runs["fedprox"], "--data", cohorts).code == 3


def test_the_command_of_a_record_names_the_same_run(bench, runs, cohorts):
    from fedmeki_bench.runs.command import command_of

    for path in runs.values():
        command = shlex.split(command_of(read_record(path)))
        assert command[:2] == ["fedmeki-bench", "run"]
        ended = bench(*command[1:], "--data", cohorts, "--results", path.parents[1], "--plain")
        assert ended.code == 0, ended.err
        assert "cached" in ended.err + ended.out  # the very same key
    assert "rule.mu=0.5" in command_of(read_record(runs["fedprox"]))
