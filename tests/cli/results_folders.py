"""Folders of results for tests: a sweep split in two, and what can be done to a run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fedmeki_bench as fb
from fedmeki_bench.records.record import Record
from fedmeki_bench.records.store import RecordStore
from fedmeki_bench.workflow.folders import Merged

BOARD = {
    "name": "small", "profile": "demo", "seeds": [0, 1], "clients": 2, "tasks": ["ecg_abnormal"],
    "algorithms": ["majority", "fedavg_s", "fedprox_s"], "options": {"rounds": 1, "local_epochs": 1, "mu": 10.0},
}  # fmt: skip
FORMATS = ("md", "csv", "json", "tex", "html")


def pages(results: Path, out: Path, board: dict[str, Any] = BOARD) -> dict[str, bytes]:
    """The files of the board's leaderboard."""
    return {path.name: path.read_bytes() for path in fb.leaderboard(board, results, out=out, formats=FORMATS).files}


def tree(folder: Path) -> dict[str, bytes | str]:
    """Everything below a folder: files by content, links by where they lead, empty folders."""
    found: dict[str, bytes | str] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = str(path.readlink())
        elif path.is_file():
            found[name] = path.read_bytes()
        elif path.is_dir() and not any(path.iterdir()):
            found[name] = "empty"
    return found


def split(results: Path, a: Path, b: Path) -> list[str]:
    """Copy every second run to either folder; returns the keys."""
    keys = sorted(path.name for path in results.iterdir())
    for i, key in enumerate(keys):
        shutil.copytree(results / key, (a, b)[i % 2] / key)
    return keys


def edited(results: Path, key: str, change: Callable[[Record], None]) -> None:
    """Change a record and write it with a right digest, as another run would have."""
    store = RecordStore(results)
    record = store.load(key)
    assert record is not None
    change(record)
    store.write(record)


def unfinished(results: Path, key: str, *, rounds: int = 1, status: str = "interrupted", checkpoint: str = "") -> None:
    """Turn a finished run into one that was stopped in mid-run."""

    def change(record: Record) -> None:
        record.status = status  # type: ignore[assignment]
        record.evaluations = []
        record.history = record.history[:1] * rounds

    edited(results, key, change)
    shutil.rmtree(results / key / "predictions", ignore_errors=True)
    if checkpoint:
        (results / key / "checkpoint").mkdir()
        (results / key / "checkpoint" / "state.pt").write_text(checkpoint)


def status_of(results: Path, key: str) -> str:
    """What a record says of its run."""
    return str(json.loads((results / key / "record.json").read_text())["status"])


def states(merged: Merged) -> dict[str, str]:
    """What became of each run of a merge."""
    return {run.key: run.state for run in merged.runs}
