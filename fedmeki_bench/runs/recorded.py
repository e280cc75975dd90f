"""Rows of a board whose rule or partition is a file, as their records give them: the file is parsed, never run.

Showing a board must not execute what it names. Without running a file its parameters' defaults are unknown, hence the
setting of its runs; so a run is recognised by what its record says, and by the digest of the file's source.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import BaseModel

from fedmeki_bench.algorithms import Algorithm
from fedmeki_bench.boards.axes import Point
from fedmeki_bench.boards.board import Board
from fedmeki_bench.errors import UsageError
from fedmeki_bench.profiles import profile
from fedmeki_bench.records.record import Record
from fedmeki_bench.records.store import BadRecord
from fedmeki_bench.runs.plugins import placeless
from fedmeki_bench.runs.rows import ResolvedRow, in_full
from fedmeki_bench.runs.spec import RunSpec, installed_models
from fedmeki_bench.sources import plugin_source


def is_file(name: str) -> bool:
    """Whether a plug-in is given as a file."""
    return ".py:" in name


def recorded(
    board: Board, row: ResolvedRow, rows: Sequence[ResolvedRow], choice: Point, seed: int,
    tasks: Sequence[str], zero_shot: Sequence[str], records: Iterable[Record | BadRecord],
) -> tuple[RunSpec, Algorithm, str, str]:  # fmt: skip
    """What stands for one training of such a row; ``rows`` are all of the board, of which others may share its code.

    Returns:
        A specification without parameters; the algorithm as shown, with the view that the record scored; the setting of
        the run, or a text that is no setting; and why there is none.
    """
    algorithm = row.trained
    alike = [r for r in records if isinstance(r, Record) and _same(r, board, algorithm, choice, seed, tasks, zero_shot)]
    alike = [r for r in alike if _of_row(r, board, row, rows, choice)]
    changed = {r.key: _changed(r, algorithm.rule, choice.partition) for r in alike}
    current = [r for r in alike if not changed[r.key]]
    spec = RunSpec(
        algorithm.name, algorithm.rule, algorithm.scope, algorithm.stage, tuple(tasks), tuple(zero_shot), board.profile,
        {}, seed, board.clients, choice.partition, {},
    )  # fmt: skip
    if not current:
        last = max(alike, key=_finished, default=None)
        why = f"finished as {last.key}, which no longer counts: {changed[last.key]}" if last else "not run yet"
        return spec, row.shown, f"no setting: {row.shown.name} {seed} {','.join(tasks)} {choice.label}", why
    found = max(current, key=_finished)
    shown = row.shown
    if found.views and shown.view not in found.views:
        shown = replace(shown, view=found.views[0])
    return spec, shown, found.setting, ""


def _same(
    record: Record, board: Board, algorithm: Algorithm, choice: Point, seed: int, tasks: Sequence[str],
    zero_shot: Sequence[str],
) -> bool:  # fmt: skip
    asked = sorted(task for task in record.versions.tasks if task not in record.tasks)
    there = (record.scope, record.stage, record.profile, record.seed, record.clients, sorted(record.tasks), asked)
    here = (algorithm.scope, algorithm.stage, board.profile, seed, board.clients, sorted(tasks), sorted(zero_shot))
    return (
        there == here
        and all(one.prepared_with(choice.preparation) for one in record.cohorts)
        and placeless(record.rule) == placeless(algorithm.rule)
        and placeless(record.partition) == placeless(choice.partition)
    )


def _of_row(record: Record, board: Board, row: ResolvedRow, rows: Sequence[ResolvedRow], choice: Point) -> bool:
    """Whether a record was run under the row's options, and not under those of another row of the same code.

    A parameter that another row sets and this one leaves alone must stand at its default here. That of the file is
    unknown: then the record is the other row's.
    """
    options = _laid_over(record, board, row, choice)
    if not all(_has(_params(record), key, value) for key, value in options.items()):
        return False
    models = installed_models(row.trained, choice.partition)
    settled = {in_full(record.params, key) for key in options}
    for other in rows:
        if other is row or other.trained.rule != row.trained.rule:
            continue
        for key in {in_full(record.params, key) for key, _ in other.row.options} - settled:
            section, _, name = key.partition(".")
            if section in models:
                default = _default(board, models, section, name)
                at_default = record.params.get(section, {}).get(name, default) == default
            else:
                theirs = _laid_over(record, board, other, choice)
                at_default = not all(_has(record.params, k, v) for k, v in theirs.items())
            if not at_default:
                return False
    return True


def _laid_over(record: Record, board: Board, row: ResolvedRow, choice: Point) -> dict[str, Any]:
    """The options of a row over the board's, each once whichever way it is written, and the partition's."""
    laid = dict(board.options)
    for layer in (choice.settings, row.row.options, choice.of_row(row.row.name)):
        own = {in_full(record.params, key): value for key, value in layer}
        laid = {key: value for key, value in laid.items() if in_full(record.params, key) not in own} | own
    return laid | choice.in_full


def _default(board: Board, models: Mapping[str, type[BaseModel]], section: str, key: str) -> Any:
    found = profile(board.profile) if section == "profile" else models[section]()
    return found.model_dump(mode="json").get(key)


def _params(record: Record) -> Mapping[str, Mapping[str, Any]]:
    """Its parameters, with the regime that its tasks were trained under, where there are several."""
    joint = {"curriculum": {"regime": "joint"}} if len(record.tasks) > 1 else {}
    return joint | record.params


def _has(params: Mapping[str, Any], option: str, value: Any) -> bool:
    """Whether a record was run under an option, or has no such parameter: boards give each row what it takes."""
    section, dot, key = option.partition(".")
    sections = [params.get(section, {})] if dot else list(params.values())
    holders = [found for found in sections if isinstance(found, Mapping) and (key if dot else option) in found]
    return not holders or any(_same_value(found[key if dot else option], value) for found in holders)


def _same_value(recorded: Any, value: Any) -> bool:
    if isinstance(recorded, list) and isinstance(value, str):  # a list may be written with commas
        return recorded == [part.strip() for part in value.split(",") if part.strip()]
    return bool(recorded == value)


def _changed(record: Record, rule: str, partition: str) -> str:
    """Which of the files is no longer what the record was run with; a file that is not here can't be compared."""
    for what, kind, name in (("rule", "rules", rule), ("partition", "partitions", partition)):
        if not is_file(name):
            continue
        try:
            source = plugin_source(kind, name)
        except UsageError:
            continue
        if record.versions.sources.get(what) != source:
            return f"{what} {placeless(name)} changed since"
    return ""


def _finished(record: Record) -> tuple[bool, Any, str]:
    return record.finished is not None, record.finished, record.key
