"""Showing, checking, comparing and scoring run no code that records or boards name."""

from __future__ import annotations

import copy
import json

import pytest

EVIL = """
from pathlib import Path
Path({marker!r}).write_text("it ran")
from fedmeki_bench.api import Rule
class Evil(Rule):
    "Not to be run."
"""


@pytest.fixture
def evil(world):
    """The file, and the marker that it would leave."""
    marker = world.root / "it-ran"
    file = world.results / "evil.py"
    file.write_text(EVIL.format(marker=str(marker)))
    yield f"{file}:Evil", file
    assert not marker.exists(), "the code in the results folder was executed"


def over_results(world):
    """Commands that read records, and never run what those name."""
    shown = ("--results", world.results)
    key = world.record("majority")["key"]
    return [
        ("leaderboard", world.board, *shown, "--out", world.root / "out", "--format", "md,csv,json,tex"),
        ("leaderboard", world.board, *shown, "--out", world.root / "out", "--check"),
        ("status", world.board, *shown, "--data", world.data),
        ("status", world.board, *shown, "--data", world.data, "--json"),
        ("plan", world.board, *shown),
        ("compare", "evil", key, *shown),
        ("compare", "fedavg_s", "majority", "--board", world.board, *shown),
        ("rescore", world.results),
        ("list", "algorithms"), ("list", "leaderboards"), ("info", "fedavg_s"),
    ]  # fmt: skip


def changed(record: dict, where: str, name: str) -> dict:
    record = copy.deepcopy(record)
    if where == "algorithm":
        record |= {"algorithm": f"{name}_s", "rule": name}
    elif where in ("rule", "partition", "stage", "profile"):
        record[where] = name
    elif where == "encoder":
        record["params"]["profile"]["encoders"]["signal"]["name"] = name
    elif where == "foundation":
        record["params"]["stage"] |= {"foundation": name, "trust_remote_code": True}
    elif where == "task":
        record["tasks"] = [name]
        record["versions"]["tasks"] = {name: 1}
        record["cohorts"][0]["task"] = record["evaluations"][0]["task"] = name
    elif where == "metric":
        record["evaluations"][0]["metrics"] |= {name: {"value": 0.5}}
        record["versions"]["metrics"] |= {name: 1}
        record["versions"]["sources"] |= {f"metric {name}": "0" * 16}
    elif where == "metric of a foreign task":
        record = changed(record, "metric", name)
        record["evaluations"][0]["task"] = "unheard_of"
    record["versions"]["scoring"] = 0  # as if it had to be scored anew
    return record


@pytest.mark.parametrize(
    "where",
    ["algorithm", "rule", "partition", "stage", "profile", "encoder", "foundation", "task", "metric",
     "metric of a foreign task"],
)  # fmt: skip
@pytest.mark.parametrize("beside", [True, False], ids=["beside", "in_the_place"])
def test_what_a_record_names_is_not_run(bench, world, evil, where, beside):
    name, _ = evil
    record = changed(world.record(), where, name)
    world.write(record, "evil" if beside else None)
    for args in over_results(world):
        bench(*args)


@pytest.mark.parametrize("where", ["algorithms", "tasks", "partition", "partitions", "published", "options", "profile"])
def test_what_a_board_names_is_not_run(bench, world, evil, where):
    name, file = evil
    (world.root / "leaderboards").mkdir()
    said = {
        "algorithms": f"algorithms: [majority, '{name}_s']", "tasks": f"tasks: [ecg_abnormal, '{name}']",
        "partition": f"partition: '{name}'", "partitions": f"partitions: [iid, '{name}']",
        "published": f"published: '{file}'", "options": f"options: {{encoder.signal: '{name}', rounds: 1}}",
        "profile": f"profile: '{name}'",
    }[where]  # fmt: skip
    lines = [line for line in world.board.read_text().splitlines() if not line.startswith(f"{where}:")]
    world.board = world.root / "leaderboards" / "theirs.yaml"
    world.board.write_text("\n".join([*lines, said]) + "\n")
    for args in over_results(world):
        bench(*args)
    bench("compare", f"{name}_s", "majority", "--board", world.board, "--results", world.results)


@pytest.mark.parametrize("where", ["algorithm", "rule", "partition", "encoder", "foundation"])
def test_reproduce_lists_the_code_and_refuses(bench, world, evil, where, monkeypatch):
    name, file = evil
    path = world.write(changed(world.record(), where, name), "evil")
    ended = bench("reproduce", path.parent, "--data", world.data, codes=(2,))
    assert "would run" in ended.err
    assert str(file) in ended.err
    assert "--trust" in ended.err


def test_trusted_code_is_run_so_the_marker_would_tell(bench, world):
    marker = world.root / "it-ran"
    (world.results / "evil.py").write_text(EVIL.format(marker=str(marker)))
    path = world.write(changed(world.record(), "algorithm", f"{world.results / 'evil.py'}:Evil"), "evil")
    bench("reproduce", path.parent, "--data", world.data, "--trust")
    assert marker.exists()


@pytest.mark.parametrize("field", ["task", "dataset", "kind", "registry"])
def test_what_a_card_names_is_not_run(bench, world, evil, field, tmp_path):
    import shutil

    name, _ = evil
    data = tmp_path / "data"
    shutil.copytree(world.data, data)
    path = data / "ecg_abnormal" / "card.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: name}))
    for args in (("audit", data, "--no-near"), ("status", world.board, "--data", data, "--results", world.results)):
        bench(*args)
