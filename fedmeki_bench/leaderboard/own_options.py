"""Rows with options of their own, named wherever they stand: readers expect all rows of a table to have one budget."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fedmeki_bench.algorithms import Algorithm
    from fedmeki_bench.boards.board import Board


def own_options(board: Board) -> dict[str, str]:
    """Row -> the options that the board gives it alone, in words; rows without any are left out.

    Those that were tuned have their budget beside them: ``mu 0.1, lr 0.05 (lr chosen on valid among 6)``.
    """
    return {row.name: row.own + (f" ({row.tuned.in_words})" if row.tuned else "") for row in board.rows if row.own}


def own_options_notes(board: Board, shown: Iterable[Algorithm]) -> list[str]:
    """The note of a table that shows these rows; none where none of them has options of its own."""
    titles = {algorithm.name: algorithm.title for algorithm in shown}
    said = [f"{titles[name]}: {own}" for name, own in own_options(board).items() if name in titles]
    return [f"Rows with options of their own, over the board's: {'; '.join(said)}."] if said else []
