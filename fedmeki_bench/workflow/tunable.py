"""Which rows of a board can be tuned over which options, and what a trial of one is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fedmeki_bench import algorithms, registry
from fedmeki_bench.boards.board import Board
from fedmeki_bench.boards.rows import BoardRow, Scalar
from fedmeki_bench.errors import UsageError, nearest
from fedmeki_bench.runs.rows import has_option, in_full
from fedmeki_bench.runs.spec import option_models
from fedmeki_bench.runs.trials import Grid


def rows_asked(board: Board, asked: Sequence[str] | None) -> list[BoardRow]:
    """The rows that were asked for: by what they are called, or by an algorithm that one of them has."""
    if asked is None:
        return board.rows
    found: list[BoardRow] = []
    for name in dict.fromkeys(asked):
        named = [row for row in board.rows if row.name == name] or [r for r in board.rows if r.algorithm == name]
        if len(named) > 1:
            raise UsageError(f"{name!r} is the algorithm of {', '.join(row.name for row in named)}: name one of these")
        if not named:
            try:
                algorithms.resolve(name)
            except UsageError as error:
                raise UsageError(f"{name!r} is not a row of {board.name}; {nearest(name, board.row_names)}") from error
            named = [BoardRow(-1, name, name)]
        found += named
    return found


def why_not(board: Board, row: BoardRow, over: Grid) -> str:
    """Why there is nothing to choose on `valid` for a row, or not with the others' trials; empty if there is."""
    algorithm = algorithms.resolve(row.algorithm)
    if not registry.load("rules", algorithm.rule).trains:
        return f"{row.name}: its clients train nothing"
    views = algorithms.views(algorithm.rule, algorithm.stage)
    known = [option_models(algorithm, choice.partition) for choice in board.federations]
    for key in over:
        if not any(has_option(models, key) for models in known):
            fields = [field for models in known for model in models.values() for field in model.model_fields]
            hint = nearest(key.rpartition(".")[2], fields)
            return f"{row.name} has no option {key!r}, and all rows get the same trials: tune it apart; {hint}"
        if algorithm.view != views[0] and in_full(known[0], key).startswith("stage."):
            return (
                f"{row.name}: valid is watched by the view {views[0]}, and says nothing of {key}, which concerns the "
                f"view {algorithm.view}"
            )
    return ""


def notes_of(row: BoardRow) -> tuple[str, ...]:
    """What should be known of trials of a row before they are run, in sentences."""
    algorithm = algorithms.resolve(row.algorithm)
    view = algorithms.views(algorithm.rule, algorithm.stage)[0]
    if algorithm.view == view:
        return ()
    return (f"valid is watched by the view {view}, the row is scored by the view {algorithm.view}",)


def laid_over(board: Board, row: BoardRow, values: Mapping[str, Scalar]) -> dict[str, Any]:
    """The row's own options with those of a trial in their place."""
    return dict(row.options) | {as_written(board, row, key): value for key, value in values.items()}


def as_written(board: Board, row: BoardRow, key: str) -> str:
    """An option as the row writes it, which may have ``profile.lr`` for ``lr``."""
    models = option_models(algorithms.resolve(row.algorithm), board.federations[0].partition)
    return next((own for own, _ in row.options if in_full(models, own) == in_full(models, key)), key)
