"""Run a record again and say what came out otherwise; and say beforehand whose code that would run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from fedmeki_bench.errors import CheckFailed, InputError
from fedmeki_bench.evaluation.predictions import Predictions, TextPredictions
from fedmeki_bench.evaluation.rescoring import stored
from fedmeki_bench.records.record import Evaluation, Record
from fedmeki_bench.records.store import read_record
from fedmeki_bench.runs.command import answering, asked, changed_options
from fedmeki_bench.runs.kept_card import kept_folder, read_kept
from fedmeki_bench.runs.plugins import portable_params
from fedmeki_bench.runs.spec import RunSpec, specify
from fedmeki_bench.runs.superseded import differences


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


ROUNDING = 1e-6
"""Scores that differ by no more than this differ by rounding: float32 carries seven digits."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How the predictions of two runs compare, in one word and in a sentence's end."""

    state: Literal["identical", "rounding", "different", "unknown"]
    text: str


def foreign_code(record: Record) -> list[str]:
    """The code that repeating the record would load from where the record says: files, and a model's own Python code.

    What is installed was trusted when it was installed, and is not listed.
    """
    named = {record.algorithm, record.rule, record.partition}
    encoders = record.params.get("profile", {}).get("encoders", {})
    if isinstance(encoders, Mapping):
        named |= {str(choice.get("name")) for choice in encoders.values() if isinstance(choice, Mapping)}
    files = sorted({name.rpartition(":")[0] for name in named if ".py:" in name})
    found = [f"the Python file {file}" for file in files]
    stage = record.params.get("stage", {})
    if isinstance(stage, Mapping) and stage.get("trust_remote_code"):
        found.append(f"the Python code that comes with the foundation model {stage.get('foundation')}")
    return found


def compared(recorded: Record, there: Path, repeated: Record, here: Path) -> Agreement:
    """Compare the predictions of a record with those of its repetition; each run's files lie in its own folder."""
    largest, differing = 0.0, []
    again = {_which(e): e for e in repeated.scores}
    for evaluation in recorded.scores:
        if evaluation.predictions is None:
            continue
        other = again.get(_which(evaluation))
        after = "" if evaluation.phase is None else f" on {evaluation.split} after phase {evaluation.phase}"
        where = f"{evaluation.view} of {evaluation.task}{after}"
        if other is None or other.predictions is None:
            differing.append(where)
            continue
        if evaluation.digest is not None and evaluation.digest == other.digest:
            continue
        try:
            said = stored(evaluation, there)
        except InputError as error:
            if evaluation.digest is None:
                return Agreement("unknown", f"the record's own can't be read: {error}")
            return Agreement("different", f"not those of the record, whose own can't be read: {error}")
        apart = _apart(said, stored(other, here))
        largest = max(largest, apart)
        if not apart <= ROUNDING:
            differing.append(where)
    if differing:
        much = "" if math.isinf(largest) else f", by up to {largest:.3g}"
        return Agreement("different", f"different for {', '.join(differing)}{much}")
    if largest:
        return Agreement("rounding", f"equal up to rounding (at most {largest:.3g})")
    return Agreement("identical", "identical")


def _which(evaluation: Evaluation) -> tuple[str, str, str, int | None, str | None]:
    return evaluation.view, evaluation.task, evaluation.split, evaluation.phase, evaluation.variant


def _apart(a: Predictions | TextPredictions, b: Predictions | TextPredictions) -> float:
    """The largest difference of two runs' scores; infinite if anything else differs."""
    import numpy as np

    if type(a) is not type(b):
        return math.inf
    for name in ("sample_id", "group_id", "site", "label", "gold", "answer", "parsed"):
        if hasattr(a, name) and list(getattr(a, name)) != list(getattr(b, name)):
            return math.inf
    if a.score is None or b.score is None:
        return 0.0 if a.score is b.score else math.inf
    if a.score.shape != b.score.shape:
        return math.inf
    return float(np.abs(a.score - b.score).max(initial=0.0))


def spec_of(record: Record, results: Path | None = None) -> RunSpec:
    """The run that a record describes, as this installation defines it.

    Args:
        results: the folder of results that the record lies in: a kept model that it started from is looked for there
            first.

    Raises:
        UsageError, InputError: an algorithm, task or option of the record is unknown here; or what it started from is
            not there.
        CheckFailed: this installation defines the run differently (another version of a rule, stage or task), or
            another model lies where its pre-training left one.
    """
    zero_shot = [task for task in asked(record) if task not in record.tasks]
    options, pretrained = changed_options(record), dict[tuple[str, ...], RunSpec]()
    place = _kept_for(record, results)
    if place is not None:
        options["start.from"] = str(place)
    if record.pretraining is not None:  # named by the setting of its pre-training, and not by tensors
        assert place is not None
        _check_pretrained(record, place)
        del options["start.from"]
        pretrained[tuple(record.tasks)] = spec_of(read_record(place / "record.json"), place.parent)
    specs = specify(
        answering(record), record.tasks, profile_name=record.profile, seed=record.seed, clients=record.clients,
        partition=record.partition, options=options, zero_shot=zero_shot, to_run=True, pretrained=pretrained,
    )  # fmt: skip
    if record.pretraining is not None:  # from what was kept: it is not trained again
        start = {**specs[0].params["start"], "from": str(place)}
        specs = [replace(specs[0], params={**specs[0].params, "start": start}, pretraining=None)]
    if len(specs) != 1 or specs[0].setting != record.setting:
        raise CheckFailed(
            f"record {record.key} can't be repeated: this installation defines the run differently "
            f"({', '.join(_differing(record, specs[0])) or 'another version of the results'})"
        )
    return specs[0]


def _kept_for(record: Record, results: Path | None) -> Path | None:
    """Where the model lies that a record's run started from: in the same results, or where the record says."""
    given = Path(record.params.get("start", {}).get("from") or "")
    if not given.name:
        return None
    beside = None if results is None else results / given.name
    return beside if beside is not None and beside.is_dir() else given


def _check_pretrained(record: Record, place: Path) -> None:
    """Refuse a model that another run left."""
    assert record.pretraining is not None
    found = read_kept(kept_folder(place)).key
    if found != record.pretraining.key:
        raise CheckFailed(
            f"record {record.key} can't be repeated: it started from pre-training {record.pretraining.key}, and the "
            f"model kept in {place} is that of {found}"
        )


def _differing(record: Record, spec: RunSpec) -> Iterator[str]:
    """In what a specification is another run than the recorded one; both as records are written."""
    cards = {cohort.task: cohort.card for cohort in record.cohorts}
    found = list(differences(record, spec, cards))
    now = portable_params(spec.params)
    if "start" in now:  # where its model lies is no part of the run
        now["start"]["from"] = record.params.get("start", {}).get("from")
    for section in dict.fromkeys([*now, *record.params]):
        there, here = record.params.get(section, {}), now.get(section, {})
        for key in dict.fromkeys([*here, *there]):
            silent = f"{section}.{key}" in spec.unsaid and key not in there  # newer than the record, at its default
            if not silent and there.get(key) != here.get(key):
                found.append(f"{section}.{key} was {there.get(key)}, is {here.get(key)}")
    yield from found
    if not found and "start" in spec.versions:
        yield f"the model kept in {now['start']['from']} is not the one that it started from"


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
