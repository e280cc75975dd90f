"""The command line that repeats a record's run: what differs from the defaults, and nothing else."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from fedmeki_bench import algorithms, registry
from fedmeki_bench.algorithms import Algorithm
from fedmeki_bench.errors import UsageError
from fedmeki_bench.evaluation.view import answers_zero_shot
from fedmeki_bench.profiles import profile
from fedmeki_bench.records.record import Record
from fedmeki_bench.runs.spec import installed_models


def command_of(record: Record) -> str:
    """``fedmeki-bench run ...`` with everything that defines the run but the data and the results folder.

    Nothing that the record names is loaded: of a plug-in in a file all parameters are given, whatever its defaults.

    Raises:
        UsageError: its rule, stage or partition is not installed here.
    """
    algorithm = answering(record)
    parts = ["fedmeki-bench", "run", algorithm.name, "--tasks", ",".join(asked(record))]
    parts += ["--profile", record.profile, "--seed", str(record.seed)]
    if (among := record.params.get("pooled")) is not None:
        parts += ["--clients", str(among["clients"]), "--partition", among["partition"]]
    elif not algorithm.pooled:
        parts += ["--clients", str(record.clients), "--partition", record.partition]
    for key, value in changed_options(record).items():
        parts += ["-o", f"{key}={_said(value)}"]
    return shlex.join(parts)


def asked(record: Record) -> list[str]:
    """Trained tasks, then the zero-shot tasks that were put to the foundation model."""
    return list(dict.fromkeys([*record.tasks, *record.versions.tasks]))


def answering(record: Record) -> Algorithm:
    """The record's algorithm, or its foundation view where zero-shot tasks were asked: both share the run."""
    algorithm = algorithms.described(record.algorithm)
    if len(asked(record)) == len(record.tasks) or answers_zero_shot(algorithm.view):
        return algorithm
    known = algorithms.suffixes().items()
    suffix = next((s for s, (stage, view, _) in known if stage == record.stage and answers_zero_shot(view)), None)
    if suffix is None:
        raise UsageError(f"the stage {record.stage!r} answers no zero-shot tasks here")
    return algorithms.described(f"{algorithm.rule}_{algorithm.scope}_{suffix}")


def changed_options(record: Record) -> dict[str, Any]:
    """``section.key`` -> value, for every parameter that differs from the profile's or the plug-in's default."""
    algorithm = algorithms.described(record.algorithm)
    given: dict[str, Any] = {}
    defaults: dict[str, Mapping[str, Any]] = {
        section: model().model_dump(mode="json")
        for section, model in installed_models(algorithm, record.partition).items()
        if section != "profile"
    }
    defaults["profile"] = profile(record.profile).model_dump(mode="json")
    own = {key.removeprefix("profile."): value for key, value in algorithm.options}
    sections = {section: params for section, params in record.params.items() if section != "pooled"}
    if (among := record.params.get("pooled")) is not None:  # whose samples a pooled run has
        defaults["partition"] = registry.load("partitions", among["partition"]).Params().model_dump(mode="json")
        sections["partition"] = among["options"]
        sections["availability"] = {**sections["availability"], **among["availability"]}
    for section, params in sections.items():
        for key, value in params.items():
            name = f"{section}.{key}"
            known = own.get(name, own.get(key, defaults.get(section, {}).get(key)))
            if isinstance(value, dict) and isinstance(known, dict):  # entries that are not given stay as they are
                known = {entry: known[entry] for entry in value if entry in known}
            if value != known:
                given[name] = value
    return given


def _said(value: Any) -> str:
    """As ``-o`` reads it."""
    return value if isinstance(value, str) else json.dumps(value)
