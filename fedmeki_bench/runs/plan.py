"""From a board to the runs it needs: every cell, and which training fills it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from fedmeki_bench import algorithms, registry
from fedmeki_bench.algorithms import Algorithm
from fedmeki_bench.boards.board import Board, PartitionChoice
from fedmeki_bench.boards.cells import Cell
from fedmeki_bench.errors import InputError, nearest
from fedmeki_bench.evaluation.rescoring import outdated
from fedmeki_bench.evaluation.view import answers_zero_shot
from fedmeki_bench.records.record import Record
from fedmeki_bench.records.store import BadRecord, RecordStore
from fedmeki_bench.runs.execute import open_cohorts
from fedmeki_bench.runs.recorded import is_file, recorded
from fedmeki_bench.runs.spec import RunSpec, by_role, option_models, specify, zero_shot_of
from fedmeki_bench.runs.superseded import sentence, superseded


@dataclass
class Planned:
    """One training and the cells it fills; algorithms that differ in their view alone share it.

    Attributes:
        key: name of the run on the data found; empty when a cohort is missing.
        status: ok, failed, interrupted, missing (never run) or no data.
        reason: why it is not ok.
    """

    spec: RunSpec
    cells: list[Cell] = field(default_factory=list)
    key: str = ""
    status: str = "missing"
    reason: str = "not run yet"
    record: Record | None = None


def plan(board: Board, records: Sequence[Record | BadRecord] | None = None) -> list[Planned]:
    """The training runs of a board, in its order.

    Args:
        records: given, the board is only to be shown: then no code is loaded from files that it names, and their rows
            are what these records say (see ``recorded.py``).

    Raises:
        UsageError: an unknown algorithm, task, profile or partition.
        InputError: an option that none of the board's algorithms has, or a bad value.
    """
    resolve = algorithms.resolve if records is None else algorithms.described
    rows = [resolve(name) for name in board.algorithms]
    _check_options(board, rows, shown=records is not None)
    training, zero_shot = by_role(board.tasks)
    planned: dict[str, Planned] = {}
    for algorithm in rows:
        for choice, seed in product(board.partition_choices, board.seeds):
            if records is not None and (is_file(algorithm.rule) or is_file(choice.partition)):
                for entry in _recorded(board, algorithm, choice, seed, training, zero_shot, records):
                    known = planned.setdefault(entry.cells[0].setting, entry)
                    if known is not entry:  # another view of the same training
                        known.cells += entry.cells
                continue
            specs = specify(
                algorithm, training, profile_name=board.profile, seed=seed, clients=board.clients,
                partition=choice.partition, options=_accepted(board, algorithm, choice), zero_shot=zero_shot,
                to_run=records is None,
            )  # fmt: skip
            for spec in specs:
                entry = planned.setdefault(spec.setting, Planned(spec))
                answered = spec.zero_shot if answers_zero_shot(algorithm.view) else ()
                entry.cells += [
                    Cell(algorithm, task, seed, spec.setting, partition=choice.label)
                    for task in (*spec.tasks, *answered)
                ]
    return list(planned.values())


def _recorded(
    board: Board, algorithm: Algorithm, choice: PartitionChoice, seed: int, training: list[str], zero_shot: list[str],
    records: Sequence[Record | BadRecord],
) -> Iterator[Planned]:  # fmt: skip
    """What stands for the training runs of a row whose code is not loaded."""
    asks = any(map(answers_zero_shot, registry.load("stages", algorithm.stage).views))
    groups = [(name,) for name in sorted(training)] if algorithm.scope == "s" else [tuple(sorted(training))]
    for group in groups:
        asked = zero_shot_of(algorithm, group, zero_shot) if asks else ()
        spec, row, setting, why = recorded(board, algorithm, choice, seed, group, asked, records)
        entry = Planned(spec, reason=why)
        shown = (*group, *asked) if answers_zero_shot(row.view) else group
        entry.cells = [Cell(row, task, seed, setting, partition=choice.label) for task in shown]
        entry.record = next((r for r in records if isinstance(r, Record) and not why and r.setting == setting), None)
        yield entry


def cells(board: Board, records: Sequence[Record | BadRecord] = ()) -> list[Cell]:
    """The cells of a board in row order, for its leaderboard; no code is loaded from files that it names."""
    found = [cell for planned in plan(board, records) for cell in planned.cells]
    _, zero_shot = by_role(board.tasks)
    there = {(cell.algorithm.name, cell.task) for cell in found}
    partitions = [choice.label for choice in board.partition_choices]
    for row in (algorithms.described(name) for name in board.algorithms):
        reason = (
            "nothing was trained for it"
            if answers_zero_shot(row.view)
            else "only the foundation view answers zero-shot tasks"
        )
        lacking = [task for task in zero_shot if (row.name, task) not in there]
        found += [
            Cell(row, task, seed, "", reason, partition)
            for task, partition, seed in product(lacking, partitions, board.seeds)
        ]
    rows = {algorithms.described(name).name: i for i, name in enumerate(board.algorithms)}
    columns = {name: i for i, name in enumerate(board.tasks)}
    return sorted(found, key=lambda c: (partitions.index(c.partition), rows[c.algorithm.name], columns[c.task], c.seed))


def inspect(board: Board, data: Path, store: RecordStore, *, load: bool = True) -> list[Planned]:
    """The board's training runs with their state: what is done, and what is missing and why.

    Args:
        load: load the code of files that the board names, to run what it lacks; without it the board can only be shown.
    """
    records: dict[str, Record | BadRecord] = {}
    for item in store.all():
        records[item.key if isinstance(item, Record) else item.path.parent.name] = item
    entries = plan(board, None if load else list(records.values()))
    for entry in entries:
        try:
            cohorts = open_cohorts(entry.spec, data)
        except InputError as error:
            entry.status, entry.reason = "no data", str(error)
            continue
        cards = {task: cohort.card_hash for task, cohort in cohorts.items()}
        if not entry.spec.versions:  # known by its record alone
            if entry.record is not None:
                _take(entry, entry.record, cards)
            continue
        entry.key = entry.spec.key(cards)
        record = records.get(entry.key)
        if isinstance(record, BadRecord):
            entry.reason = f"its record can't be read: {record.reason}"
        elif record is not None:
            entry.status, entry.record = record.status, record
            entry.reason = record.error.message if record.error else ""
            if lacking := sorted({cell.algorithm.view for cell in entry.cells} - set(record.views)):
                if record.status == "ok":
                    entry.status, entry.record = "missing", None
                    entry.reason = f"made before the view {lacking[0]} was scored"
            elif record.status == "ok" and (changes := list(outdated(record))):
                entry.reason = f"to be scored anew: {', '.join(changes)}"
        elif (store.folder(entry.key) / "checkpoint").is_dir():
            entry.status, entry.reason = "interrupted", "stopped in mid-run; sweep goes on from its checkpoint"
        elif (found := superseded(entry.spec, cards, records.values())) is not None:
            entry.reason = sentence(found)
    return entries


def _take(entry: Planned, record: Record, cards: Mapping[str, str]) -> None:
    """The state of a training that is known by its record alone."""
    changed = [c.task for c in record.cohorts if c.task in cards and cards[c.task] != c.card]
    if changed:
        entry.reason = f"finished as {record.key}, on other data of {', '.join(changed)}"
        return
    entry.key, entry.status = record.key, record.status
    entry.reason = record.error.message if record.error else ""


def _has(models: Mapping[str, Any], option: str) -> bool:
    section, dot, key = option.partition(".")
    if dot:
        return section in models and key in models[section].model_fields
    return any(option in model.model_fields for model in models.values())


def _accepted(board: Board, algorithm: Algorithm, choice: PartitionChoice) -> dict[str, Any]:
    """The board's options that this algorithm has: ``mu`` reaches FedProx and leaves FedAvg alone."""
    models = option_models(algorithm, choice.partition)
    options = {key: value for key, value in board.options.items() if _has(models, key)}
    if algorithm.pooled:  # there is nothing to share out
        return options
    return options | {f"partition.{key}": value for key, value in choice.options}


def _check_options(board: Board, rows: list[Algorithm], *, shown: bool) -> None:
    names = [(row, choice.partition) for row in rows for choice in board.partition_choices]
    if shown and any(is_file(row.rule) or is_file(partition) for row, partition in names):
        return  # whose options they are is known to a file that is not loaded
    models = [option_models(row, partition) for row, partition in names]
    known = {key for found in models for model in found.values() for key in model.model_fields}
    for option in board.options:
        if not any(_has(found, option) for found in models):
            where = f" in {board.source}" if board.source else ""
            raise InputError(f"no algorithm of the board has the option {option!r}{where}; {nearest(option, known)}")
