"""Run a record again and say what came out otherwise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fedmeki_bench.errors import CheckFailed
from fedmeki_bench.results.record import Record
from fedmeki_bench.runs.command import answering, asked, changed_options
from fedmeki_bench.runs.spec import RunSpec, specify


@dataclass(frozen=True, slots=True)
class Change:
    """One metric of one evaluation, as recorded and as found now; None where undefined or absent."""

    view: str
    task: str
    metric: str
    recorded: float | None
    repeated: float | None

    @property
    def difference(self) -> float | None:
        """|repeated - recorded|; None if exactly one of them is a number, 0 if neither is."""
        if self.recorded is None or self.repeated is None:
            return 0.0 if self.recorded is self.repeated else None
        return abs(self.repeated - self.recorded)


def spec_of(record: Record) -> RunSpec:
    """The run that a record describes, as this installation defines it.

    Raises:
        UsageError, InputError: an algorithm, task or option of the record is unknown here.
        CheckFailed: this installation defines the run differently (another version of a rule, stage or task).
    """
    zero_shot = [task for task in asked(record) if task not in record.tasks]
    specs = specify(
        answering(record), record.tasks, profile_name=record.profile, seed=record.seed, clients=record.clients,
        partition=record.partition, options=changed_options(record), zero_shot=zero_shot,
    )  # fmt: skip
    if len(specs) != 1 or specs[0].setting != record.setting:
        raise CheckFailed(
            f"record {record.key} can't be repeated: this installation defines the run differently "
            f"({', '.join(_differing(record, specs[0])) or 'another version of the results'})"
        )
    return specs[0]


def _differing(record: Record, spec: RunSpec) -> Iterator[str]:
    versions = record.versions
    for what, recorded, now in (("rule", versions.rule, spec.versions["rule"]),
                                ("stage", versions.stage, spec.versions["stage"])):  # fmt: skip
        if recorded != now:
            yield f"{what} version {recorded} there, {now} here"
    for task, now in spec.versions["tasks"].items():
        if versions.tasks.get(task) != now:
            yield f"task {task} version {versions.tasks.get(task)} there, {now} here"
    for section, params in spec.params.items():
        for key, value in params.items():
            recorded = record.params.get(section, {}).get(key)
            if recorded != value:
                yield f"{section}.{key} {recorded} there, {value} here"


def environment_changes(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> list[tuple[str, str, str, bool]]:
    """(what, recorded, now, same) for every fact of the two environments, nested ones as ``packages.torch``."""
    there, here = dict(_flat(recorded)), dict(_flat(now))
    rows = []
    for what in dict.fromkeys([*there, *here]):
        left, right = there.get(what, "missing"), here.get(what, "missing")
        rows.append((what, left, right, left == right))
    return rows


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, item in value.items():
        if isinstance(item, Mapping):
            yield from _flat(item, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", "none" if item is None else str(item)


def changes(recorded: Record, repeated: Record) -> list[Change]:
    """Every metric of every evaluation of either record."""
    there = {(e.view, e.task, m): v.value for e in recorded.evaluations for m, v in e.metrics.items()}
    here = {(e.view, e.task, m): v.value for e in repeated.evaluations for m, v in e.metrics.items()}
    return [Change(*key, there.get(key), here.get(key)) for key in dict.fromkeys([*there, *here])]
