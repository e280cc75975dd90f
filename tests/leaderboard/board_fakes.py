"""Cells and records made up for tests: small enough to work out every number by hand."""

from __future__ import annotations

from typing import Any

from fedmeki_bench.algorithm import Algorithm
from fedmeki_bench.leaderboard.board import Board
from fedmeki_bench.leaderboard.cells import Cell
from fedmeki_bench.results.record import Record

TASKS = ["ecg_abnormal", "lung_opacity"]


def algorithm(name: str, **changes: Any) -> Algorithm:
    rule, _, scope = name.partition("_")
    scope, _, stage = scope.partition("_")
    base = {
        "name": name, "rule": rule, "scope": scope or "s", "stage": stage or "none",
        "base": rule.capitalize(), "sub": scope, "sup": {"plus": "+", "star": "*"}.get(stage, ""),
        "bound": rule in ("majority", "local", "central"),
    }  # fmt: skip
    return Algorithm(**{**base, **changes})


def board(**changes: Any) -> Board:
    content = {
        "name": "toy", "title": "Toy board", "profile": "demo", "seeds": [0], "tasks": TASKS,
        "algorithms": ["majority", "fedavg_s", "fedprox_s"],
    }  # fmt: skip
    return Board.model_validate({**content, **changes})


def cells(algorithms: list[Algorithm], tasks: list[str], seeds: list[int]) -> list[Cell]:
    return [
        Cell(a, t, s, f"{a.name}-{t if a.scope == 's' else 'all'}-{s}")
        for a in algorithms
        for t in tasks
        for s in seeds
    ]


def record(cell: Cell, values: dict[str, Any], **changes: Any) -> Record:
    """A finished run of one cell; ``values`` maps metric to value or (value, low, high)."""
    metrics = {}
    for name, value in values.items():
        v, low, high = value if isinstance(value, tuple) else (value, None, None)
        metrics[name] = {"value": v, "low": low, "high": high}
    view = cell.algorithm.view
    evaluations = [{"view": view, "task": cell.task, "n": 40, "groups": 30, "metrics": metrics}]
    content: dict[str, Any] = {
        "key": f"k-{cell.setting}", "setting": cell.setting, "status": "ok", "algorithm": cell.algorithm.name,
        "rule": cell.algorithm.rule, "scope": cell.algorithm.scope, "stage": cell.algorithm.stage,
        "profile": "demo", "seed": cell.seed, "clients": 5, "partition": "iid", "tasks": [cell.task],
        "views": [view], "versions": {"tasks": {cell.task: 1}, "metrics": dict.fromkeys(metrics, 1)},
        "cohorts": [{"name": cell.task, "task": cell.task, "card": "c0ffee", "synthetic": True}],
        "evaluations": evaluations,
        "history": [
            {"round": r, "loss": 0.5, "bytes_up": 2_000_000, "bytes_down": 3_000_000} for r in range(2)
        ],
        "cost": {"seconds": 12.5}, "environment": {"python": "3.11"},
        "started": "2026-01-01T00:00:00+00:00", "finished": "2026-01-01T00:10:00+00:00",
    }  # fmt: skip
    return Record.model_validate({**content, **changes})
