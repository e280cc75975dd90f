"""``merge``: what is damaged, linked to or under way is left out, and a merge that is stopped goes on."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
from pathlib import Path

import pytest
from results_folders import edited, states, tree, unfinished

import fedmeki_bench as fb
from fedmeki_bench.records.store import RecordStore
from fedmeki_bench.runs import merging


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


def test_the_lease_of_a_dead_process_blocks_nobody(twice, tmp_path):
    a, b, key = twice
    (a / key / "lock").write_text('{"pid": 1, "host": "gone"}')  # of an earlier version
    (a / key / "lease").write_text('{"host": "gone", "pid": 1, "machine": "gone", "began": "1", "token": "t"}')
    assert states(fb.merge(a, tmp_path / "m", check=False)) == {key: "left out"}, "it was heard of just now"
    os.utime(a / key / "lease", (1, 1))
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
