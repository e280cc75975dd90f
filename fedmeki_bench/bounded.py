"""Text files and JSON that strangers wrote: read within bounds, or refused for a reason in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fedmeki_bench.errors import InputError
from fedmeki_bench.plain import one_line

_DEEPEST = 30
_LARGEST = 1e18


def regular_text(path: Path, largest: int, what: str) -> str:
    """The UTF-8 text of a regular file: a pipe would make the reader wait for ever.

    Args:
        largest: the most bytes that such a file can have.
        what: what it should be, as sentences call it, e.g. ``record``.

    Raises:
        FileNotFoundError, NotADirectoryError: nothing is there.
        InputError: it is no regular file, too large, not UTF-8, or can't be read.
    """
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise InputError(f"{path}: is no regular file")
        if size > largest:
            raise InputError(f"{path}: is larger than {largest // 1_000_000} MB, so it is no {what}")
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        raise
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error


def bounded_json(text: str) -> Any:
    """What a JSON text says.

    Raises:
        ValueError: no JSON, NaN or infinite numbers, numbers too long to be meant, or nested absurdly deep.
    """
    try:
        content = json.loads(text, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("nested too deep") from None
    _bounded(content)
    return content


def first_problem(error: ValidationError) -> str:
    """The first complaint of a pydantic error as ``field.path: message``, and how many more there are."""
    problems = error.errors(include_url=False)
    where = ".".join(str(part) for part in problems[0]["loc"])
    said = problems[0]["msg"].removeprefix("Value error, ")
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return one_line(f"{where}: {said}{more}" if where else f"{said}{more}")


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def _bounded(value: Any, depth: int = 0) -> None:
    if depth > _DEEPEST:
        raise ValueError(f"nested deeper than {_DEEPEST} levels")
    if isinstance(value, dict):
        for item in value.values():
            _bounded(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _bounded(item, depth + 1)
    elif isinstance(value, int | float) and not abs(value) < _LARGEST:
        raise ValueError(f"holds the number {_shown(value)}")


def _shown(value: float) -> str:
    return str(value)[:24] if isinstance(value, float) or value.bit_length() < 1000 else "of more than 300 digits"
