"""Cohorts and releases whose files are not what they should be: refused in one sentence, never unpickled, no hang."""

from __future__ import annotations

import copy
import io
import json
import os
import pickle
import shutil

import numpy as np
import pandas as pd
import pytest

from fedmeki_bench.digests import file_digest


class Marker:
    """Unpickled, it leaves a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


@pytest.fixture
def data(world):
    """A private copy of the data."""
    folder = world.root / "data"
    shutil.copytree(world.data, folder)
    return folder


def seal(folder, name: str) -> None:
    """Tell the card what the file is now, as somebody does who means it."""
    path = folder / "card.json"
    card = json.loads(path.read_text())
    card["files"][name] = {"bytes": (folder / name).stat().st_size, "sha256": file_digest(folder / name)}
    path.write_text(json.dumps(card))


def over(bench, world, data, codes=(1, 2, 3), *, trained: bool = False) -> None:
    """Every command that opens a cohort."""
    bench("audit", data, "--full", "--cohorts", "ecg_abnormal", codes=codes)
    bench("status", world.board, "--results", world.results, "--data", data, codes=(0,))
    bench("info", "iid", "--data", data, codes=(0, *codes))
    if trained:
        # a run opens the data by the same door, and tells what it can't read in its record
        run = ("run", "fedavg_s", "--data", data, "--tasks", "ecg_abnormal", "--results", world.root / "r", "--plain")
        bench(*run, "-o", "rounds=1", "-o", "local_epochs=1", codes=(3, 4))


def with_value(card: dict, path: str, value: object) -> dict:
    card = copy.deepcopy(card)
    *above, last = path.split(".")
    place = card
    for part in above:
        place = place[part]
    place[last] = value
    return card


FIELDS = [
    "arrays", "arrays.signal", "arrays.signal.shape", "arrays.signal.dtype", "arrays.signal.scale", "audit", "content",
    "content.signal", "dataset", "dropped", "excluded", "files", "files.signal.npy", "grouping", "groups", "kind",
    "modalities", "notes", "options", "release", "role", "rows", "rows.kept", "shortcuts", "split_mode", "splits",
    "splits.client", "synthetic", "task", "schema",
]  # fmt: skip
VALUES = [None, {"x": [1]}, -1, "../x", [[[]]]]


@pytest.mark.parametrize("field", FIELDS)
def test_cards_of_wrong_types(bench, world, data, field):
    """Some values are right for a field; none may raise anything but a sentence."""
    path = data / "ecg_abnormal" / "card.json"
    card = json.loads(path.read_text())
    field = field.replace("signal.npy", "signal")  # a name with a dot is reached through the mapping
    for value in VALUES:
        path.write_text(json.dumps(with_value(card, field, value)))
        bench("audit", data, "--no-near", "--cohorts", "ecg_abnormal", codes=(0, 1, 2, 3))
        bench("status", world.board, "--results", world.results, "--data", data, codes=(0,))


CARDS = {
    "deep": b'{"schema": 1, "a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep enough": b'{"schema": 1, "a": ' + b"[" * 200 + b"]" * 200 + b"}",
    "huge": b'{"schema": 1, "a": "' + b"x" * 60_000_000 + b'"}',
    "long integer": b'{"schema": 1, "a": ' + b"7" * 5000 + b"}",
    "NaN": b'{"schema": 1, "a": NaN}',
    "empty": b"",
    "binary": bytes(range(256)),
    "list": b"[]",
    "another schema": b'{"schema": 99}',
    "schema alone": b'{"schema": 1}',
}


@pytest.mark.parametrize("name", CARDS)
def test_cards_that_are_none(bench, world, data, name):
    (data / "ecg_abnormal" / "card.json").write_bytes(CARDS[name])
    over(bench, world, data)


@pytest.mark.parametrize("there", ["../x", "/etc/hostname", "..", "a/b", ".hidden", "", "x\0y", "x" * 300])
def test_files_of_a_card_stay_in_its_folder(bench, world, data, there):
    path = data / "ecg_abnormal" / "card.json"
    card = json.loads(path.read_text())
    (data / "x").write_bytes(b"1")
    card["files"][there] = {"bytes": 1, "sha256": file_digest(data / "x")}
    path.write_text(json.dumps(card))
    over(bench, world, data)
    card = json.loads((world.data / "ecg_abnormal" / "card.json").read_text())
    card["arrays"] = {there: card["arrays"]["signal"]}
    path.write_text(json.dumps(card))
    over(bench, world, data)


def array(name: str, whole: bytes, marker) -> bytes:
    made = io.BytesIO()
    values = np.load(io.BytesIO(whole))
    if name == "pickle":
        return pickle.dumps(Marker(marker))
    if name == "object array":
        np.save(made, np.array([Marker(marker)] * len(values), dtype=object), allow_pickle=True)
    elif name == "archive":
        np.savez(made, values)
    elif name == "another dtype":
        np.save(made, values.astype(np.float64))
    elif name == "another shape":
        np.save(made, values[:, :3])
    elif name == "no dimensions":
        np.save(made, np.int16(3))
    elif name == "rows missing":
        np.save(made, values[:-40])
    elif name == "truncated":
        return whole[: len(whole) // 2]
    elif name == "header alone":
        return whole[:128]
    elif name == "empty":
        return b""
    elif name == "huge shape":
        return whole.replace(b"(120, 12, 1000)", b"(99999999999999, 12, 1000)"[:15])
    elif name == "code in the header":
        return whole[:10] + b"__import__('os').mkdir(%r)" % str(marker).encode() + whole[10:]
    elif name == "text":
        return b"1,2,3\n" * 100
    return made.getvalue() or whole


@pytest.mark.parametrize(
    "name",
    ["pickle", "object array", "archive", "another dtype", "another shape", "no dimensions", "rows missing",
     "truncated",
     "header alone", "empty", "huge shape", "code in the header", "text"],
)  # fmt: skip
def test_arrays_that_are_none(bench, world, data, name):
    marker = world.root / "it-ran"
    path = data / "ecg_abnormal" / "signal.npy"
    path.write_bytes(array(name, path.read_bytes(), marker))
    over(bench, world, data)  # the card sees it
    seal(path.parent, path.name)
    over(bench, world, data, trained=True)  # and so does whoever reads the array
    assert not marker.exists()


def table(name: str, whole: pd.DataFrame, path) -> None:
    if name == "rows out of range":
        whole.assign(array_row=10**6).to_parquet(path)
    elif name == "negative rows":
        whole.assign(array_row=-5).to_parquet(path)
    elif name == "blank rows":
        whole.assign(array_row=None).to_parquet(path)
    elif name == "labels of text":
        whole.assign(label="yes").to_parquet(path)
    elif name == "label seven":
        whole.assign(label=7).to_parquet(path)
    elif name == "blank labels":
        whole.assign(label=np.nan).to_parquet(path)
    elif name == "unknown split":
        whole.assign(split="holdout").to_parquet(path)
    elif name == "blank ids":
        whole.assign(sample_id=None).to_parquet(path)
    elif name == "nested ids":
        whole.assign(group_id=[[1, 2]] * len(whole)).to_parquet(path)
    elif name == "column missing":
        whole.drop(columns="site").to_parquet(path)
    elif name == "digest missing":
        whole.drop(columns="digest").to_parquet(path)
    elif name == "digest of numbers":
        whole.assign(digest=3.5).to_parquet(path)
    elif name == "no rows":
        whole.iloc[:0].to_parquet(path)
    elif name == "CSV":
        whole.to_csv(path)
    elif name == "pickle":
        path.write_bytes(pickle.dumps(Marker(path.parent.parent / "it-ran")))
    elif name == "cut":
        path.write_bytes(path.read_bytes()[:-20])
    elif name == "empty":
        path.write_bytes(b"")


@pytest.mark.parametrize(
    "name",
    ["rows out of range", "negative rows", "blank rows", "labels of text", "label seven", "blank labels",
     "unknown split", "blank ids", "nested ids", "column missing", "digest missing", "digest of numbers", "no rows",
     "CSV", "pickle", "cut", "empty"],
)  # fmt: skip
def test_sample_tables_that_are_none(bench, world, data, name):
    path = data / "ecg_abnormal" / "samples.parquet"
    table(name, pd.read_parquet(path), path)
    seal(path.parent, path.name)
    over(bench, world, data, codes=(0, 1, 2, 3), trained=name in ("label seven", "negative rows"))
    assert not (data / "it-ran").exists()


@pytest.mark.parametrize("name", ["card.json", "signal.npy", "samples.parquet", "ids.key", "duplicates.json"])
@pytest.mark.parametrize("place", ["pipe", "folder", "dangling"])
def test_something_else_in_the_place_of_a_file(bench, world, data, name, place):
    path = data / "ecg_abnormal" / name
    path.unlink()
    {"pipe": os.mkfifo, "folder": os.mkdir, "dangling": lambda p: p.symlink_to("nowhere")}[place](path)
    over(bench, world, data, codes=(0, 1, 2, 3))


@pytest.mark.slow
@pytest.mark.parametrize("place", ["pipe", "folder", "dangling"])
def test_something_else_in_a_release(bench, world, cohorts, place):
    make = {"pipe": os.mkfifo, "folder": os.mkdir, "dangling": lambda p: p.symlink_to("nowhere")}[place]
    for dataset, size in {"ptbxl": 0, "rsna": 0, "vqa_rad": 20, "mimic3": 20, "slake": 20, "covqu": 20}.items():
        whole = world.root / dataset if size else cohorts.parent / "raw" / dataset
        if size:
            bench("synth", dataset, "--out", whole, "--size", size, codes=(0,))
        tables = [p for p in sorted(whole.rglob("*")) if p.suffix in (".csv", ".gz", ".json")]
        tables = [p for p in tables if p.name not in ("SYNTHETIC.json", "mask.json")][:2]
        for file in (*tables, whole / "SYNTHETIC.json"):
            raw = world.root / "raw"
            shutil.rmtree(raw, ignore_errors=True)
            shutil.copytree(whole, raw)
            bad = raw / file.relative_to(whole)
            bad.unlink()
            make(bad)
            bench("prepare", dataset, "--raw", raw, "--out", world.root / "o", "--workers", 1, "--plain", codes=(0, 3))
