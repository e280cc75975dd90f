"""A study of 2 x 2 x 2 points on a stand-in: planned, killed, gone on with, and shown as if nothing had happened."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import pytest

import fedmeki_bench as fb
from fedmeki_bench.boards.board import Board
from fedmeki_bench.boards.loading import load_board
from fedmeki_bench.evaluation.predictions import predictions_path
from fedmeki_bench.leaderboard.build import page_of, render
from fedmeki_bench.records.record import Record
from fedmeki_bench.records.store import RecordStore
from fedmeki_bench.runs.plan import cells, inspect

from .test_ends import call, command, family
from .test_kills import contents, different

STUDY = """\
name: study
profile: demo
clients: 2
tasks: [ecg_abnormal]
algorithms: [majority, fedavg_s]
options: {rounds: 3, local_epochs: 1}
design: factorial
axes:
  seed: [0, 1]
  partition: [iid, {dirichlet: {alpha: 0.3}}]
  split: [{prepare: {split_seed: 42}}, {prepare: {split_seed: 43}}]
"""
SWEEP = ("sweep", "study.yaml", "--raw", "raw", "--plain", "--jobs", 2)
_TIME = datetime(2026, 1, 1, tzinfo=timezone.utc)


@pytest.fixture(scope="module")
def raw(tmp_path_factory) -> Path:
    return fb.synth("ptbxl", tmp_path_factory.mktemp("study") / "raw" / "ptbxl", size=120).parent


@pytest.fixture
def place(raw, tmp_path) -> Callable[[str], Path]:
    def make(name: str) -> Path:
        (where := tmp_path / name).mkdir()
        (where / "raw").symlink_to(raw)
        (where / "study.yaml").write_text(STUDY)
        return where

    return make


def timeless(record: Record) -> Record:
    """A record without what two sweeps can't have in common: times and memory."""
    cost = record.cost.model_copy(update={"seconds": 1.0, "peak_memory": None})
    history = [one.model_copy(update={"seconds": 1.0}) for one in record.history]
    return record.model_copy(update={"cost": cost, "history": history, "started": _TIME, "finished": _TIME})


def pages(where: Path, board: Board) -> dict[str, bytes]:
    store = RecordStore(where / "results")
    found = [timeless(record) for record in store.all() if isinstance(record, Record)]
    return render(page_of(board, cells(board, found), found), ("md", "csv", "json", "tex", "html"))


def done(where: Path) -> int:
    return len(list((where / "results").glob("*/record.json")))


def workers(sweep: int) -> list[int]:
    """The processes that run trainings: forked from a server that the sweep has started."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            facts = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if facts[0] != "Z":
            parents[int(path.parent.name)] = int(facts[1])
    return [pid for pid, parent in parents.items() if parents.get(parent) == sweep]


def kill_at(where: Path, wanted: int, whom: str) -> bool:
    """Sweep until so many records are there and workers at work, then kill; False if it had ended by then."""
    sweep = subprocess.Popen(
        command(*SWEEP), cwd=where, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 300
    while sweep.poll() is None and (done(where) < wanted or not workers(sweep.pid)):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    hit = sweep.poll() is None
    if hit and whom == "a worker":
        os.kill(workers(sweep.pid)[0], signal.SIGKILL)
        assert sweep.wait(300) == 0
    elif hit:
        os.kill(sweep.pid, signal.SIGKILL)
        sweep.wait()
    while family(sweep.pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return hit


@pytest.mark.slow
def test_a_killed_study_goes_on_and_is_shown_as_an_undisturbed_one(place):
    whole, killed = place("whole"), place("killed")
    planned = call(whole, "status", "study.yaml")
    assert "16 runs, 16 of them to do: hours and megabytes are not known yet" in planned.stdout
    assert call(whole, *SWEEP).returncode == 0
    hits = [kill_at(killed, 2, "the sweep"), kill_at(killed, 4, "the sweep"), kill_at(killed, 5, "a worker")]
    assert hits == [True, True, True]
    ended = call(killed, *SWEEP)
    assert ended.returncode == 0, ended.stderr
    assert done(killed) == done(whole) == 16
    assert "16 runs, 0 of them to do" in call(killed, "status", "study.yaml").stdout
    for made in ("results", "data"):
        assert not different(contents(killed / made), contents(whole / made))
    board = load_board(whole / "study.yaml")
    assert pages(killed, board) == pages(whole, board)
    for again in range(2):
        assert call(killed, "leaderboard", "study.yaml", "--out", f"out{again}").returncode == 0
        assert call(killed, "leaderboard", "study.yaml", "--out", "out0", "--check").returncode == 0
    first, second = ({p.name: p.read_bytes() for p in (killed / f"out{n}").iterdir()} for n in range(2))
    assert first == second
    # the control: one prediction that differs, and the page is another
    entry = next(e for e in inspect(board, killed / "data", RecordStore(killed / "results")) if e.preparation and
                 e.record is not None and e.record.algorithm == "fedavg_s")  # fmt: skip
    assert entry.record is not None
    path = killed / "results" / entry.key / "record.json"
    content = json.loads(path.read_text())
    content["evaluations"][0]["metrics"]["auroc"]["value"] = 0.123
    path.write_text(json.dumps(content))
    assert pages(killed, board) != pages(whole, board)
    assert call(killed, "leaderboard", "study.yaml", "--out", "out0", "--check").returncode == 1


@pytest.mark.slow
def test_preparations_are_told_apart_from_data_to_page(place):
    where = place("told")
    before = call(where, "sweep", "study.yaml", "--plain")
    assert before.returncode == 3
    assert call(where, "prepare", "ptbxl", "--raw", "raw/ptbxl", "--out", "data").returncode == 0
    left = call(where, "sweep", "study.yaml", "--plain", "--jobs", 2)  # the base's data alone
    assert left.returncode == 0
    assert "`fedmeki-bench sweep study.yaml --data data --raw RAW` prepares it with split_seed 43" in left.stderr
    assert done(where) == 8
    board, store = load_board(where / "study.yaml"), RecordStore(where / "results")
    found = {status: [o for o in collected(board, store) if o.status == status] for status in ("ok", "missing")}
    assert len(found["ok"]) == len(found["missing"]) == 8
    assert {dict(o.cell.preparation)["split_seed"] for o in found["ok"]} == {42}
    made = ("--out", "data/@split_seed=43", "-o", "split_seed=43")  # what sweep --raw would do
    assert call(where, "prepare", "ptbxl", "--raw", "raw/ptbxl", *made).returncode == 0
    states = json.loads(call(where, "status", "study.yaml", "--json").stdout)
    assert {e["reason"] for e in states if e["status"] == "missing"} == {"not run yet"}
    assert call(where, *SWEEP).returncode == 0
    cohort = where / "data" / "@split_seed=43" / "ecg_abnormal"
    assert json.loads((cohort / "card.json").read_text())["options"]["split_seed"] == 43
    stamp = (cohort / "card.json").stat().st_mtime_ns
    assert call(where, *SWEEP).returncode == 0
    assert (cohort / "card.json").stat().st_mtime_ns == stamp
    values = {(o.cell.partition, o.cell.algorithm.name): o.record for o in collected(board, store)}
    one, other = values["base", "fedavg_s"], values["split_seed 43", "fedavg_s"]
    assert one is not None
    assert other is not None
    assert one.setting == other.setting
    assert one.key != other.key
    again = call(where, "reproduce", f"results/{other.key}")
    assert again.returncode == 0, again.stderr
    assert "predictions: identical" in again.stdout
    compared = json.loads(call(where, "compare", "fedavg_s", "majority", "--board", "study.yaml", "--json").stdout)
    assert "split_seed 43" in json.dumps(compared)
    # a folder of that name with other data is seen
    shutil.rmtree(cohort)
    shutil.copytree(where / "data" / "ecg_abnormal", cohort)
    states = json.loads(call(where, "status", "study.yaml", "--json").stdout)
    assert {e["status"] for e in states if any("split_seed 43" in p for p in e["points"])} == {"no data"}
    assert {e["status"] for e in states if not any("split_seed 43" in p for p in e["points"])} == {"ok"}
    assert predictions_path(store.folder(one.key), "aggregated", "ecg_abnormal").exists()


def collected(board: Board, store: RecordStore) -> tuple:
    from fedmeki_bench.leaderboard.collect import collect

    records = list(store.all())
    return collect(cells(board, records), records).outcomes
