from __future__ import annotations

import json
import multiprocessing
import os
import socket
import time

import numpy as np
import pytest

from fedmeki_bench.errors import InputError
from fedmeki_bench.records.lease import KeyLocked
from fedmeki_bench.records.record import SCHEMA, Evaluation, MetricValue, Record, RoundRecord
from fedmeki_bench.records.store import BadRecord, RecordStore


def made(**changes):
    content = {
        "key": "abc", "setting": "set", "status": "ok", "algorithm": "fedavg_s", "rule": "fedavg",
        "scope": "s", "stage": "none", "profile": "demo", "seed": 0, "clients": 5, "partition": "iid",
        "tasks": ["t"], "views": ["aggregated"],
    }  # fmt: skip
    return Record.model_validate({**content, **changes})


def test_round_trip(tmp_path):
    store = RecordStore(tmp_path / "results")
    record = made(
        evaluations=[
            Evaluation(
                view="aggregated",
                task="t",
                n=3,
                metrics={"z": MetricValue(value=0.1 + 0.2, low=0, high=1), "a": MetricValue(value=1)},
            )
        ],
        history=[RoundRecord(round=0, loss=np.float32(0.5), valid={"t": 0.7})],
        started="2026-01-01T00:00:00Z",
    )
    assert store.load("abc") is None
    assert list(store.all()) == []
    store.write(record)
    assert store.path("abc") == tmp_path / "results" / "abc" / "record.json"
    assert store.load("abc") == record
    assert list(store.all()) == [record]
    assert list(record.evaluations[0].metrics) == list(store.load("abc").evaluations[0].metrics) == ["z", "a"]
    assert json.loads(store.path("abc").read_text())["schema"] == SCHEMA
    assert [p.name for p in store.folder("abc").iterdir()] == ["record.json"]


def test_nan_becomes_null_with_a_note():
    nan = float("nan")
    record = made(
        evaluations=[
            {"view": "v", "task": "t", "n": 1, "metrics": {
                "auroc": {"value": nan, "low": nan, "high": nan, "note": "one class"},
                "f1": {"value": float("inf")}}}
        ],
        history=[{"round": 0, "loss": float("nan"), "valid": {"t": float("nan"), "u": 0.5}}],
        params={"rule": {"mu": [1.0, float("inf")]}},
    )  # fmt: skip
    text = record.to_json()
    assert "NaN" not in text
    assert "Infinity" not in text
    again = Record.from_json(text)
    auroc, f1 = again.evaluations[0].metrics.values()
    assert (auroc.value, auroc.low, auroc.note) == (None, None, "one class")
    assert (f1.value, f1.note) == (None, "value was inf")
    assert again.history[0].loss is None
    assert again.history[0].valid == {"t": None, "u": 0.5}
    assert again.history[0].note == "loss was nan"
    assert again.params == {"rule": {"mu": [1.0, None]}}
    assert again.notes == ["params.rule.mu[1] was inf"]
    assert Record.from_json(again.to_json()) == again


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"schema": SCHEMA + 1}, "newer .* upgrade fedmeki-bench"),
        ({"schema": 0}, "old schema 0"),
        ({"schema": None}, "no schema version"),
        ({"seed": "x"}, "seed: "),
        ({"surprise": 1}, "surprise: Extra inputs"),
    ],
)
def test_bad_content_is_reported_not_skipped(tmp_path, change, says):
    store = RecordStore(tmp_path)
    store.write(made())
    path = store.path("abc")
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InputError, match=says):
        store.load("abc")
    (bad,) = store.all()
    assert isinstance(bad, BadRecord)
    assert bad.path == path
    assert bad.setting == "set"
    assert str(path) not in bad.reason


@pytest.mark.parametrize("content", [b"", b'{"schema": 1, "ke', b"[]", b"\xff\xfe"])
def test_corrupt_files(tmp_path, content):
    store = RecordStore(tmp_path)
    store.write(made(key="good"))
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "record.json").write_bytes(content)
    good, bad = store.all()
    assert isinstance(good, Record)
    assert isinstance(bad, BadRecord)


def test_moved_record_and_unfinished_run(tmp_path):
    store = RecordStore(tmp_path)
    store.write(made())
    (tmp_path / "abc").rename(tmp_path / "other")
    (tmp_path / "running" / "checkpoint").mkdir(parents=True)
    (bad,) = store.all()
    assert "lies in folder 'other'" in bad.reason


@pytest.mark.parametrize("key", ["../x", "a/b", "", ".hidden", ".."])
def test_keys_are_confined(tmp_path, key):
    with pytest.raises(InputError, match="not a run key"):
        RecordStore(tmp_path).path(key)


def test_lock_is_exclusive_and_released(tmp_path):
    store = RecordStore(tmp_path)
    with store.lock("abc"):
        with pytest.raises(KeyLocked, match=r"process .* on"), store.lock("abc"):
            pass
        with store.lock("other"):
            pass
    with store.lock("abc"):
        pass
    assert list((tmp_path / "abc").iterdir()) == []


def _hold(root, ready):
    with RecordStore(root).lock("abc"):
        ready.set()
        time.sleep(60)


def test_lock_of_a_dead_process_is_taken_over(tmp_path):
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=_hold, args=(tmp_path, ready))
    process.start()
    assert ready.wait(30)
    with pytest.raises(KeyLocked, match=f"process {process.pid} on"), RecordStore(tmp_path).lock("abc"):
        pass
    process.kill()
    process.join()
    assert (tmp_path / "abc" / "lease").exists()
    with RecordStore(tmp_path).lock("abc"):
        pass
    assert list((tmp_path / "abc").iterdir()) == []


def test_a_lock_of_an_earlier_version_blocks_nobody(tmp_path):
    """What is locked is locked by the system; the file alone means nothing."""
    (tmp_path / "abc").mkdir()
    (tmp_path / "abc" / "lock").write_text(json.dumps({"pid": 1, "host": "not-" + socket.gethostname()}))
    with RecordStore(tmp_path).lock("abc"):
        pass


def test_whoever_holds_the_lock_clears_what_killed_processes_left(tmp_path):
    for name in (".record.json.4000000.tmp", "predictions/.a.parquet.1.tmp", "checkpoint/.state.pt.77.tmp"):
        (tmp_path / "abc" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "abc" / name).write_text("half")
    (tmp_path / "abc" / ".model.4000000.tmp").mkdir()
    with RecordStore(tmp_path).lock("abc"):
        assert sorted(p.name for p in (tmp_path / "abc").rglob("*")) == ["checkpoint", "lease", "predictions"]


def test_a_flipped_bit_in_a_record_is_seen(tmp_path):
    store = RecordStore(tmp_path)
    path = store.write(made(seed=1))
    text = path.read_text()
    path.write_text(text.replace('"seed": 1', '"seed": 3'))  # one bit of one character
    (found,) = store.all()
    assert isinstance(found, BadRecord)
    assert "changed after it was written" in found.reason
    path.write_text(text)
    assert list(store.all()) == [made(seed=1, digest=json.loads(text)["digest"])]


def test_who_holds_a_run_is_told_and_nothing_is_written(tmp_path):
    store = RecordStore(tmp_path)
    assert store.holder("abc") == ""
    assert list(tmp_path.iterdir()) == []
    with store.lock("abc"):
        assert store.holder("abc").startswith("process ")
        assert store.holder("other") == ""
    (tmp_path / "abc" / "lock").write_text("{}")
    assert store.holder("abc") == ""
    with store.lock("abc"):  # asking leaves it free
        pass
    (tmp_path / "abc" / "lease").write_text("{}")
    assert store.holder("abc") == "another process", "whoever it is, it has just written that"
    os.utime(tmp_path / "abc" / "lease", (1, 1))
    assert store.holder("abc") == ""
    (tmp_path / "abc" / "lease").unlink()
    (tmp_path / "abc" / "lease").symlink_to(tmp_path / "nowhere")
    assert "can't be read" in store.holder("abc")


def test_a_lock_clears_nothing_behind_a_link(tmp_path):
    store = RecordStore(tmp_path / "r")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / ".a.parquet.1.tmp").write_text("mine")
    (tmp_path / "r" / "abc").mkdir(parents=True)
    (tmp_path / "r" / "abc" / "predictions").symlink_to(tmp_path / "outside")
    with store.lock("abc"):
        assert (tmp_path / "outside" / ".a.parquet.1.tmp").read_text() == "mine"


def test_a_half_copied_run_is_no_record(tmp_path):
    store = RecordStore(tmp_path)
    store.write(made())
    (tmp_path / "abc").rename(tmp_path / ".abc.4000000.tmp")
    assert list(store.all()) == []
