"""``clean``: what no board needs, and nothing else: not a foreign file, not a run under way, nothing behind a link."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
from pathlib import Path

import pytest
from results_folders import BOARD, edited, pages, tree, unfinished

import fedmeki_bench as fb
from fedmeki_bench.boards.loading import find_board
from fedmeki_bench.records.lease import machine
from fedmeki_bench.records.store import RecordStore
from fedmeki_bench.runs import cleaning

NARROW = """\
name: narrow
profile: demo
seeds: [0, 1]
clients: 2
tasks: [ecg_abnormal]
algorithms: [fedavg_s]
options: {rounds: 1, local_epochs: 1}
"""


@pytest.fixture
def results(whole, tmp_path):
    """A copy of a sweep's runs."""
    return shutil.copytree(whole, tmp_path / "r")


def keys(results: Path, algorithm: str) -> list[str]:
    return [record.key for record in fb.records(results) if record.algorithm == algorithm]


def checkpoint(results: Path, key: str, size: int = 1000) -> None:
    (results / key / "checkpoint").mkdir()
    (results / key / "checkpoint" / "state.pt").write_bytes(b"x" * size)


@pytest.fixture
def littered(results):
    """Runs with what processes leave that are killed, and one that can go on."""
    first, second = keys(results, "fedavg_s")
    checkpoint(results, first)
    unfinished(results, second, checkpoint="goes on from here")
    killed = results / keys(results, "majority")[0]
    (killed / ".record.json.4000000.tmp").write_text("half")
    (killed / "predictions" / ".a.parquet.4000000.tmp").write_text("half")
    (killed / ".model.4000000.tmp" / "adapters").mkdir(parents=True)
    (killed / ".model.4000000.tmp" / "adapters" / "a").write_text("half")
    (killed / "lock").write_text("{}")
    (results / f".{second}.4000000.tmp").mkdir()
    (results / f".{second}.4000000.tmp" / "record.json").write_text("half")
    (results / "0123456789abcdef").mkdir()
    (results / "0123456789abcdef" / "lock").write_text("")
    return results


def test_without_yes_nothing_changes(bench, littered):
    before = tree(littered)
    first, second = keys(littered, "fedavg_s")
    ended = bench("clean", littered)
    assert ended.code == 0, ended.err
    assert tree(littered) == before
    told = json.loads(bench("clean", littered, "--json").out)
    assert tree(littered) == before
    assert {(one["key"], one["what"]) for one in told["removals"]} == {
        (first, "checkpoint"), (keys(littered, "majority")[0], "leftovers"), (second, "half copy"),
        ("0123456789abcdef", "leftovers"),
    }  # fmt: skip
    assert told["bytes"] == sum(one["bytes"] for one in told["removals"]) == 1000 + 4 * 4 + 2
    assert not told["removed"]
    assert told["left"] == []
    assert f"{told['bytes']:,} bytes (0.00 MB) would be freed; --yes removes this" in ended.out
    assert first in ended.out
    disk = told["disk"]
    assert disk["runs"] == 6
    assert disk["bytes"] == sum(disk["kinds"].values())
    assert disk["bytes"] == sum(p.stat().st_size for p in littered.rglob("*") if p.is_file())
    assert disk["kinds"]["checkpoints"] == 1000 + len("goes on from here")
    assert disk["kinds"]["leftovers"] == 4 * 4 + 2
    assert disk["kinds"]["kept_models"] == disk["others"] == 0


def test_with_yes_the_board_is_as_before_and_what_can_go_on_goes_on(bench, littered, whole, tmp_path):
    _, second = keys(littered, "fedavg_s")
    before = pages(littered, tmp_path / "before")
    ended = bench("clean", littered, "--yes")
    assert ended.code == 0, ended.err
    assert "removed 1,018 bytes" in ended.out
    wanted = tree(whole)
    for name in [name for name in wanted if name.startswith(second)]:
        del wanted[name]
    found = tree(littered)
    assert {name: found.pop(name) for name in list(found) if name.startswith(second)} == {
        f"{second}/record.json": (littered / second / "record.json").read_bytes(),
        f"{second}/checkpoint/state.pt": b"goes on from here",
    }
    assert found == wanted
    assert pages(littered, tmp_path / "after") == before
    assert pages(whole, tmp_path / "control") != before  # where the second run is finished
    again = bench("clean", littered, "--yes")
    assert again.code == 0
    assert "nothing to remove" in again.out


def test_boards_say_which_runs_stay(bench, results, tmp_path, monkeypatch):
    (tmp_path / "narrow.yaml").write_text(NARROW)
    stay, go = keys(results, "fedavg_s"), keys(results, "fedprox_s") + keys(results, "majority")
    unfinished(results, go[0], checkpoint="nobody asks")
    told = json.loads(bench("clean", results, "--boards", "narrow.yaml", "--json").out)
    assert {one["key"]: one["what"] for one in told["removals"]} == dict.fromkeys(go, "run")
    assert set(told["removals"][0]["files"]) >= {f"{told['removals'][0]['key']}/record.json"}
    other = NARROW.replace("narrow", "other").replace("[fedavg_s]", "[majority]")
    (tmp_path / "other.yaml").write_text(other)
    told = json.loads(bench("clean", results, "--boards", "narrow.yaml, other.yaml", "--json").out)
    assert {one["key"] for one in told["removals"]} == set(keys(results, "fedprox_s"))
    before = pages(results, tmp_path / "before", board=find_board("narrow.yaml"))
    assert bench("clean", results, "--boards", "narrow.yaml", "--yes").code == 0
    assert sorted(path.name for path in results.iterdir()) == sorted(stay)
    assert pages(results, tmp_path / "after", board=find_board("narrow.yaml")) == before


def test_a_board_that_is_not_there_removes_nothing(bench, results):
    before = tree(results)
    ended = bench("clean", results, "--boards", "demmo", "--yes")
    assert ended.code == 2
    assert "did you mean 'demo'" in ended.err
    assert bench("clean", "nowhere").code == 3
    assert tree(results) == before


def test_a_rule_in_a_file_is_needed_whatever_its_version(results, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first, second = keys(results, "fedprox_s")
    edited(results, first, lambda r: (setattr(r, "rule", "there/mine.py:Mine"), setattr(r, "setting", "another")))
    edited(results, second, lambda r: setattr(r, "setting", "another"))  # the control: an older version of a built-in
    rows = ["majority", "fedavg_s", "mine.py:Mine_s"]
    board = BOARD | {"algorithms": rows, "options": {"rounds": 1, "local_epochs": 1}}
    Path("mine.py").write_text("raise AssertionError('it was run')\n")
    found = fb.clean(results, boards=[board])
    assert [(one.key, one.what) for one in found.removals] == [(second, "run")]


def test_kept_models_stay_where_a_board_starts_from_one(cohorts, results, tmp_path):
    fast = {"rounds": 1, "local_epochs": 1}
    (record,) = fb.run("fedavg_s", cohorts, tasks=["ecg_abnormal"], options=fast, clients=2, seed=9, results=results,
                       keep_model=True)  # fmt: skip
    assert fb.clean(results).use.kinds["kept models"] > 1000
    starting = BOARD | {"options": fast | {"start.from": str(results / record.key), "mu": 10.0}}
    starting["algorithms"] = ["fedavg_s", "fedprox_s"]
    assert record.key not in {one.key for one in fb.clean(results, boards=[starting]).removals}
    assert {one.key for one in fb.clean(results, boards=[BOARD], yes=True).removals} == {record.key}
    assert not (results / record.key).exists()


def test_foreign_files_are_named_and_left(bench, results, tmp_path):
    (tmp_path / "narrow.yaml").write_text(NARROW)
    key = keys(results, "majority")[0]
    names = ("notes.txt", "mine/record.txt", f"{key}/notes.txt", f"{key}/predictions/plot.png", ".hidden/x",
             ".notes.12.tmp")  # fmt: skip
    mine = [results / name for name in names]
    for path in mine:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    (results / "broken").mkdir()
    (results / "broken" / "record.json").write_text("{")
    ended = bench("clean", results, "--boards", "narrow.yaml", "--yes", "--json")
    assert ended.code == 0
    told = json.loads(ended.out)
    assert key in {one["key"] for one in told["removals"]}
    assert all(path.read_text() == "mine" for path in mine)
    assert sorted(tree(results / key)) == ["notes.txt", "predictions/plot.png"]
    left = {one["path"]: one["why"] for one in told["left"]}
    assert set(left) == {str(results / name) for name in (
        "notes.txt", "mine", f"{key}/notes.txt", f"{key}/predictions/plot.png", ".hidden", ".notes.12.tmp", "broken",
    )}  # fmt: skip
    assert "its record can't be read" in left[str(results / "broken")]
    assert (results / "broken" / "record.json").exists()
    assert told["disk"]["others"] == 4 * len(mine)


def test_links_are_not_followed(bench, results, tmp_path):
    (tmp_path / "narrow.yaml").write_text(NARROW)
    first, second = keys(results, "majority")
    outside = tmp_path / "outside"
    checkpoint(results, keys(results, "fedavg_s")[0])
    outside.mkdir()
    for key, name in ((keys(results, "fedavg_s")[0], "checkpoint"), (first, "predictions")):
        (results / key / name).rename(outside / name)
        (results / key / name).symlink_to(outside / name)
    (outside / "predictions" / ".a.parquet.4000000.tmp").write_text("half")
    (results / second).rename(outside / second)
    (results / second).symlink_to(outside / second)
    (results / f".{second}.4000000.tmp").mkdir()  # whose key's folder is now a link
    before = tree(outside)
    ended = bench("clean", results, "--boards", "narrow.yaml", "--yes")
    assert ended.code == 0, ended.err
    assert tree(outside) == before
    assert (results / second).is_symlink()
    assert (results / first / "predictions").is_symlink()
    assert ended.out.count("is a link, and links are not followed") == 4
    assert not (results / first / "record.json").exists()  # the control: what does not lie behind one is removed


def test_a_folder_given_by_a_link_is_that_folder(bench, littered, tmp_path):
    (tmp_path / "link").symlink_to(littered)
    assert "removed 1,018 bytes" in bench("clean", tmp_path / "link", "--yes").out


def _hold(root: Path, key: str, ready) -> None:
    with RecordStore(root).lock(key):
        ready.set()
        signal.pause()


def test_a_run_under_way_stays(bench, results, tmp_path):
    (tmp_path / "narrow.yaml").write_text(NARROW)
    key = keys(results, "majority")[0]
    checkpoint(results, key)
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=_hold, args=(results, key, ready))
    process.start()
    try:
        assert ready.wait(60)
        before = tree(results / key)
        for _ in range(2):
            ended = bench("clean", results, "--boards", "narrow.yaml", "--yes")
            assert f"is being run by process {process.pid} on " in ended.out
            assert tree(results / key) == before
    finally:
        process.kill()
        process.join()
    assert bench("clean", results, "--boards", "narrow.yaml", "--yes").code == 0  # the control: nobody holds it now
    assert not (results / key).exists()


def test_what_came_under_way_or_changed_meanwhile_stays(results):
    first, second = keys(results, "fedavg_s")
    for key in (first, second):
        checkpoint(results, key)
    found = cleaning.removable(RecordStore(results))
    unfinished(results, first)
    with RecordStore(results).lock(second):
        done = cleaning.remove(found)
    assert done.removals == ()
    assert sorted(why.split(":")[0] for _, why in done.left) == sorted(["changed meanwhile", second])
    assert all((results / key / "checkpoint" / "state.pt").exists() for key in (first, second))
    assert [one.key for one in cleaning.remove(cleaning.removable(RecordStore(results))).removals] == [second]


def test_stopped_in_mid_removal_no_record_lacks_its_predictions(results, whole, tmp_path, monkeypatch):
    board = BOARD | {"algorithms": ["fedavg_s"], "options": {"rounds": 1, "local_epochs": 1}}
    take, calls = cleaning._remove, []

    def stops(root, path):
        if calls:
            raise KeyboardInterrupt
        calls.append(path)
        take(root, path)

    monkeypatch.setattr(cleaning, "_remove", stops)
    with pytest.raises(KeyboardInterrupt):
        fb.clean(results, boards=[board], yes=True)
    assert [path.name for path in calls] == ["record.json"]
    monkeypatch.undo()
    fb.clean(results, boards=[board], yes=True)
    assert sorted(path.name for path in results.iterdir()) == sorted(keys(whole, "fedavg_s"))


def test_status_says_what_the_folder_holds(bench, cohorts, results, tmp_path):
    (tmp_path / "narrow.yaml").write_text(NARROW)
    args = ("status", "narrow.yaml", "--data", cohorts, "--results", results)
    checkpoint(results, keys(results, "fedavg_s")[0], size=2_500_000)
    said = bench(*args).out.splitlines()[-1]
    assert said.startswith(f"on disk, {results} holds 6 runs, 2.")
    assert "checkpoints 2.50" in said
    assert len(json.loads(bench(*args, "--json").out)) == 2


def test_leases_of_the_dead_go_those_of_the_living_stay_and_jobs_are_none_of_it(bench, results):
    here, elsewhere, gone = sorted(path.name for path in results.iterdir())[:3]
    owner = {"host": "node7", "pid": 1, "machine": "elsewhere", "began": "1", "token": "t"}
    (results / here / "lease").write_text(json.dumps({**owner, "machine": machine()}))  # process 1 began otherwise
    (results / elsewhere / "lease").write_text(json.dumps(owner))
    (results / gone / "lease").write_text(json.dumps(owner))
    os.utime(results / gone / "lease", (1, 1))
    (results / ".jobs").mkdir()
    (results / ".jobs" / "100_0_log.out").write_text("said")
    told = json.loads(bench("clean", results, "--json").out)
    assert {(one["key"], one["what"]) for one in told["removals"]} == {(here, "leftovers"), (gone, "leftovers")}
    (left,) = told["left"]
    assert "is being run by process 1 on node7" in str(left)
    assert told["disk"]["others"] == 0
