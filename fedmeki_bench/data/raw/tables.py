"""Reading tables that strangers hand in: every row arrives, or one sentence says which row is bad."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fedmeki_bench.errors import InputError, nearest

if TYPE_CHECKING:
    import pandas as pd

_FIELD_LIMIT = 1 << 20
_DIGITS = re.compile(r"([0-9]{1,18})")


def read_table(path: Path, required_columns: Sequence[str]) -> pd.DataFrame:
    """Read a comma-separated table with a header; every value stays text, blank is ``""``.

    Row numbers in messages count data rows from 1; the line is that of the file, as editors show it. A quoted
    value may span lines. No row is skipped: a row that does not fit stops the reading.

    Raises:
        InputError: missing, empty, not UTF-8, ``;``-separated, cut in mid-line, or without a needed column.
    """
    import pandas as pd

    text = _decoded(path)
    if not text.strip():
        raise InputError(f"{path} is empty")
    previous = csv.field_size_limit(_FIELD_LIMIT)
    try:
        header, rows = _parse(path, text, required_columns)
    finally:
        csv.field_size_limit(previous)
    if not rows:
        raise InputError(f"{path} has a header but no rows")
    table: pd.DataFrame = pd.DataFrame(rows, columns=header, dtype=str)
    return table


def number(text: str) -> float | None:
    """A finite number, or ``None`` for blank.

    Raises:
        ValueError: anything else.
    """
    if not text.strip():
        return None
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is not a finite number")
    return value


def natural(name: str) -> list[tuple[int, int, str]]:
    """A key that sorts ``x-2`` before ``x-10``, alike on every machine."""
    pieces = [piece for piece in _DIGITS.split(name) if piece]
    return [(0, int(piece), piece) if piece.isdecimal() else (1, 0, piece.lower()) for piece in pieces]


def _decoded(path: Path) -> str:
    try:
        if path.exists() and not path.is_file():  # a pipe would make the reader wait for ever
            raise InputError(f"{path} is no regular file")
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"there is no file {path}") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}, line {line}: byte 0x{data[error.start]:02x} is not UTF-8 text") from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise InputError(f"{path}, line {line}: holds a NUL byte, so it is no text table (damaged file?)")
    return text


def _parse(path: Path, text: str, required: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    lines = _records(path, csv.reader(io.StringIO(text, newline=""), strict=True))
    _, header = next(lines)
    header = [name.strip() for name in header]
    _check_header(path, header, required)
    rows: list[list[str]] = []
    short: tuple[int, int] | None = None
    for line, row in lines:
        if short is not None:
            raise InputError(_misfit(path, len(rows), line=short[0], fields=short[1], header=len(header)))
        rows.append(row)
        if len(row) != len(header):
            short = (line, len(row))
    if short is not None:
        sentence = _misfit(path, len(rows), line=short[0], fields=short[1], header=len(header))
        cut = "; it is the last row, so the file seems cut in mid-line" if short[1] < len(header) else ""
        raise InputError(sentence + cut)
    return header, rows


def _records(path: Path, reader: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
    """Rows with the line each starts on; blank lines hold no row."""
    start, count = 1, -1
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            why = "a quote is never closed, so the file seems cut in mid-line"
            if "unexpected end" not in str(error):
                why = f"the quoting is broken ({error})"
            raise InputError(f"{path}, row {count + 1} (line {start}): {why}") from None
        if row:
            count += 1
            yield start, row
        start = reader.line_num + 1  # type: ignore[attr-defined]


def _check_header(path: Path, header: list[str], required: Sequence[str]) -> None:
    missing = [name for name in required if name not in header]
    if missing:
        for sign, word in ((";", "';'"), ("\t", "tabs")):
            if any(sign in name for name in header) and all(
                any(name in cell.split(sign) for cell in header) for name in missing
            ):
                raise InputError(f"{path} is separated by {word}; a table separated by ',' is expected")
        raise InputError(f"{path} lacks the column {missing[0]!r}: {nearest(missing[0], header)}")
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise InputError(f"{path} has the column {twice[0]!r} twice")


def _misfit(path: Path, row: int, *, line: int, fields: int, header: int) -> str:
    return f"{path}, row {row} (line {line}): has {fields} fields where the header has {header}"
