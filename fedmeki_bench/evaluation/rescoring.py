"""A record's numbers anew from its stored predictions: what a new version of a metric asks for, without training."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from fedmeki_bench import registry, seeds
from fedmeki_bench.errors import FedmekiError, InputError, UsageError
from fedmeki_bench.evaluation.estimates import SCORING_VERSION, score_predictions
from fedmeki_bench.evaluation.intervals import Estimate
from fedmeki_bench.evaluation.metrics import MetricSpec
from fedmeki_bench.evaluation.predictions import (
    Predictions,
    TextPredictions,
    read_predictions,
    read_text_predictions,
)
from fedmeki_bench.evaluation.view import in_words
from fedmeki_bench.records.record import Evaluation, MetricValue, Record
from fedmeki_bench.sources import plugin_source

_LONGEST = 200  # characters of a path below the run's folder


def metric(name: str) -> MetricSpec:
    """The installed metric called ``name``.

    Raises:
        UsageError: there is none; a file that a record names is not looked into.
    """
    spec = registry.load("metrics", name, files=False)
    if not isinstance(spec, MetricSpec):
        raise UsageError(f"metric {name!r} is no MetricSpec")
    return spec


def predictions_file(evaluation: Evaluation, folder: Path) -> Path:
    """Where an evaluation's predictions lie below the run's folder.

    Raises:
        InputError: it names none, or a place outside the folder.
    """
    path = PurePosixPath(evaluation.predictions or "")
    outside = path.is_absolute() or ".." in path.parts or not path.parts
    if outside or "\0" in str(path) or len(str(path)) > _LONGEST:
        raise InputError(f"{evaluation.predictions!r} names no predictions inside the run's folder")
    return folder / path


def stored(evaluation: Evaluation, folder: Path) -> Predictions | TextPredictions:
    """The predictions behind an evaluation, checked against its digest.

    Raises:
        InputError: they are missing, damaged or were changed.
    """
    read = read_text_predictions if in_words(evaluation.view) else read_predictions
    return read(predictions_file(evaluation, folder), evaluation.digest)


def values_of(found: Mapping[str, Estimate]) -> dict[str, MetricValue]:
    """Estimates as a record holds them."""
    return {name: MetricValue(value=e.value, low=e.low, high=e.high, note=e.note) for name, e in found.items()}


def metric_sources(names: Iterable[str]) -> dict[str, str]:
    """``metric NAME`` -> digest of its source, for the metrics that are not built in."""
    sources = {name: plugin_source("metrics", name) for name in names}
    return {f"metric {name}": source for name, source in sources.items() if source is not None}


def outdated(record: Record) -> Iterator[str]:
    """In what the scoring of a record differs from what is installed, in words; nothing if it would be the same."""
    if not any(evaluation.metrics for evaluation in record.evaluations):
        return
    if record.versions.scoring != SCORING_VERSION:
        yield f"version of the scoring was {record.versions.scoring}, is {SCORING_VERSION}"
    known = set(registry.names("metrics"))
    for name, version in record.versions.metrics.items():
        if name not in known:
            continue  # another installation's metric: there is nothing to score it anew with
        now = metric(name).version
        if now != version:
            yield f"version of metric {name} was {version}, is {now}"
        elif record.versions.sources.get(f"metric {name}") != plugin_source("metrics", name):
            yield f"metric {name} changed since"


def rescore(record: Record, folder: Path) -> tuple[Record, list[str]]:
    """The record with every number computed anew, and why some could not be; those keep their old values.

    Args:
        folder: where the record lies, with its predictions below.
    """
    evaluations, problems = [], []
    for evaluation in record.scores:
        try:
            evaluations.append(_again(record, evaluation, folder) if evaluation.predictions else evaluation)
        except FedmekiError as error:
            problems.append(str(error))
            evaluations.append(evaluation)
    if problems:
        return record, problems
    again, updated = iter(evaluations), {}
    for name in ("evaluations", "phases", "beside"):
        updated[name] = [next(again) for _ in getattr(record, name)]
    told = {name for evaluation in evaluations for name in evaluation.metrics} | set(record.versions.metrics)
    names = told & set(registry.names("metrics"))
    versions = record.versions.model_copy(
        update={
            "scoring": SCORING_VERSION,
            "metrics": record.versions.metrics | {name: metric(name).version for name in sorted(names)},
            "sources": {k: v for k, v in record.versions.sources.items() if not k.startswith("metric ")}
            | metric_sources(sorted(names)),
        }
    )
    return record.model_copy(update={**updated, "versions": versions}), []


def _again(record: Record, evaluation: Evaluation, folder: Path) -> Evaluation:
    from fedmeki_bench.evaluation.subgroups import memberships_of, subgroups

    said = stored(evaluation, folder)
    names, kind = _wanted(evaluation, said)
    specs, draw = [metric(name) for name in names], seeds.derive(record.seed, "bootstrap", evaluation.task)
    if evaluation.phase is not None:  # of phases the main metric alone is kept
        found = score_predictions(said, specs[:1], seed=draw, kind=kind)
        return evaluation.model_copy(update={"metrics": {names[0]: values_of(found)[names[0]]}})
    found = score_predictions(said, specs, seed=draw, kind=kind)
    if evaluation in record.beside:  # of these no groups are kept
        return evaluation.model_copy(update={"metrics": values_of(found)})
    clients = [int(group.name) for group in evaluation.subgroups.get("client", ())]
    parts = subgroups(said, specs[0], memberships_of(said), seed=draw, clients=clients)
    kept = {name: groups for name, groups in evaluation.subgroups.items() if name not in parts}  # no longer stored
    return evaluation.model_copy(update={"metrics": values_of(found), "subgroups": parts | kept})


def _wanted(evaluation: Evaluation, said: Predictions | TextPredictions) -> tuple[list[str], str]:
    """The metrics a task declares now, or those of the record where the task is not installed; and the task's kind."""
    if evaluation.task in registry.names("tasks"):
        meta = registry.load("tasks", evaluation.task).meta
        return list(meta.metrics), meta.kind
    words = isinstance(said, TextPredictions) and not said.labelled
    return [name for name in evaluation.metrics if name != "unparsed"], "generation" if words else said.labels.kind
