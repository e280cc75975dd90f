"""``merge``: several folders of results in one, whatever their order, whole or not at all, and no contradiction."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import pytest
from results_folders import edited, pages, split, status_of, tree, unfinished

import fedmeki_bench as fb
from fedmeki_bench.errors import CheckFailed
from fedmeki_bench.evaluation.predictions import read_predictions, write_predictions
from fedmeki_bench.records.store import RecordStore
from fedmeki_bench.runs import merging


@pytest.fixture
def halves(whole, tmp_path):
    """Two folders that hold a sweep's runs between them, and the keys."""
    return tmp_path / "a", tmp_path / "b", split(whole, tmp_path / "a", tmp_path / "b")


@pytest.fixture
def twice(whole, tmp_path):
    """Two folders that both hold one run of a rule that trains, and its key."""
    key = next(r.key for r in fb.records(whole) if r.algorithm == "fedavg_s")
    for name in "ab":
        shutil.copytree(whole / key, tmp_path / name / key)
    return tmp_path / "a", tmp_path / "b", key


def states(merged) -> dict[str, str]:
    return {run.key: run.state for run in merged.runs}


def hold(root: Path, key: str, ready) -> None:
    with RecordStore(root).lock(key):
        ready.set()
        multiprocessing.Event().wait(60)


@pytest.fixture
def running():
    """Has another process hold the lock of a run."""
    context, held = multiprocessing.get_context("spawn"), []

    def begin(root: Path, key: str) -> int:
        ready = context.Event()
        process = context.Process(target=hold, args=(root, key, ready), daemon=True)
        process.start()
        held.append(process)
        assert ready.wait(60)
        return process.pid

    yield begin
    for process in held:
        process.kill()
        process.join()


# ---- what comes of it


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


# ---- damage, links, locks


def test_what_can_not_be_read_is_named_and_the_rest_is_merged(bench, halves, tmp_path):
    a, b, keys = halves
    (a / keys[0] / "record.json").write_text("{")
    with next((b / keys[1] / "predictions").iterdir()).open("r+b") as file:
        file.seek(60)
        file.write(b"\xff" * 4)
    next((a / keys[2] / "predictions").iterdir()).unlink()
    shutil.copytree(b / keys[3], a / "another")  # a moved folder
    ended = bench("merge", a, b, "--into", tmp_path / "m")
    assert ended.code == 1
    assert "3 taken" in ended.out
    assert "4 left out" in ended.out
    for said in (f"{a / keys[0] / 'record.json'}: not valid JSON", keys[1], "are gone, or reached", "says its key is"):
        assert said in ended.out
    assert sorted(p.name for p in (tmp_path / "m").iterdir()) == keys[3:]
    shutil.copytree(b / keys[3], b / "twin")
    (tmp_path / "c").mkdir()
    shutil.copytree(tmp_path / "m" / keys[3], tmp_path / "c" / keys[3])
    next((tmp_path / "m" / keys[3] / "predictions").iterdir()).unlink()
    told = json.loads(bench("merge", tmp_path / "c", "--into", tmp_path / "m", "--json").out)
    assert told["runs"][0]["state"] == "taken", "a sound run replaces one whose predictions are gone"
    assert "replaced: " in told["runs"][0]["not_used"][0]


def test_a_run_under_way_is_left_out(bench, twice, running, tmp_path):
    a, b, key = twice
    pid = running(a, key)
    held = tree(a)
    ended = bench("merge", a, "--into", tmp_path / "m")
    assert ended.code == 1
    assert f"{a / key} is being run by process {pid} on " in ended.err
    assert tree(a) == held
    assert not (tmp_path / "m").exists()
    ended = bench("merge", a, b, "--into", tmp_path / "m")  # the other machine's is sound
    assert ended.code == 0
    assert "not used: " in ended.out
    unfinished(tmp_path / "m", key)
    running(tmp_path / "m", key)
    held = tree(tmp_path / "m")
    assert states(fb.merge(b, tmp_path / "m", check=False)) == {key: "left out"}
    assert tree(tmp_path / "m") == held


def test_the_lock_file_of_a_dead_process_blocks_nobody(twice, tmp_path):
    a, b, key = twice
    (a / key / "lock").write_text('{"pid": 1, "host": "gone"}')
    fb.merge(a, tmp_path / "m")
    assert tree(tmp_path / "m") == tree(b)


@pytest.mark.parametrize("what", ["run", "record.json", "predictions", "file"])
def test_links_are_not_followed(twice, tmp_path, what):
    a, b, key = twice
    outside = tmp_path / "outside"
    place = {"run": a / key, "file": next((a / key / "predictions").iterdir())}.get(what, a / key / what)
    place.rename(outside)
    place.symlink_to(outside)
    if what == "run":
        shutil.copytree(b / key, a / "other")  # so that there is something to merge
    merged = fb.merge(a, tmp_path / "m", check=False)
    assert set(states(merged).values()) == {"left out"}
    assert not (tmp_path / "m").exists()
    assert states(fb.merge(b, tmp_path / "m")) == {key: "taken"}  # the control


def test_a_foreign_file_in_the_folder_to_be_replaced_stays(twice, tmp_path):
    a, _, key = twice
    shutil.copytree(a, tmp_path / "m")
    unfinished(tmp_path / "m", key)
    (tmp_path / "m" / key / "notes.txt").write_text("mine")
    merged = fb.merge(a, tmp_path / "m", check=False)
    assert "notes.txt is not the harness's" in merged.runs[0].reason
    assert (tmp_path / "m" / key / "notes.txt").read_text() == "mine"


# ---- ends


def test_stopped_in_mid_copy_it_goes_on(halves, whole, tmp_path, monkeypatch):
    a, b, keys = halves
    copy, calls = merging._copy, []

    def stops(source, target):
        calls.append(target)
        if len(calls) == 4:  # the second file of the second run
            raise KeyboardInterrupt
        copy(source, target)

    monkeypatch.setattr(merging, "_copy", stops)
    with pytest.raises(KeyboardInterrupt):
        fb.merge([a, b], tmp_path / "m")
    assert [path.name for path in (tmp_path / "m").iterdir()] == keys[:1], "whole or not at all"
    monkeypatch.undo()
    assert sorted(states(fb.merge([b, a], tmp_path / "m")).values()) == ["already there"] + ["taken"] * 5
    assert tree(tmp_path / "m") == tree(whole)


def _killed(a: Path, into: Path) -> None:
    def stops(source, target):
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes()[:50])
        os._exit(9)

    merging._copy = stops
    fb.merge(a, into)


def test_killed_without_a_word_it_goes_on(twice, tmp_path):
    a, b, key = twice
    process = multiprocessing.get_context("spawn").Process(target=_killed, args=(a, tmp_path / "m"))
    process.start()
    process.join()
    assert process.exitcode == 9
    assert list((tmp_path / "m").glob(f".{key}.*.tmp/record.json"))
    assert list(RecordStore(tmp_path / "m").all()) == []
    fb.merge(a, tmp_path / "m")
    assert tree(tmp_path / "m") == tree(b)


def test_a_source_that_changes_while_it_is_copied_is_left_out(twice, tmp_path, monkeypatch):
    a, _, key = twice
    copy = merging._copy

    def changes(source, target):
        copy(source, target)
        edited(a, key, lambda r: r.notes.append("begun anew"))

    monkeypatch.setattr(merging, "_copy", changes)
    merged = fb.merge(a, tmp_path / "m", check=False)
    assert "changed while it was copied" in merged.runs[0].reason
    assert list((tmp_path / "m").iterdir()) == []


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (("a", "b", "--into", "a"), 2, "a can't be merged into itself"),
        (("a", "--into", "./b/../a/"), 2, "can't be merged into itself"),
        (("a", "--into", "a/merged"), 2, "lie one in the other"),
        (("a/x", "--into", "a"), 2, "lie one in the other"),
        (("--into", "m"), 2, "RESULTS"),
        (("a",), 2, "--into"),
        (("a", "nowhere", "--into", "m"), 3, "nowhere is no folder of records"),
        (("a", "empty", "--into", "m"), 3, "empty holds no run"),
        (("a", "--into", "file"), 3, "file is no folder"),
    ],
)
def test_what_does_not_fit_writes_nothing(bench, halves, tmp_path, args, code, says):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    before = tree(tmp_path)
    ended = bench("merge", *args)
    assert ended.code == code
    assert says in ended.err
    assert tree(tmp_path) == before


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
