"""A number is compared with its predictions before it is shown: edits and flipped bits don't reach a page."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from board_fakes import TASKS, judged

from fedmeki_bench.evaluation.predictions import read_predictions, write_predictions
from fedmeki_bench.leaderboard.build import page_of
from fedmeki_bench.records.store import RecordStore


@pytest.fixture
def one(tmp_path):
    toy, made, store = judged(tmp_path / "r", [0])
    cell = next(c for c in made if c.algorithm.name == "fedavg_s" and c.task == TASKS[0])
    return toy, made, store, store.folder(f"k-{cell.setting}")


def state(toy, made, store):
    page = page_of(toy, made, RecordStore(store.root))
    outcome = next(o for o in page.collected.outcomes if (o.cell.algorithm.name, o.cell.task) == ("fedavg_s", TASKS[0]))
    return outcome.status, outcome.reason, page


def test_untouched_numbers_agree_with_their_predictions(one):
    toy, made, store, _ = one
    status, reason, page = state(toy, made, store)
    assert (status, reason) == ("ok", "")
    assert page.collected.remarks == ()


def test_a_metric_that_was_edited_is_not_shown(one):
    toy, made, store, folder = one
    path = folder / "record.json"
    content = json.loads(path.read_text())
    value = content["evaluations"][0]["metrics"]["auroc"]["value"]
    content["evaluations"][0]["metrics"]["auroc"]["value"] = value + 0.01
    path.write_text(json.dumps(content))
    status, reason, _ = state(toy, made, store)
    assert status == "bad"
    assert "was changed after it was written" in reason
    del content["digest"]  # as a record from before there were digests, or from somebody who knows of them
    path.write_text(json.dumps(content))
    status, reason, _ = state(toy, made, store)
    assert status == "bad"
    assert f"auroc is {value + 0.01:.6g} in the record, {value:.6g} by its predictions" in reason


def test_predictions_that_were_edited_are_not_shown(one):
    toy, made, store, folder = one
    (path,) = (folder / "predictions").iterdir()
    record = store.load(folder.name)
    found = read_predictions(path)
    digest = write_predictions(path, found)
    record.evaluations[0].digest = digest
    store.write(record)
    assert state(toy, made, store)[0] == "ok"
    write_predictions(path, replace(found, score=np.nextafter(found.score, 2)))  # last bits: the metric is the same
    status, reason, _ = state(toy, made, store)
    assert status == "bad"
    assert "the predictions were changed after they were written" in reason
    assert str(store.root) not in reason


def test_lost_predictions_leave_the_number_with_a_remark(one):
    toy, made, store, folder = one
    (path,) = (folder / "predictions").iterdir()
    path.unlink()
    status, _, page = state(toy, made, store)
    assert status == "ok"
    (remark,) = page.collected.remarks
    assert "its numbers can't be checked" in remark


def test_predictions_outside_the_runs_folder_are_not_read(one):
    toy, made, store, folder = one
    record = store.load(folder.name)
    record.evaluations[0].predictions = "../../../etc/passwd"
    store.write(record)
    _, reason, _ = state(toy, made, store)
    assert "names no predictions inside the run's folder" in reason
