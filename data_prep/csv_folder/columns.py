"""Which column of the table is what, and the task that follows from the columns where ``task.yaml`` leaves it open."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedmeki_bench.api import Definition, InputError, checked

from .readers import READERS

PLAIN = ("sample", "patient", "site", "sex", "age", "question", "text", "label", "answer")
_NUMBERED = re.compile(r"^(?P<modality>[a-z_]+) (?P<number>[2-9]|1[0-9])$")
_FINDING = re.compile(r"^label: *(?P<name>.+)$")
_MOST_CLASSES = 20


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a table.

    Attributes:
        plain: those of :data:`PLAIN` that are there.
        paths: modality -> its columns, in order.
        findings: finding -> its column, ``label: NAME``.
    """

    plain: frozenset[str]
    paths: Mapping[str, tuple[str, ...]]
    findings: Mapping[str, str]


def columns_of(names: Sequence[str], table: Path) -> Columns:
    """Sort the columns of a table out.

    Raises:
        InputError: a column is none of those known, or nothing is to be read or learnt.
    """
    paths: dict[str, list[str]] = {}
    findings: dict[str, str] = {}
    for name in names:
        numbered, finding = _NUMBERED.match(name), _FINDING.match(name)
        modality = numbered["modality"] if numbered else name
        if modality in READERS:
            paths.setdefault(modality, []).append(name)
        elif finding:
            findings[finding["name"].strip()] = name
        elif name not in PLAIN:
            known = ", ".join((*PLAIN, *READERS))
            more = "numbered ones such as 'image 2', and 'label: NAME'"
            raise InputError(f"{table} has the column {name!r}; known are {known}, {more}")
    for modality, columns in paths.items():
        if columns[0] != modality:
            raise InputError(f"{table} has the column {columns[0]!r} and no column {modality!r} before it")
    if not paths:
        raise InputError(f"{table} names no files: a column {' or '.join(map(repr, READERS))} with paths is expected")
    if not findings and not {"label", "answer"} & set(names):
        raise InputError(f"{table} has no column 'label', 'label: NAME' or 'answer': nothing could be learnt or asked")
    return Columns(frozenset(PLAIN) & set(names), {m: tuple(c) for m, c in paths.items()}, findings)


def definition_of(
    said: Mapping[str, Any], columns: Columns, rows: Sequence[Mapping[str, str]], raw: Path, where: str
) -> tuple[Definition, list[str]]:
    """The task: what ``task.yaml`` says, completed from the table; and one sentence for each guess.

    Raises:
        InputError: what is said makes no sense, or the kind can't be told from the labels.
    """
    whole: dict[str, Any] = dict(said)
    guessed: list[str] = []
    if "name" not in whole:
        whole["name"] = re.sub(r"[^a-z0-9]+", "_", raw.resolve().name.lower()).strip("_") or "folder"
        guessed.append(f"the task is called {whole['name']} after its folder")
    text = ("text",) if "text" in columns.plain else ()
    whole.setdefault("modalities", [*columns.paths, *text])
    unread = [m for m in whole["modalities"] if m not in columns.paths and m not in text]
    if unread:
        raise InputError(f"{where} names the modality {unread[0]!r}, of which the table has no column")
    values = sorted({row["label"].strip() for row in rows if row.get("label", "").strip()})
    if "kind" not in whole:
        whole["kind"], why = _kind(columns, values, where)
        guessed.append(f"the kind is {whole['kind']}, because {why}")
        if not values and not columns.findings:
            whole.setdefault("role", "zero_shot")
    if columns.findings:
        whole.setdefault("classes", list(columns.findings))
    elif "classes" not in whole and whole["kind"] == "multiclass":
        whole["classes"] = values
        guessed.append(f"the classes are those that occur: {', '.join(values)}")
    return checked(whole, where), guessed


def _kind(columns: Columns, values: Sequence[str], where: str) -> tuple[str, str]:
    if columns.findings:
        return "multilabel", "there are columns 'label: NAME'"
    if not values:
        return "generation", "there are answers and no labels"
    if {value.lower() for value in values} <= {"0", "1", "0.0", "1.0", "yes", "no", "true", "false"}:
        return "binary", f"labels are {' and '.join(values)}"
    if all(_is_number(value) for value in values):
        if all(float(value) == int(float(value)) for value in values) and len(values) <= _MOST_CLASSES:
            raise InputError(
                f"{where}: labels are the whole numbers {', '.join(values)}: say in task.yaml whether that is "
                "'kind: regression', or name classes in the place of numbers"
            )
        return "regression", "labels are numbers"
    if any(";" in value for value in values) or len(values) > _MOST_CLASSES:
        raise InputError(
            f"{where}: it can't be told what the {len(values)} different labels are: say 'kind' and, of findings, "
            "'classes' in task.yaml"
        )
    return "multiclass", f"labels are {len(values)} names"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text.strip().lower() not in {"nan", "inf", "-inf"}
