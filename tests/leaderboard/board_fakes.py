"""Cells and records made up for tests: small enough to work out every number by hand."""

from __future__ import annotations

from typing import Any

from fedmeki_bench.algorithms import Algorithm
from fedmeki_bench.boards.board import Board
from fedmeki_bench.boards.cells import Cell
from fedmeki_bench.evaluation.estimates import SCORING_VERSION
from fedmeki_bench.records.record import Record, Subgroup

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
        "views": [view],
        "versions": {"tasks": {cell.task: 1}, "metrics": dict.fromkeys(metrics, 1), "scoring": SCORING_VERSION},
        "cohorts": [{"name": cell.task, "task": cell.task, "card": "c0ffee", "synthetic": True}],
        "evaluations": evaluations,
        "history": [
            {"round": r, "loss": 0.5, "bytes_up": 2_000_000, "bytes_down": 3_000_000} for r in range(2)
        ],
        "cost": {"seconds": 12.5}, "environment": {"python": "3.11"},
        "started": "2026-01-01T00:00:00+00:00", "finished": "2026-01-01T00:10:00+00:00",
    }  # fmt: skip
    return Record.model_validate({**content, **changes})


def scored(store: Any, cell: Cell, *, strength: float, sites: tuple[str, ...] = ("A", "B")) -> Record:
    """A finished run with predictions on 60 patients; the larger ``strength``, the better its AUROC."""
    import numpy as np

    from fedmeki_bench.evaluation.metrics import BUILT_IN
    from fedmeki_bench.evaluation.predictions import Predictions, predictions_path, write_predictions
    from fedmeki_bench.seeds import generator

    patients = generator(0, "patients", cell.task)
    labels = patients.integers(0, 2, 60)
    own = generator(cell.seed, "scores", cell.algorithm.name, cell.task)
    logits = strength * (labels - 0.5) + 0.5 * patients.normal(size=60) + 0.5 * own.normal(size=60)
    found = Predictions(
        np.array([f"s{i}" for i in range(60)]), np.array([f"p{i}" for i in range(60)]),
        np.array([sites[i % len(sites)] for i in range(60)]), labels, 1 / (1 + np.exp(-logits)),
    )  # fmt: skip
    value = BUILT_IN["auroc"](labels, found.score)
    made = record(cell, {"auroc": value, "f1": BUILT_IN["f1"](labels, found.score)})
    for number, item in enumerate(made.history):
        item.valid = {cell.task: value - 0.1 * (1 - number)}
    path = predictions_path(store.folder(made.key), cell.algorithm.view, cell.task)
    write_predictions(path, found)
    made.evaluations[0].predictions = f"predictions/{path.name}"
    groups = [Subgroup(name=s, n=30, groups=30, value=value - 0.1 * i, low=0.4, high=0.9) for i, s in enumerate(sites)]
    made.evaluations[0].subgroups = {"site": groups}
    store.write(made)
    return made


STRENGTH = {"majority": 0.0, "central": 3.0, "fedavg_s": 1.6, "fedprox_s": 1.7, "fedavg_m": 0.1}


def judged(folder: Any, seeds: list[int], tasks: list[str] = TASKS) -> tuple[Board, list[Cell], Any]:
    """A board with bounds, three competitors and predictions behind every number."""
    from fedmeki_bench.records.store import RecordStore

    algorithms = [
        algorithm("majority", view="constant"), algorithm("central", pooled=True), algorithm("fedavg_s"),
        algorithm("fedprox_s"), algorithm("fedavg_m"),
    ]  # fmt: skip
    made = [Cell(a, t, s, f"{a.name}-{t}-{s}") for a in algorithms for t in tasks for s in seeds]
    store = RecordStore(folder)
    for cell in made:
        scored(store, cell, strength=STRENGTH[cell.algorithm.name])
    toy = board(algorithms=[a.name for a in algorithms], seeds=seeds, reference="fedavg_s", tasks=tasks)
    return toy, made, store
