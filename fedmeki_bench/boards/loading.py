"""Boards read from files, by name, or from what a file would hold; and what is wrong with one, in a sentence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from fedmeki_bench.boards.axes import BadValue, check_rows
from fedmeki_bench.boards.board import Board, SynthSpec
from fedmeki_bench.boards.claims import check_claim
from fedmeki_bench.boards.known import known_boards
from fedmeki_bench.boards.places import board_text, lines_of, where
from fedmeki_bench.boards.rows import BY_NAME, IN_DETAIL, RowSpec, TunedSpec
from fedmeki_bench.errors import InputError, UsageError, nearest
from fedmeki_bench.options import safe_yaml
from fedmeki_bench.plain import plain_values


def load_board(path: Path) -> Board:
    """Read a board file.

    Raises:
        InputError: unreadable, not YAML, a repeated or unknown key, or a value of the wrong kind; the message
            names file, line and key, and for an unknown key the nearest known one.
    """
    text = board_text(path)
    try:
        content = safe_yaml(text)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        at = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error) or "cannot be parsed"
        raise InputError(f"{path}{at}: not valid YAML: {problem}") from error
    if not isinstance(content, dict) or node is None:
        raise InputError(f"{path}: a board is a mapping of keys such as name, tasks and algorithms")
    lines = dict(lines_of(node, (), path))
    board = _checked(content, lambda *place: where(path, lines, place))
    return board.located(path, lines)


def board_from(content: Mapping[str, Any]) -> Board:
    """A board from what its file would hold.

    Raises:
        InputError: an unknown key or a value of the wrong kind; the message names the key, and for an unknown one the
            nearest known one.
    """
    return _checked(dict(content), lambda *place: "the board")


def _checked(content: dict[Any, Any], at: Callable[..., str]) -> Board:
    """The board of these keys; ``at(*place)`` says in sentences where a key or item of a list is."""
    if plain_values(content) != content:
        raise InputError(f"{at()}: a text holds an escaped control character; boards are plain text")
    try:
        board = Board.model_validate(content)
    except ValidationError as error:
        raise InputError(_explain(error, at)) from error
    rows = board.row_names
    if board.reference is not None and board.reference not in rows:
        hint = nearest(board.reference, rows)
        raise InputError(f"{at('reference')}: reference {board.reference!r} is not among its algorithms; {hint}")
    for name in board.questions or {}:
        if name not in rows:
            hint = nearest(name, rows)
            raise InputError(f"{at('questions', name)}: {name!r} of questions is not among its algorithms; {hint}")
    try:
        check_rows(board.axes, rows)
    except BadValue as error:
        raise InputError(f"{at('axes', *error.place)}: {error}") from error
    for place, claim in enumerate(board.claims_made):
        try:
            check_claim(claim, rows, board.tasks)
        except ValueError as error:
            raise InputError(f"{at('claims', place)}: {error}") from error
    for title, tasks in board.groups.items():
        for task in tasks:
            if task not in board.tasks:
                hint = nearest(task, board.tasks)
                raise InputError(
                    f"{at('groups', title)}: task {task!r} of group {title!r} is not among its tasks; {hint}"
                )
    return board


def _explain(error: ValidationError, at: Callable[..., str]) -> str:
    problems = error.errors(include_url=False)
    # A misspelt key is also a missing one; the misspelling is what the reader can mend.
    problem = next((p for p in problems if p["type"] == "extra_forbidden"), problems[0])
    place = tuple(part for part in problem["loc"] if part not in (BY_NAME, IN_DETAIL))
    key = ".".join(str(part) for part in place) or "the board"
    if problem["type"] == "extra_forbidden":
        known = (TunedSpec if "tuned" in place[:-1] else _PARTS.get(str(place[0]), Board)).model_fields
        return f"{at(*place)}: unknown key {key!r}; {nearest(str(place[-1]), known)}"
    if problem["type"] == "missing":
        return f"{at(*place)}: key {key!r} is missing"
    return f"{at(*place)}: {key}: {problem['msg'].removeprefix('Value error, ')}"


_PARTS: dict[str, type[BaseModel]] = {"synth": SynthSpec, "algorithms": RowSpec}
"""Key of a board -> the model that its values' own keys belong to."""


def find_board(name_or_path: str | Path) -> Board:
    """The board of that name, or in that file.

    Raises:
        UsageError: no such board; names the nearest.
        InputError: its file is bad.
    """
    text = str(name_or_path)
    if text.endswith((".yaml", ".yml")) or "/" in text:
        path = Path(text)
        if not path.exists():
            raise UsageError(f"no board file {text}")
        return load_board(path)
    boards = known_boards()
    if text not in boards:
        raise UsageError(f"unknown board {text!r}; {nearest(text, boards)}")
    return load_board(boards[text])
