"""A record's run done again, and how well the two agree."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from fedmeki_bench.data.preparations import folders_of
from fedmeki_bench.errors import CheckFailed, InputError, RunFailed, UsageError
from fedmeki_bench.events import Listener, silent
from fedmeki_bench.records.record import Record
from fedmeki_bench.records.store import RecordStore, read_record
from fedmeki_bench.runs.execute import execute, open_cohorts
from fedmeki_bench.runs.reproduce import (
    Agreement,
    Change,
    changes,
    compared,
    environment_changes,
    foreign_code,
    spec_of,
)
from fedmeki_bench.runs.spec import RunSpec
from fedmeki_bench.workflow.training import Building, build_stand_ins, check_device

Watch = Callable[[RunSpec], AbstractContextManager[Listener]]


@dataclass(frozen=True, slots=True)
class Repeated:
    """A run and its repetition.

    Attributes:
        recorded, repeated: the two records.
        agreement: of their predictions.
        changes: of every metric.
        around: what of the environment, there, here, and whether it is the same.
    """

    recorded: Record
    repeated: Record
    agreement: Agreement
    changes: tuple[Change, ...]
    around: tuple[tuple[str, str, str, bool], ...]


def refuse_code(code: Sequence[str]) -> None:
    """Refuse to run code that a record brings along.

    Raises:
        UsageError: there is some.
    """
    if code:
        raise UsageError(f"repeating this record would run {' and '.join(code)}; look at it, then say --trust")


def repeat(
    record: Path, data: Path, *, results: Path | None = None, device: str = "cpu",
    agree: Callable[[list[str]], None] = refuse_code, watch: Watch = lambda spec: nullcontext(silent),
    building: Building | None = None,
) -> Repeated:  # fmt: skip
    """Run a record again on the same data.

    Args:
        record: a record.json, or the folder that holds it.
        data: the folder of cohorts; those of a preparation below it are found there.
        results: where the new record is kept; without it, it is thrown away.
        device: where models live.
        agree: is told which code the record would run, and raises to refuse.
        watch: gives the listener that follows the run.
        building: shows how a stand-in for a foundation model is built.

    Raises:
        InputError: the record is bad or not of a finished run, or data are missing.
        CheckFailed: the data are others.
        RunFailed: the run failed now.
        UsageError: code was not agreed to, or there is no such device.
    """
    path = record / "record.json" if record.is_dir() else record
    recorded = read_record(path)
    if recorded.status != "ok":
        raise InputError(f"{path}: the run {recorded.status}; only finished runs can be compared")
    agree(foreign_code(recorded))
    spec = spec_of(recorded, path.resolve().parent.parent)
    check_device(device)
    data, other = _prepared_so(spec, data, {c.task: c.card for c in recorded.cohorts})
    if other:
        raise CheckFailed(f"the data in {data} are not those of the record: {', '.join(other)} have another card")
    build_stand_ins([spec], building)
    holder: AbstractContextManager[Path | str] = (
        nullcontext(results) if results else tempfile.TemporaryDirectory(prefix="fedmeki-bench-")
    )
    with holder as folder:
        store = RecordStore(Path(folder))
        with watch(spec) as listener:
            repeated = execute(spec, data, store, device=device, fresh=True, listener=listener)
        if repeated.status != "ok":
            raise RunFailed(f"the run {repeated.status}: {repeated.error.message if repeated.error else 'no reason'}")
        if recorded.pretraining is not None:  # it started from the model of that one again
            repeated.pretraining = recorded.pretraining
            store.write(repeated)
        agreement = compared(recorded, path.parent, repeated, store.folder(repeated.key))
    around = environment_changes(recorded.environment, repeated.environment)
    return Repeated(recorded, repeated, agreement, tuple(changes(recorded, repeated)), tuple(around))


def _prepared_so(spec: RunSpec, data: Path, cards: Mapping[str, str]) -> tuple[Path, list[str]]:
    """The data folder, or that of its preparations whose cohorts have these cards; and the tasks whose have others."""
    found: list[tuple[Path, list[str]]] = []
    lost: list[InputError] = []
    for folder in folders_of(data):
        try:
            cohorts = open_cohorts(spec, folder)
        except InputError as error:
            lost.append(error)
            continue
        other = [task for task, cohort in cohorts.items() if cohort.card_hash != cards.get(task)]
        if not other:
            return folder, []
        found.append((folder, other))
    if not found:
        raise lost[0]
    return found[0]
