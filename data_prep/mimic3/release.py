"""The tables of a MIMIC-III folder as DuckDB sees them: any letter case, packed or not, checked before reading."""

from __future__ import annotations

import contextlib
import csv
import gzip
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fedmeki_bench.api import InputError, RunFailed, nearest

EXPECTED = "the tables of MIMIC-III v1.4 (or its demo) as NAME.csv or NAME.csv.gz, e.g. 'CHARTEVENTS.csv.gz'"
_LINE = re.compile(r"CSV Error on Line: (\d+)")
_HEADER_LIMIT = 1 << 16


@dataclass(frozen=True, slots=True)
class RawTable:
    """One table: its file and its columns, in lower case, in the order of the file."""

    name: str
    path: Path
    columns: tuple[str, ...]

    def scan(self) -> str:
        """The table as an SQL relation; every value is text, blank is NULL."""
        columns = ", ".join(f"{_quoted(name)}: 'VARCHAR'" for name in self.columns)
        packed = "gzip" if self.path.suffix.lower() == ".gz" else "none"
        return (
            f"read_csv({_quoted(str(self.path))}, compression='{packed}', auto_detect=false, header=true, "
            "delim=',', quote='\"', escape='\"', nullstr='', strict_mode=true, "
            f"columns={{{columns}}})"
        )


class Release:
    """The tables of one folder that are read, found and checked.

    Args:
        raw: the folder.
        needed: table -> its columns, in lower case.
        dataset, expected: whose release it is, and what it consists of, for sentences.

    Raises:
        InputError: no folder, a missing table, or a table without a needed column.
    """

    def __init__(
        self, raw: Path, needed: Mapping[str, Sequence[str]], dataset: str = "mimic3", expected: str = EXPECTED
    ) -> None:
        if not raw.is_dir():
            raise InputError(f"{raw} is not a folder; dataset '{dataset}' expects {expected}")
        self.raw = raw
        files = _files(raw)
        self.tables = {name: _opened(raw, files, name, columns, expected) for name, columns in needed.items()}

    def __getitem__(self, name: str) -> RawTable:
        return self.tables[name]

    @property
    def paths(self) -> list[Path]:
        """The files, in the order in which they were asked for."""
        return [table.path for table in self.tables.values()]


@contextlib.contextmanager
def reading(table: RawTable | None = None) -> Iterator[None]:
    """Turn DuckDB's errors into one sentence that names the file and, where known, the line."""
    import duckdb

    try:
        yield
    except duckdb.OutOfMemoryException as error:
        if "temp" in str(error) and "disk" in str(error):
            raise RunFailed("the temporary folder is full: give another one with -o scratch=FOLDER") from None
        raise RunFailed("the query needs more memory: prepare again with a larger -o memory_gb=N") from None
    except duckdb.InvalidInputException as error:
        raise InputError(_malformed(table, str(error))) from None
    except duckdb.DataError as error:  # a value that no cast can take
        if table is None:
            raise
        raise InputError(f"{table.path}: {_first_line(error)}") from None
    except duckdb.IOException as error:
        if table is None or str(table.path) not in str(error):
            raise RunFailed(f"the temporary folder cannot be used: {_first_line(error)}") from None
        raise InputError(f"{table.path} cannot be read: {_damage(str(error))}") from None


def _files(raw: Path) -> dict[str, list[Path]]:
    """Upper-case table name -> its files."""
    found: dict[str, list[Path]] = {}
    for path in sorted(raw.iterdir()):
        name = path.name.upper()
        for ending in (".CSV", ".CSV.GZ"):
            if name.endswith(ending) and path.is_file():
                found.setdefault(name.removesuffix(ending), []).append(path)
    return found


def _opened(raw: Path, files: Mapping[str, list[Path]], name: str, needed: Sequence[str], expected: str) -> RawTable:
    if name.upper() not in files:
        close = nearest(name.upper(), files) if files else "it holds no .csv or .csv.gz file"
        raise InputError(f"{raw} lacks '{name}.csv' or '{name}.csv.gz' ({close}); expected are {expected}")
    if len(files[name.upper()]) > 1:
        names = " and ".join(f"'{path.name}'" for path in files[name.upper()])
        raise InputError(f"{raw} holds {name} more than once ({names}): keep one of them")
    path = files[name.upper()][0]
    header = _header(path)
    columns = tuple(cell.strip().lower() for cell in header)
    twice = sorted({column for column in columns if columns.count(column) > 1})
    missing = [column for column in needed if column not in columns]
    if missing:
        for sign, word in ((";", "';'"), ("\t", "tabs")):
            if any(sign in column for column in columns):
                raise InputError(f"{path} is separated by {word}; a table separated by ',' is expected")
        raise InputError(f"{path} lacks the column {missing[0].upper()!r}: {nearest(missing[0], columns)}")
    if twice:
        raise InputError(f"{path} has the column {twice[0]!r} twice")
    if "" in columns:
        raise InputError(f"{path} has a column without a name, the {columns.index('') + 1}. of its header")
    return RawTable(name, path, columns)


def _header(path: Path) -> list[str]:
    try:
        with gzip.open(path, "rb") if path.suffix.lower() == ".gz" else path.open("rb") as stream:
            line = stream.readline(_HEADER_LIMIT)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise InputError(f"{path} cannot be read: it is no gzip file, or a cut one") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    try:
        text = line.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path}, line 1: not UTF-8 text") from None
    if not text.strip():
        raise InputError(f"{path} is empty")
    try:
        return next(csv.reader([text]))
    except csv.Error as error:
        raise InputError(f"{path}, line 1: is no header of a table ({str(error).partition(' - ')[0]})") from None


def _malformed(table: RawTable | None, message: str) -> str:
    where = str(table.path) if table else "a table"
    line = _LINE.search(message)
    if line:
        where += f", line {line[1]} (row {int(line[1]) - 1})"
    if "unterminated quote" in message:
        return f"{where}: a quote is never closed, so the file seems cut in mid-line"
    numbers = re.search(r"Expected Number of Columns: (\d+) Found: (\d+)", message)
    if numbers:
        cut = ", so the file seems cut in mid-line" if int(numbers[2]) < int(numbers[1]) else ""
        return f"{where}: has {numbers[2]} fields where the header has {numbers[1]}{cut}"
    if "unicode" in message:
        return f"{where}: not UTF-8 text"
    return f"{where}: {_first_line(message)}"


def _damage(message: str) -> str:
    if "Unexpected end of GZIP" in message:
        return "the gzip file is cut"
    if "not a GZIP stream" in message:
        return "it is no gzip file, whatever its name says"
    return _first_line(message)


def _first_line(message: object) -> str:
    return str(message).partition("\n")[0].removeprefix("Invalid Input Error: ").removeprefix("IO Error: ")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
