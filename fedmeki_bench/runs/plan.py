"""From a board to the runs it needs: every cell, and which training fills it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fedmeki_bench import registry
from fedmeki_bench.algorithms import Algorithm
from fedmeki_bench.boards.axes import Point, Preparation
from fedmeki_bench.boards.board import Board
from fedmeki_bench.boards.cells import Cell
from fedmeki_bench.errors import InputError, nearest
from fedmeki_bench.evaluation.rescoring import outdated
from fedmeki_bench.evaluation.view import answers_zero_shot
from fedmeki_bench.federation.faults import Faults
from fedmeki_bench.options import parse_options
from fedmeki_bench.records.record import Record
from fedmeki_bench.records.store import BadRecord, RecordStore
from fedmeki_bench.runs.execute import open_cohorts
from fedmeki_bench.runs.points import (
    check_axes,
    data_for,
    preparation_for,
    prepared_otherwise,
    why_no_data,
)
from fedmeki_bench.runs.pretraining import has_model, specified
from fedmeki_bench.runs.recorded import is_file, recorded
from fedmeki_bench.runs.rows import ResolvedRow, has_option, options_of, resolve_rows
from fedmeki_bench.runs.spec import RunSpec, by_role, option_models, zero_shot_of
from fedmeki_bench.runs.superseded import sentence, superseded


@dataclass
class Planned:
    """One training and the cells it fills; algorithms that differ in their view alone share it.

    Attributes:
        key: name of the run on the data found; empty when a cohort is missing.
        status: ok, failed, interrupted, missing (never run) or no data.
        reason: why it is not ok.
        preparation: options with which its data are prepared, as far as the board's axes say.
        data: the folder of its cohorts, once it was looked for.
        serves: rows whose runs start from it; a pre-training fills no cell.
    """

    spec: RunSpec
    cells: list[Cell] = field(default_factory=list)
    key: str = ""
    status: str = "missing"
    reason: str = "not run yet"
    record: Record | None = None
    preparation: Preparation = ()
    data: Path | None = None
    serves: list[Algorithm] = field(default_factory=list)

    @property
    def algorithms(self) -> list[Algorithm]:
        """The rows that need it, each once."""
        return list(dict.fromkeys([*(cell.algorithm for cell in self.cells), *self.serves]))


def plan(board: Board, records: Sequence[Record | BadRecord] | None = None) -> list[Planned]:
    """The training runs of a board, in its order.

    Args:
        records: given, the board is only to be shown: then no code is loaded from files that it names, and their rows
            are what these records say (see ``recorded.py``).

    Raises:
        UsageError: an unknown algorithm, task, profile or partition.
        InputError: an option that none of the board's algorithms has, or a bad value.
    """
    rows = resolve_rows(board, load=records is None)
    _check_options(board, rows, shown=records is not None)
    check_axes(board, rows, shown=records is not None)
    training, zero_shot = by_role(board.tasks)
    planned: dict[tuple[str, Preparation], Planned] = {}
    for row in rows:
        for choice, seed in _runs_of_points(board):
            if records is not None and (is_file(row.trained.rule) or is_file(choice.partition)):
                for entry in _recorded(board, row, rows, choice, seed, training, zero_shot, records):
                    known = planned.setdefault((entry.cells[0].setting, entry.preparation), entry)
                    if known is not entry:  # another view of the same training
                        known.cells += entry.cells
                continue
            for spec in _specified(board, row, choice, seed, training, zero_shot, to_run=records is None):
                prepared = preparation_for(choice.preparation, (*spec.tasks, *spec.zero_shot))
                if spec.pretraining is not None:  # before all that start from it
                    known = planned.setdefault(
                        (spec.pretraining.setting, prepared), Planned(spec.pretraining, preparation=prepared)
                    )
                    known.serves = list(dict.fromkeys([*known.serves, row.shown]))
                entry = planned.setdefault((spec.setting, prepared), Planned(spec, preparation=prepared))
                answered = spec.zero_shot if answers_zero_shot(row.shown.view) else ()
                entry.cells += [
                    Cell(row.shown, task, seed, spec.setting, partition=choice.label, preparation=prepared)
                    for task in (*spec.tasks, *answered)
                ]
    return list(planned.values())


def _runs_of_points(board: Board) -> list[tuple[Point, int]]:
    return [(point, seed) for point in board.points for seed in point.seeds]


def _specified(
    board: Board, row: ResolvedRow, choice: Point, seed: int, training: list[str], zero_shot: list[str], *,
    to_run: bool,
) -> list[RunSpec]:  # fmt: skip
    """The training runs of a row under one partition and seed."""
    try:
        return specified(
            row.trained, training, profile_name=board.profile, seed=seed, clients=board.clients,
            partition=choice.partition, options=options_of(board, row, choice), zero_shot=zero_shot, to_run=to_run,
        )  # fmt: skip
    except InputError as error:
        if choice.moved:
            raise InputError(f"{board.where('axes', choice.moved[0])}: {choice.label}: {error}") from error
        if not row.row.options:
            raise
        raise InputError(f"{row.where(board, 'options')}: row {row.row.name!r}: {error}") from error


def _recorded(
    board: Board, row: ResolvedRow, rows: Sequence[ResolvedRow], choice: Point, seed: int,
    training: list[str], zero_shot: list[str], records: Sequence[Record | BadRecord],
) -> Iterator[Planned]:  # fmt: skip
    """What stands for the training runs of a row whose code is not loaded."""
    algorithm = row.trained
    asks = any(map(answers_zero_shot, registry.load("stages", algorithm.stage).views))
    groups = [(name,) for name in sorted(training)] if algorithm.scope == "s" else [tuple(sorted(training))]
    for group in groups:
        asked = zero_shot_of(algorithm, group, zero_shot) if asks else ()
        spec, shown, setting, why = recorded(board, row, rows, choice, seed, group, asked, records)
        prepared = preparation_for(choice.preparation, (*group, *asked))
        entry = Planned(spec, reason=why, preparation=prepared)
        answered = (*group, *asked) if answers_zero_shot(shown.view) else group
        entry.cells = [
            Cell(shown, task, seed, setting, partition=choice.label, preparation=prepared) for task in answered
        ]
        known = (r for r in records if isinstance(r, Record) and not why and r.setting == setting)
        entry.record = next((r for r in known if all(c.prepared_with(prepared) for c in r.cohorts)), None)
        yield entry


def cells(board: Board, records: Sequence[Record | BadRecord] = ()) -> list[Cell]:
    """The cells of a board in row order, for its leaderboard; no code is loaded from files that it names."""
    found = [cell for planned in plan(board, records) for cell in planned.cells]
    _, zero_shot = by_role(board.tasks)
    there = {(cell.algorithm.name, cell.task) for cell in found}
    points = {point.label: i for i, point in enumerate(board.points)}
    shown = [row.shown for row in resolve_rows(board, load=False)]
    for row in shown:
        reason = (
            "nothing was trained for it"
            if answers_zero_shot(row.view)
            else "only the foundation view answers zero-shot tasks"
        )
        lacking = [task for task in zero_shot if (row.name, task) not in there]
        found += [
            Cell(row, task, seed, "", reason, point.label) for task in lacking for point, seed in _runs_of_points(board)
        ]
    rows = {row.name: i for i, row in enumerate(shown)}
    columns = {name: i for i, name in enumerate(board.tasks)}
    return sorted(found, key=lambda c: (points[c.partition], rows[c.algorithm.name], columns[c.task], c.seed))


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
        entry.data = folder = data_for(board, entry.preparation, data)
        try:
            cohorts = open_cohorts(entry.spec, folder)
        except InputError as error:
            entry.status, entry.reason = "no data", why_no_data(board, data, folder, entry.preparation, error)
            continue
        if otherwise := prepared_otherwise(cohorts, entry.preparation):
            entry.status, entry.reason = "no data", otherwise
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
            elif record.status == "ok" and entry.serves and not has_model(store.folder(entry.key)):
                entry.status, entry.record = "missing", None
                entry.reason = "the model that it left is gone"
            elif record.status == "ok" and (changes := list(outdated(record))):
                entry.reason = f"to be scored anew: {', '.join(changes)}"
        elif (store.folder(entry.key) / "checkpoint").is_dir():
            entry.status, entry.reason = "interrupted", "stopped in mid-run; sweep goes on from its checkpoint"
        elif (found := superseded(entry.spec, cards, _prepared_alike(entry, records.values()))) is not None:
            entry.reason = sentence(found)
    return entries


def _prepared_alike(entry: Planned, records: Iterable[Record | BadRecord]) -> list[Record]:
    """The records on data prepared as a run's are: those of another point are no earlier answer to it."""
    whole = (record for record in records if isinstance(record, Record))
    return [record for record in whole if all(c.prepared_with(entry.preparation) for c in record.cohorts)]


def _take(entry: Planned, record: Record, cards: Mapping[str, str]) -> None:
    """The state of a training that is known by its record alone."""
    changed = [c.task for c in record.cohorts if c.task in cards and cards[c.task] != c.card]
    if changed:
        entry.reason = f"finished as {record.key}, on other data of {', '.join(changed)}"
        return
    entry.key, entry.status = record.key, record.status
    entry.reason = record.error.message if record.error else ""


def _check_options(board: Board, rows: Sequence[ResolvedRow], *, shown: bool) -> None:
    for heading, injected in board.faults.items():
        try:
            parse_options(Faults, injected, owner="faults")
        except InputError as error:
            raise InputError(f"{board.where('faults', heading)}: {heading!r}: {error}") from error
    names = [(row.trained, choice.partition) for row in rows for choice in board.federations]
    if shown and any(is_file(row.rule) or is_file(partition) for row, partition in names):
        return  # whose options they are is known to a file that is not loaded
    models = [option_models(row, partition) for row, partition in names]
    known = {key for found in models for model in found.values() for key in model.model_fields}
    for option in board.options:
        if not any(has_option(found, option) for found in models):
            where = f" in {board.source}" if board.source else ""
            raise InputError(f"no algorithm of the board has the option {option!r}{where}; {nearest(option, known)}")
