"""The figures in docs/foundation.md are those of the committed boards."""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest
from committed_boards import main_values

from fedmeki_bench.algorithms import resolve
from fedmeki_bench.boards.loading import find_board

ROOT = Path(__file__).parents[2]


def rows(name: str) -> list[str]:
    """Per algorithm its name and the mean over seeds of each group of tasks, as the page writes them."""
    board = find_board(name)
    values = main_values(name, "auroc")
    lines = []
    for row in board.rows:
        cells = []
        for tasks in board.groups.values():
            seeds = [statistics.fmean(values[row.name, task, seed] for task in tasks) for seed in board.seeds]
            cells.append(f"{statistics.fmean(seeds):.3f} ± {statistics.stdev(seeds):.3f}")
        lines.append(f"| {resolve(row.algorithm).title} | {' | '.join(cells)} |")
    return lines


@pytest.mark.parametrize("name", ["transfer", "conflict", "conflict_small"])
def test_the_tables_of_the_foundation_page_are_the_boards(name):
    page = (ROOT / "docs" / "foundation.md").read_text()
    heads = " | ".join(find_board(name).groups)
    assert f"| {name} | {heads} |" in page
    for line in rows(name):
        assert line in page
