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
