"""``merge``: several folders of results in one, whatever their order, whole or not at all, and no contradiction."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from itertools import permutations

import pytest
from results_folders import edited, pages, states, status_of, tree, unfinished

import fedmeki_bench as fb
from fedmeki_bench.errors import CheckFailed
from fedmeki_bench.evaluation.predictions import read_predictions, write_predictions

# ---- what comes of it


@pytest.mark.slow
def test_two_halves_give_the_board_of_the_whole(bench, whole, halves, tmp_path):
    a, b, keys = halves
    before = tree(a), tree(b)
    ended = bench("merge", a, b, "--into", tmp_path / "m")
    assert ended.code == 0, ended.err
    first, last = ended.out.splitlines()
    assert first.startswith("6 taken (")
    assert first.endswith(" MB), 0 already there, 0 contradicting, 0 left out")
    assert last.startswith(f"{tmp_path / 'm'}: 6 runs, ")
    assert "predictions 0." in last
    assert tree(tmp_path / "m") == tree(whole)
    assert pages(tmp_path / "m", tmp_path / "merged") == pages(whole, tmp_path / "one")
    assert (tree(a), tree(b)) == before, "nothing is written into the sources"
    assert pages(a, tmp_path / "half") != pages(whole, tmp_path / "one")  # the control: half of it is not the same
    again = json.loads(bench("merge", b, a, "--into", tmp_path / "m", "--json").out)
    assert again["counts"] == {"taken": 0, "already_there": 6, "contradicting": 0, "left_out": 0, "no_record": 0}
    assert again["bytes"] == 0
    assert again["disk"]["runs"] == 6
    assert again["disk"]["bytes"] == sum(p.stat().st_size for p in (tmp_path / "m").rglob("*") if p.is_file())
    assert [run["key"] for run in again["runs"]] == keys


def test_a_dry_run_says_the_same_and_writes_nothing(bench, halves, tmp_path):
    a, b, _ = halves
    would = json.loads(bench("merge", a, b, "--into", tmp_path / "m", "--dry-run", "--json").out)
    assert not (tmp_path / "m").exists()
    assert "6 would be taken" in bench("merge", a, b, "--into", tmp_path / "m", "--dry-run").out
    done = json.loads(bench("merge", a, b, "--into", tmp_path / "m", "--json").out)
    assert would["runs"] == done["runs"]
    assert would["counts"]["taken"] == 6


def test_a_finished_run_is_taken_before_an_unfinished_one(twice, tmp_path):
    a, b, key = twice
    unfinished(b, key, rounds=9, checkpoint="half way")
    for i, order in enumerate(permutations([a, b])):
        fb.merge(order, tmp_path / f"m{i}", checkpoints=True)
        assert tree(tmp_path / f"m{i}") == tree(a)
    unfinished(tmp_path / "m0", key, checkpoint="here")  # and replaces one that is there, with its checkpoint
    assert states(fb.merge(a, tmp_path / "m0")) == {key: "taken"}
    assert tree(tmp_path / "m0") == tree(a)


def test_of_unfinished_runs_the_one_that_is_furthest(twice, tmp_path):
    a, b, key = twice
    unfinished(a, key, rounds=2, checkpoint="two")
    unfinished(b, key, rounds=3, status="failed", checkpoint="three")
    for i, order in enumerate(permutations([a, b])):
        merged = fb.merge(order, tmp_path / f"m{i}")
        assert merged.runs[0].source == b
        assert not (tmp_path / f"m{i}" / key / "checkpoint").exists(), "checkpoints only when asked for"
        assert states(fb.merge(order, tmp_path / f"m{i}", checkpoints=True)) == {key: "taken"}
        assert (tmp_path / f"m{i}" / key / "checkpoint" / "state.pt").read_text() == "three"
        assert status_of(tmp_path / f"m{i}", key) == "failed"
        assert states(fb.merge(order, tmp_path / f"m{i}")) == {key: "already there"}, "and it stays"
        assert (tmp_path / f"m{i}" / key / "checkpoint" / "state.pt").exists()


def test_a_run_with_a_checkpoint_alone(bench, twice, tmp_path):
    a, _, key = twice
    unfinished(a, key, checkpoint="one")
    (a / key / "record.json").unlink()
    ended = bench("merge", a, "--into", tmp_path / "m")
    assert ended.code == 0
    assert "1 without a record (--checkpoints takes what can go on)" in ended.out
    assert not (tmp_path / "m").exists()
    assert bench("merge", a, "--into", tmp_path / "m", "--checkpoints").code == 0
    assert tree(tmp_path / "m") == tree(a)


def test_what_is_not_the_run_s_is_not_copied(twice, tmp_path):
    a, _, key = twice
    wanted = tree(a)
    (a / key / "notes.txt").write_text("mine")
    (a / key / "checkpoint").mkdir()
    (a / key / "checkpoint" / "state.pt").write_text("of a finished run")
    (a / key / ".record.json.4000000.tmp").write_text("half")
    (a / "mine").mkdir()
    fb.merge(a, tmp_path / "m", checkpoints=True)
    assert tree(tmp_path / "m") == wanted


# ---- agreement and contradiction


def test_one_changed_metric_contradicts(bench, whole, halves, tmp_path):
    a, b, keys = halves
    key = next(r.key for r in fb.records(whole) if r.algorithm == "fedavg_s")
    for folder in (a, b):
        shutil.copytree(whole / key, folder / key, dirs_exist_ok=True)

    def better(record):
        record.evaluations[0].metrics["auroc"].value += 0.01

    edited(b, key, better)
    for i, order in enumerate(permutations([a, b])):
        into = tmp_path / f"m{i}"
        ended = bench("merge", *order, "--into", into)
        assert ended.code == 1
        assert f"1 run contradicts what another folder holds under the same key, first {key} (fedavg_s on " in ended.err
        assert "5 taken" in ended.out
        assert "1 contradicting" in ended.out
        said = "evaluations.aggregated.ecg_abnormal.test.metrics.auroc.value: "
        assert said in ended.out
        assert ", 0.01 apart" in ended.out
        assert not (into / key).exists()
        assert sorted(p.name for p in into.iterdir()) == [k for k in keys if k != key], "all others are there"
    told = json.loads(bench("merge", a, b, "--into", tmp_path / "m0", "--json").out)
    (one,) = [run for run in told["runs"] if run["state"] == "contradicting"]
    (difference,) = one["differences"]
    assert difference["apart"] == pytest.approx(0.01)
    assert one["seed"] in (0, 1)
    assert sorted(one["between"]) == sorted([str(a / key), str(b / key)])


def elsewhere(record):
    """Another machine, an hour later, from another folder."""
    record.cost.seconds += 3600
    record.cost.peak_memory = 5
    record.history[0].seconds += 60
    record.environment = {"processor": "another", "threads": 64}
    record.started, record.finished = record.started.replace(year=2031), record.finished.replace(year=2031)
    record.history[0].loss += 3e-7  # rounding


CONTRADICTIONS = {
    "history.0.loss": lambda r: setattr(r.history[0], "loss", r.history[0].loss + 1e-3),
    "history.0.bytes_up": lambda r: setattr(r.history[0], "bytes_up", r.history[0].bytes_up + 1),
    "params.profile.lr": lambda r: r.params["profile"].update(lr=r.params["profile"]["lr"] + 1e-9),
    "assignment.digest": lambda r: setattr(r.assignment, "digest", "0" * 64),
    "versions.rule": lambda r: setattr(r.versions, "rule", 7),
    "evaluations.aggregated.ecg_abnormal.test.n": lambda r: setattr(r.evaluations[0], "n", 1),
}


@pytest.mark.parametrize("field", CONTRADICTIONS)
def test_times_and_machine_may_differ_and_nothing_else(twice, tmp_path, field):
    a, b, key = twice
    edited(b, key, elsewhere)
    for i, order in enumerate(permutations([a, b])):
        assert states(fb.merge(order, tmp_path / f"m{i}")) == {key: "taken"}
        assert tree(tmp_path / f"m{i}") == tree(a), "the one that ended first, in either order"
    edited(b, key, CONTRADICTIONS[field])
    merged = fb.merge([a, b], tmp_path / "c", check=False)
    assert states(merged) == {key: "contradicting"}
    assert [one.field for one in merged.runs[0].differences] == [field]
    with pytest.raises(CheckFailed, match=field):
        merged.check()
    held = tree(tmp_path / "m0")
    assert states(fb.merge(b, tmp_path / "m0", check=False)) == {key: "contradicting"}
    assert tree(tmp_path / "m0") == held, "what is there stays as it is"


@pytest.mark.parametrize(("much", "state"), [(1e-9, "taken"), (1e-3, "contradicting")])
def test_predictions_may_differ_by_rounding(twice, tmp_path, much, state):
    a, b, key = twice

    def other(record):
        evaluation = record.evaluations[0]
        path = b / key / evaluation.predictions
        said = read_predictions(path, evaluation.digest)
        evaluation.digest = write_predictions(path, replace(said, score=said.score + much))

    edited(b, key, other)
    merged = fb.merge([b, a], tmp_path / "m", check=False)
    assert states(merged) == {key: state}
    assert ["by up to 0.001" in one.text for one in merged.runs[0].differences] == [True] * (state == "contradicting")


def test_folders_of_plug_ins_and_models_are_the_machine_s(twice, tmp_path):
    a, b, key = twice
    edited(a, key, lambda r: setattr(r, "rule", "mine/rule.py:Rule"))
    edited(b, key, lambda r: setattr(r, "rule", "elsewhere/rule.py:Rule"))
    assert states(fb.merge([a, b], tmp_path / "m")) == {key: "taken"}
    edited(b, key, lambda r: setattr(r, "rule", "elsewhere/rule.py:Other"))
    assert states(fb.merge([a, b], tmp_path / "n", check=False)) == {key: "contradicting"}


# ---- kept models


def test_of_two_that_agree_the_one_with_a_kept_model(cohorts, tmp_path):
    fast = {"rounds": 1, "local_epochs": 1}
    call = {"tasks": ["ecg_abnormal"], "options": fast, "clients": 2}
    (record,) = fb.run("fedavg_s", cohorts, results=tmp_path / "a", **call)  # ends first
    fb.run("fedavg_s", cohorts, results=tmp_path / "b", keep_model=True, **call)
    for i, order in enumerate(permutations([tmp_path / "a", tmp_path / "b"])):
        fb.merge(order, tmp_path / f"m{i}")
        assert tree(tmp_path / f"m{i}") == tree(tmp_path / "b")
    fb.merge(tmp_path / "a", tmp_path / "n")
    assert states(fb.merge(tmp_path / "b", tmp_path / "n")) == {record.key: "taken"}
    assert states(fb.merge(tmp_path / "a", tmp_path / "n")) == {record.key: "already there"}
    assert tree(tmp_path / "n") == tree(tmp_path / "b")
    with (tmp_path / "b" / record.key / "model" / "model.safetensors").open("r+b") as file:
        file.seek(2000)
        file.write(b"\xff" * 4)
    merged = fb.merge(tmp_path / "b", tmp_path / "c", check=False)
    assert "is not the file that model.json was written with" in merged.runs[0].reason
    assert not (tmp_path / "c").exists()
