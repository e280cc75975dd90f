"""Where things are in a board's file: its text within bounds, the line of every key, and errors that name a place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import yaml
from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from fedmeki_bench.bounded import regular_text
from fedmeki_bench.errors import InputError
from fedmeki_bench.plain import one_line, plain_text

_LARGEST = 1_000_000


def where(source: Path | None, lines: Mapping[tuple[Any, ...], int], place: tuple[Any, ...]) -> str:
    """``FILE:LINE`` of a key or an item of a list, or ``the board`` where there is no file."""
    if source is None:
        return "the board"
    line = next((lines[place[:k]] for k in range(len(place), 0, -1) if place[:k] in lines), 1)
    return f"{source}:{line}"


def refuse(sentence: str, *place: str | int) -> NoReturn:
    """Raise what pydantic takes for an error at this place of what is validated."""
    error = PydanticCustomError("board", "{sentence}", {"sentence": sentence})
    raise ValidationError.from_exception_data("Board", [InitErrorDetails(type=error, loc=place, input=None)])


def board_text(path: Path) -> str:
    """The text of a board file, which must be a regular file of a plausible size without control characters."""
    try:
        text = regular_text(path, _LARGEST, "board")
    except OSError:
        raise InputError(f"{path}: there is no such file") from None
    for number, line in enumerate(text.splitlines(), start=1):
        if plain_text(line) != line:
            raise InputError(f"{path}:{number}: holds a control character ({one_line(line)[:60]})")
    return text


def lines_of(node: yaml.Node, at: tuple[Any, ...], path: Path) -> Iterator[tuple[tuple[Any, ...], int]]:
    """Line (1-based) of every key and list item below ``node``; repeated keys are refused on the way."""
    yield at, node.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from lines_of(item, (*at, index), path)
    elif isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.value in seen:
                raise InputError(f"{path}:{line}: key {key.value!r} occurs twice")
            seen.add(key.value)
            yield from lines_of(value, (*at, key.value), path)
            yield (*at, key.value), line
