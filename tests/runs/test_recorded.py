"""Rows of a board whose rule is a file, shown by what their records tell."""

from __future__ import annotations

from fedmeki_bench.boards.board import Board
from fedmeki_bench.records.record import Record
from fedmeki_bench.runs.plan import cells


def test_two_views_of_one_training_both_keep_their_cells():
    board = Board.model_validate({
        "name": "small", "profile": "demo", "seeds": [0], "clients": 2, "tasks": ["ecg_abnormal"],
        "algorithms": ["gone.py:Gone_m_star", "gone.py:Gone_m_fm"],
    })  # fmt: skip
    record = Record.model_validate({
        "key": "k", "setting": "s", "status": "ok", "algorithm": "gone.py:Gone_m_star", "rule": "gone.py:Gone",
        "scope": "m", "stage": "injection", "profile": "demo", "seed": 0, "clients": 2, "partition": "iid",
        "tasks": ["ecg_abnormal"], "views": ["aggregated", "foundation"], "versions": {"tasks": {"ecg_abnormal": 1}},
    })  # fmt: skip
    found = [(cell.algorithm.view, cell.setting) for cell in cells(board, [record])]
    assert found == [("aggregated", "s"), ("foundation", "s")]


def test_a_row_s_records_are_told_apart_by_the_order_of_tasks():
    """A record of all tasks at once names no regime, and none but that cell is its."""
    tasks = ["ecg_abnormal", "lung_opacity"]
    board = Board.model_validate({
        "name": "small", "profile": "demo", "seeds": [0], "clients": 2, "tasks": tasks,
        "algorithms": ["gone.py:Gone_m"], "design": "factorial",
        "axes": {"regime": [{"regime": "joint"}, {"regime": "sequential"}],
                 "order": [{"order": "ecg_abnormal,lung_opacity"}, {"order": "lung_opacity,ecg_abnormal"}]},
    })  # fmt: skip

    def record(setting: str, **params: object) -> Record:
        return Record.model_validate({
            "key": f"k{setting}", "setting": setting, "status": "ok", "algorithm": "gone.py:Gone_m",
            "rule": "gone.py:Gone", "scope": "m", "stage": "none", "profile": "demo", "seed": 0, "clients": 2,
            "partition": "iid", "tasks": tasks, "views": ["aggregated"], "params": params,
            "versions": {"tasks": dict.fromkeys(tasks, 1)},
        })  # fmt: skip

    phased = {"regime": "sequential", "rounds_per_task": 0, "rehearsal": 0.0, "rehearse_at": "clients"}
    records = [record("joint"), record("later", curriculum=phased | {"order": tasks[::-1]})]
    found = [cell.setting if not cell.setting.startswith("no setting") else "" for cell in cells(board, records)]
    assert found == ["joint"] * 4 + [""] * 2 + ["later"] * 2
