"""Reads stored answers from JSON or JSON Lines: one object per row, checked row by row.

``label`` with ``answer`` (text) or ``score`` (probability of yes), or both; ``group`` optionally names the patient.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fedmeki_bench.errors import InputError
from fedmeki_bench.evaluation.protocols import Answers, Kind, Protocol
from fedmeki_bench.evaluation.text_metrics import parse_yes_no

_OPTIONAL = ("answer", "score", "group")


def read_answers(path: Path, kind: Kind, protocol: Protocol = "strict") -> Answers:
    """Read a JSON list of objects, or one JSON object per line; other fields of a row are ignored.

    Args:
        path: the file, UTF-8.
        kind: ``binary`` wants labels 0, 1, true, false, yes or no; ``generation`` wants texts.
        protocol: the published protocol takes any text as the label of a yes-or-no row and reads it itself.

    Raises:
        InputError: with file and row (or line): not JSON, not an object, a field missing or of the wrong type, or
            rows that do not all have the same fields.
    """
    rows = rows_of(path)
    fields = fields_of(rows)
    gold: list[str] = []
    columns: dict[str, list[Any]] = {name: [] for name in fields}
    check = {"answer": _answer, "score": _score, "group": _group}
    for where, row in rows:
        gold.append(_label(where, row["label"], kind, protocol))
        for name in fields:
            columns[name].append(check[name](where, row[name]))
    if kind == "generation" and "answer" not in columns:
        raise InputError(f"{rows[0][0]}: generation is scored on 'answer', and this row has only 'score'")
    return Answers(gold, columns.get("answer"), columns.get("score"), columns.get("group") or range(len(rows)))


def fields_of(rows: Sequence[tuple[str, Mapping[str, Any]]]) -> list[str]:
    """Which of answer, score and group the rows have beside their label.

    Raises:
        InputError: a row has no label, or neither answer nor score, or other fields than the first one.
    """
    fields = [name for name in _OPTIONAL if name in rows[0][1]]
    for where, row in rows:
        if "label" not in row:
            raise InputError(f"{where}: has no 'label'")
        if "answer" not in row and "score" not in row:
            raise InputError(f"{where}: has neither 'answer' nor 'score'")
        for name in _OPTIONAL:
            if (name in row) != (name in fields):
                has, lacks = ("this row", "the first row") if name in row else ("the first row", "this row")
                raise InputError(f"{where}: {has} has {name!r} and {lacks} has not")
    return fields


def rows_of(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """(place, object) of every row, at least one.

    Raises:
        InputError: not JSON, no rows, or a row that is no object.
    """
    try:
        content = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not UTF-8 text") from error
    listed = content.lstrip().startswith("[")
    try:
        found: list[tuple[str, Any]]
        if listed:
            found = [(f"{path}: row {i}", row) for i, row in enumerate(json.loads(content), 1)]
        else:
            found, place = [], f"{path}"
            # Not splitlines: JSON strings may hold line separators such as U+2028.
            for number, line in enumerate(content.split("\n"), 1):
                place = f"{path}: line {number}"
                if line.strip():
                    found.append((place, json.loads(line)))
    except (ValueError, RecursionError) as error:
        where = f"{path}" if listed else place
        what = "nested too deeply" if isinstance(error, RecursionError) else str(error).partition(";")[0]
        hint = "" if listed else " (a file is a JSON list, or one JSON object per line)"
        raise InputError(f"{where}: not valid JSON: {what}{hint}") from error
    for where, row in found:
        if not isinstance(row, dict):
            raise InputError(f"{where}: a row is a JSON object, not {_kind_of(row)}")
    if not found:
        raise InputError(f"{path}: there are no rows")
    return found


def _label(where: str, value: Any, kind: Kind, protocol: Protocol) -> str:
    if kind == "generation":
        if not isinstance(value, str) or not value.strip():
            raise InputError(f"{where}: 'label' must be the gold answer in words, not {_kind_of(value)}")
        return value
    if isinstance(value, (int, float)) and value in (0, 1):
        return "yes" if value else "no"
    if isinstance(value, str):
        if protocol == "published":
            return value
        parsed = parse_yes_no(value)
        if parsed is not None:
            return "yes" if parsed else "no"
        if value.strip() in {"0", "1"}:
            return "yes" if value.strip() == "1" else "no"
    shown = json.dumps(value, ensure_ascii=False)[:40]
    raise InputError(f"{where}: 'label' must be 0, 1, true, false, yes or no, not {shown}")


def _answer(where: str, value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise InputError(f"{where}: 'answer' must be text or null, not {_kind_of(value)}")


def _score(where: str, value: Any) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1:
        return float(value)
    raise InputError(f"{where}: 'score' must be a probability from 0 to 1, not {json.dumps(value)[:40]}")


def _group(where: str, value: Any) -> str:
    if isinstance(value, (str, int)) and not isinstance(value, bool):
        return str(value)
    raise InputError(f"{where}: 'group' must be text or a whole number, not {_kind_of(value)}")


def _kind_of(value: Any) -> str:
    names = {bool: "true or false", dict: "an object", list: "a list", int: "a number", float: "a number"}
    if value is None:
        return "null"
    if isinstance(value, str):
        return "text" if value.strip() else "empty text"
    return names[type(value)]
