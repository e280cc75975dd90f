"""One bad file in a results folder is one line with its reason; the good rows stay byte for byte."""

from __future__ import annotations

import copy
import json
import os
import shutil
from pathlib import Path

import pytest

SHOWN = "md,csv,json,tex"


def board(bench, world, out: str) -> dict[str, bytes]:
    ended = bench("leaderboard", world.board, "--results", world.results, "--out", world.root / out, "--format", SHOWN)
    assert ended.code == 0, ended.err
    return {path.name: path.read_bytes() for path in (world.root / out).iterdir()}


def good_rows(files: dict[str, bytes]) -> list[bytes]:
    """The lines that show a number of a run that is there and whole, in each format."""
    rows = [line for line in files["leaderboard.csv"].splitlines() if b",ok," in line]
    rows += [line for line in files["leaderboard.md"].splitlines() if line.startswith(b"| ") and b"0." in line]
    assert rows
    return rows


def replaced(text: str, old: str, new: str) -> bytes:
    assert old in text
    return text.replace(old, new, 1).encode()


SCORE = '"value": 0.'

CONTENTS = {
    "deep": lambda text: b"[" * 100_000 + b"]" * 100_000,
    "deep object": lambda text: b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "deep inside": lambda text: replaced(text, '"params": {', '"params": {"x": ' + "[" * 40 + "]" * 40 + ", "),
    "long integer": lambda text: replaced(text, '"seed": 0', '"seed": ' + "7" * 5000),
    "huge seed": lambda text: replaced(text, '"seed": 0', '"seed": 1' + "0" * 400),
    "NaN": lambda text: replaced(text, SCORE, '"value": NaN, "x": 0.'),
    "Infinity": lambda text: replaced(text, SCORE, '"low": -Infinity, "value": 0.'),
    "1e999": lambda text: replaced(text, SCORE, '"value": 1e999, "high": 0.'),
    "empty": lambda text: b"",
    "binary": lambda text: bytes(range(256)) * 40,
    "cut": lambda text: text[: len(text) // 2].encode(),
    "null": lambda text: b"null",
    "list": lambda text: b"[1, 2]",
    "schema of text": lambda text: replaced(text, '"schema": 1', '"schema": "1"'),
    "schema true": lambda text: replaced(text, '"schema": 1', '"schema": true'),
    "lone surrogate": lambda text: replaced(text, '"algorithm": "', '"algorithm": "\\ud800'),
    "60 MB": lambda text: text.encode() + b" " * 60_000_000,
    "metrics a list": lambda text: replaced(text, '"metrics": {', '"metrics": [], "was": {'),
    "everything text": lambda text: json.dumps(dict.fromkeys(json.loads(text), "x")).encode(),
    "everything null": lambda text: json.dumps(dict.fromkeys(json.loads(text))).encode(),
    "everything a list": lambda text: json.dumps({key: [[1]] for key in json.loads(text)}).encode(),
    "everything a number": lambda text: json.dumps(dict.fromkeys(json.loads(text), 1)).encode(),
    "another key": lambda text: replaced(text, '"key": "', '"key": "another-'),
}  # fmt: skip


def folder(path: Path) -> None:
    path.mkdir()


def dangling(path: Path) -> None:
    path.symlink_to("nowhere")


def loop(path: Path) -> None:
    path.symlink_to(path.name)


PLACES = {"folder": folder, "pipe": os.mkfifo, "dangling link": dangling, "loop of links": loop}


@pytest.fixture
def before(bench, world):
    return good_rows(board(bench, world, "before"))


@pytest.mark.parametrize("name", CONTENTS)
def test_a_bad_record_is_one_line(bench, world, before, name):
    record = world.record()
    path = world.write(record, "bad")
    path.write_bytes(CONTENTS[name](path.read_text()))
    after = board(bench, world, "after")
    assert good_rows(after) == before
    assert sum(b"bad/record.json" in line for line in after["leaderboard.md"].splitlines()) == 1, "shown once"
    for args in (
        ("status", world.board, "--results", world.results, "--data", world.data),
        ("rescore", world.results), ("compare", "bad", record["key"], "--results", world.results),
        ("reproduce", path, "--data", world.data),
    ):  # fmt: skip
        ended = bench(*args)
        assert ended.code in ((0, 1) if args[0] in ("status", "rescore") else (2, 3)), ended


@pytest.mark.parametrize(
    "name", ["deep", "NaN", "1e999", "empty", "schema true", "60 MB", "everything text", "another key"]
)
def test_a_bad_record_in_the_place_of_a_run_is_its_reason(bench, world, before, name):
    record = world.record("fedavg_s")
    path = world.results / record["key"] / "record.json"
    path.write_bytes(CONTENTS[name](path.read_text()))
    rows = good_rows(board(bench, world, "after"))
    assert set(rows) < set(before)
    assert any(b"majority" in row for row in rows)
    shown = ("status", world.board, "--results", world.results, "--data", world.data)
    (row,) = [row for row in json.loads(bench(*shown, "--json").out) if row["algorithms"] == ["fedavg_s"]]
    assert row["status"] != "ok"


@pytest.mark.parametrize("name", PLACES)
def test_something_else_in_the_place_of_a_record(bench, world, before, name):
    (world.results / "bad").mkdir()
    PLACES[name](world.results / "bad" / "record.json")
    after = board(bench, world, "after")
    assert good_rows(after) == before
    assert b"bad/record.json" in after["leaderboard.md"]
    assert bench("status", world.board, "--results", world.results, "--data", world.data).code == 0
    assert bench("rescore", world.results).code == 0
    assert bench("compare", "bad", world.record()["key"], "--results", world.results).code in (2, 3)
    assert bench("reproduce", world.results / "bad", "--data", world.data).code in (2, 3)


@pytest.mark.parametrize("name", [*PLACES, "60 MB", "empty", "binary", "cut"])
def test_something_else_in_the_place_of_predictions(bench, world, before, name):
    record = world.record("fedavg_s")
    path = world.results / record["key"] / record["evaluations"][0]["predictions"]
    content = path.read_bytes()
    path.unlink()
    if name in PLACES:
        PLACES[name](path)
    else:
        other = {"60 MB": b"\0" * 60_000_000, "empty": b"", "binary": bytes(range(256)), "cut": content[:-9]}
        path.write_bytes(other[name])
    after = board(bench, world, "after")
    majority = [row for row in before if b"majority" in row]
    assert majority
    assert set(majority) <= set(good_rows(after))
    assert b"can't be checked" in after["leaderboard.md"] or b"can&#39;t be checked" in after["leaderboard.md"]
    assert bench("compare", "fedavg_s", "majority", "--board", world.board, "--results", world.results).code == 3
    assert bench("rescore", world.results).code in (0, 1)
    assert bench("status", world.board, "--results", world.results, "--data", world.data).code == 0


@pytest.mark.parametrize(
    "there", ["../x", "/etc/passwd", "a/../../x", "..", ".", "", "x\0y", "x" * 5000, "predictions"]
)
def test_predictions_stay_in_their_folder(bench, world, before, there):
    record = world.record("fedavg_s")
    good = world.results / record["key"] / record["evaluations"][0]["predictions"]
    shutil.copy(good, world.results / "x")
    for evaluation in record["evaluations"]:
        evaluation["predictions"] = there
    world.write(record)
    after = board(bench, world, "after")
    assert b"can't be checked" in after["leaderboard.md"] or b"bad" in after["leaderboard.csv"]
    assert bench("rescore", world.results).code in (0, 1)
    assert bench("compare", "fedavg_s", "majority", "--board", world.board, "--results", world.results).code == 3


NAMES = ["unheard_of", "", "x" * 5000, "a\tb\nc", "../..", "{{7*7}}", "<script>alert(1)</script>"]
FIELDS = ["algorithm", "rule", "stage", "profile", "partition", "tasks", "views", "metric", "split"]


def renamed(record: dict, field: str, name: str) -> dict:
    if field == "metric":
        record["evaluations"][0]["metrics"] = {name: {"value": 0.5}} | record["evaluations"][0]["metrics"]
    elif field == "split":
        record["evaluations"][0]["split"] = name
    else:
        record[field] = [name] if isinstance(record[field], list) else name
        if field in ("tasks", "views"):
            record["evaluations"][0][field[:-1]] = name
    return record


@pytest.mark.parametrize("field", FIELDS)
def test_unknown_names_in_a_record(bench, world, before, field):
    record = world.record("fedavg_s")
    for number, name in enumerate(NAMES):
        world.write(renamed(copy.deepcopy(record), field, name), f"bad{number}")
    assert {row for row in before if b"majority" in row} <= set(good_rows(board(bench, world, "after")))
    for args in (
        ("status", world.board, "--results", world.results, "--data", world.data),
        ("rescore", world.results),
        *(("compare", f"bad{n}", record["key"], "--results", world.results) for n in range(len(NAMES))),
    ):  # fmt: skip
        bench(*args, codes=(0, 1, 2, 3))


@pytest.mark.parametrize("name", PLACES)
def test_something_else_in_the_place_of_a_table(bench, world, name):
    (world.root / "out").mkdir()
    PLACES[name](world.root / "out" / "leaderboard.md")
    shown = ("leaderboard", world.board, "--results", world.results, "--out", world.root / "out", "--format", "md")
    assert bench(*shown, "--check").code == 1
    assert bench(*shown).code in (0, 3)


@pytest.mark.parametrize("name", PLACES)
def test_something_else_in_the_place_of_the_results(bench, world, name):
    shutil.rmtree(world.results)
    PLACES[name](world.results)
    assert bench("leaderboard", world.board, "--results", world.results, "--out", world.root / "out").code == 3
    assert bench("status", world.board, "--results", world.results, "--data", world.data).code == 0
    assert bench("rescore", world.results).code == 3
    assert bench("compare", "a", "b", "--results", world.results).code == 2
