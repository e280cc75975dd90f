"""``pretrain: simclr`` on a board: a run without labels that is planned by itself, and the runs that start from it.

A run that starts so is named by the setting of its pre-training and not by tensors, which nobody has before that was
run; its key holds the cohorts of both. Cells that need the same pre-training share it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fedmeki_bench import registry
from fedmeki_bench.algorithms import Algorithm
from fedmeki_bench.errors import InputError, RunFailed, nearest
from fedmeki_bench.records.lease import KeyLocked
from fedmeki_bench.records.record import Pretraining, Record
from fedmeki_bench.runs.kept_card import FOLDER
from fedmeki_bench.runs.pretext import PRETRAIN, SECTION
from fedmeki_bench.runs.spec import RunSpec, option_models, specify

if TYPE_CHECKING:
    from pathlib import Path

    from fedmeki_bench.data.cohort import Cohort
    from fedmeki_bench.records.store import RecordStore


def specified(
    algorithm: Algorithm, tasks: Sequence[str], *, partition: str, options: Mapping[str, Any], **how: Any
) -> list[RunSpec]:  # fmt: skip
    """The training runs of a row, each with the pre-training that it starts from where ``pretrain`` is an option.

    Args:
        options: as :func:`~fedmeki_bench.runs.spec.specify` takes them, with ``pretrain`` and ``pretrain.KEY``: options
            of the pre-training, or of its pretext.
        how: what else ``specify`` takes.

    Raises:
        UsageError, InputError: as ``specify``; or ``pretrain`` is nothing to start from.
    """
    before, own = divided(options)
    kind = before.pop("", None)
    if ".py:" in algorithm.rule and kind:  # whose runs are known by their parameters, which say nothing of this
        raise InputError("a rule in a file can't be pre-trained on a board: install it, as a plug-in of a package")
    twin = _without_stage(algorithm)
    models = option_models(twin, partition)
    trains = registry.load("rules", algorithm.rule).trains
    if kind in (None, "", "none") or not trains:
        if before and kind is None:
            raise InputError(f"pretrain.{next(iter(before))} needs a pretext, as in pretrain: simclr")
        if trains and before:  # pretexts are loaded only where somebody asks about one: they need torch
            _check_keys(before, models)
        return specify(algorithm, tasks, partition=partition, options=own, **how)
    shared = {key: value for key, value in own.items() if not _of_the_cell(models, key) and _has(models, key)}
    pretext = registry.load("pretexts", str(kind)).Params.model_fields
    asked = {f"{SECTION}.{key}" if key in pretext else key: value for key, value in before.items()}
    asked = {_in_full(models, key): value for key, value in asked.items()}
    shared = {key: value for key, value in shared.items() if _in_full(models, key) not in asked}
    first = specify(
        twin, tasks, partition=partition, options={**shared, **asked, SECTION: kind}, **{**how, "zero_shot": ()}
    )
    pretrained = {spec.tasks: spec for spec in first}
    found = specify(algorithm, tasks, partition=partition, options=own, pretrained=pretrained, **how)
    for spec in found:
        _check_alike(spec)
    return found


def _of_the_cell(models: Mapping[str, Any], key: str) -> bool:
    """Whether an option of a run says nothing of its pre-training."""
    full = _in_full(models, key)
    return full.partition(".")[0] == "start" or full == "availability.labelled"


def _check_keys(before: Mapping[str, Any], models: Mapping[str, Any]) -> None:
    """Refuse options of a pre-training that no pretext has, where none is taken."""
    known = {key for name in registry.names("pretexts") for key in registry.load("pretexts", name).Params.model_fields}
    for key in before:
        if key not in known and not _has(models, key):
            near = nearest(key, {*known, *(field for model in models.values() for field in model.model_fields)})
            raise InputError(f"unknown option '{PRETRAIN}.{key}'; {near}")


def _check_alike(spec: RunSpec) -> None:
    """Refuse a pre-training of other encoders than the run's own."""
    before = spec.pretraining
    for unit in spec.params["start"]["units"] if before is not None else ():
        modality = unit.partition(".")[2]
        own, other = (one.params["profile"]["encoders"].get(modality) for one in (spec, before or spec))
        if own != other:
            raise InputError(
                f"the pre-training has another encoder of {modality} than the run that starts from it: {_said(other)}, "
                f"and not {_said(own)}; leave out {PRETRAIN}.encoders.{modality}"
            )


def _said(choice: Mapping[str, Any] | None) -> str:
    if choice is None:
        return "none"
    params = ", ".join(f"{key} {value}" for key, value in choice["params"].items())
    return choice["name"] + (f" ({params})" if params else "")


def divided(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options of the pre-training by their keys without ``pretrain.``, the pretext under none; and the others."""
    before, own = dict[str, Any](), dict[str, Any]()
    for key, value in options.items():
        head, _, rest = key.partition(".")
        if head == PRETRAIN:
            before["" if rest == "kind" else rest] = value
        else:
            own[key] = value
    return before, own


def placed(spec: RunSpec, cohorts: Mapping[str, Cohort], store: RecordStore) -> RunSpec:
    """The specification with the folder in which its pre-training leaves its model."""
    if spec.pretraining is None:
        return spec
    folder = store.folder(_key(spec.pretraining, cohorts))
    start = {**spec.params["start"], "from": str(folder)}
    return replace(spec, params={**spec.params, "start": start})


def finished(before: RunSpec, cohorts: Mapping[str, Cohort], store: RecordStore, run: Callable[[], Record]) -> Record:
    """The record of a pre-training, which is run if it is not done; waited for while another process is at it.

    Raises:
        RunFailed: it failed.
    """
    key = _key(before, cohorts)
    while True:
        try:
            record = run()
            break
        except KeyLocked:
            time.sleep(store.pace.beat)
    if record.status != "ok":
        why = record.error.message if record.error else "it was not finished"
        raise RunFailed(f"its pre-training {key} has no model to start from: {why}")
    return record


def told(record: Record) -> Pretraining:
    """What a record says of the pre-training that its run started from."""
    cost = record.cost
    return Pretraining(
        key=record.key, pretext=record.params[SECTION]["kind"], seconds=cost.seconds, bytes_up=cost.bytes_up,
        bytes_down=cost.bytes_down,
    )  # fmt: skip


def has_model(folder: Path) -> bool:
    """Whether a pre-training left its model there."""
    return (folder / FOLDER).is_dir()


def _key(before: RunSpec, cohorts: Mapping[str, Cohort]) -> str:
    return before.key({name: cohorts[name].card_hash for name in before.tasks})


def _without_stage(algorithm: Algorithm) -> Algorithm:
    """The same rule and scope, with no stage that learns from labels."""
    options = tuple((key, value) for key, value in algorithm.options if not key.startswith("stage."))
    return replace(algorithm, stage="none", options=options)


def _has(models: Mapping[str, Any], key: str) -> bool:
    from fedmeki_bench.runs.rows import has_option

    return has_option(models, key)


def _in_full(models: Mapping[str, Any], key: str) -> str:
    from fedmeki_bench.runs.rows import in_full

    return in_full(models, key)
