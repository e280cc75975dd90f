"""Everything that defines a run, and the hashes that name it.

``setting`` is the hash of everything but the data, ``key`` of everything. Two commands that mean the same run get
the same key, so a finished run is never repeated and the views of one training share it. Plug-ins enter by what they
are: built-in ones by name and version, all others by a digest of their source (see ``runs/plugins.py``). Metrics take
no part: they are computed from stored predictions, and can be computed again (``rescore``).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import BaseModel

from fedmeki_bench import algorithms, registry
from fedmeki_bench.algorithms import Algorithm
from fedmeki_bench.data.clients.availability import Availability
from fedmeki_bench.errors import InputError, UsageError, nearest
from fedmeki_bench.evaluation.view import answers_zero_shot
from fedmeki_bench.federation.curriculum import Regime, settled
from fedmeki_bench.federation.faults import Faults
from fedmeki_bench.foundation.presence import check_presence
from fedmeki_bench.options import parse_options, silent
from fedmeki_bench.profiles import Profile, concerning, profile
from fedmeki_bench.runs.plugins import foundation_identity, foundation_name, placeless, plugin_versions
from fedmeki_bench.runs.pretext import (
    PRETRAIN,
    SECTION,
    PretextChoice,
    check_encoders,
    check_parameters,
    made,
    resolved,
)
from fedmeki_bench.runs.start import Start, start_of, start_of_pretrained
from fedmeki_bench.runs.streams import Streams
from fedmeki_bench.seeds import Seeds
from fedmeki_bench.task import Task

RESULTS_VERSION = 1
"""Raised whenever the same specification gives other numbers than before."""

_SECTIONS = (
    "profile", "rule", "stage", "partition", "availability", "start", "faults", "curriculum", "seed", "pretext",
)  # fmt: skip
_LATER = ("start", "faults", "curriculum", "seed")
"""Sections that came after results did."""
IN_FULL = frozenset({"faults", "seed", "pretext"})
"""Sections whose options are given by their full names only, since rules and stages have short ones that are alike."""

MAPPINGS = ("encoders", "decoder_hidden")
"""Options of the profile with an entry per modality, which can be given alone: ``encoders.image=vit_nano``, and of an
encoder also one parameter: ``encoders.image.width=32``."""


@dataclass(frozen=True, slots=True)
class RunSpec:
    """One training: plain values, so that it crosses process borders.

    Attributes:
        algorithm: the name it was asked for under; not part of its identity.
        tasks: what is trained on, sorted.
        zero_shot: zero-shot tasks that the foundation view answers, sorted.
        params: section (profile, rule, stage, partition, availability, start, faults, curriculum, seed) -> resolved
            parameters; of a pooled run that has not everything also ``pooled``: whose samples it has; of one without
            labels ``pretext``.
        versions: of the results and of all plug-ins; ``sources`` of those that are not built in; the foundation model.
        unsaid: ``section.key`` of parameters that are newer than other results and stand at their defaults (see
            :func:`~fedmeki_bench.options.later`): left out of the identity.
        pretraining: the run that leaves the model to start from, where a board plans it; ``versions`` name its setting.
    """

    algorithm: str
    rule: str
    scope: str
    stage: str
    tasks: tuple[str, ...]
    zero_shot: tuple[str, ...]
    profile: str
    params: dict[str, dict[str, Any]]
    seed: int
    clients: int
    partition: str
    versions: dict[str, Any]
    unsaid: tuple[str, ...] = ()
    pretraining: RunSpec | None = None

    @property
    def setting(self) -> str:
        """Hash of everything that defines the run but the data (16 hex digits)."""
        identity = asdict(self)
        del identity["algorithm"], identity["unsaid"], identity["pretraining"]
        for option in self.unsaid:
            section, _, key = option.partition(".")
            del identity["params"][section][key]
        for section in _LATER:  # a run that leaves them alone has no such section
            if not identity["params"].get(section):
                identity["params"].pop(section, None)
        if "start" in identity["params"]:
            identity["params"]["start"]["from"] = "kept"
        identity["rule"], identity["partition"] = placeless(self.rule), placeless(self.partition)
        if "pooled" in identity["params"]:
            identity["params"]["pooled"]["partition"] = placeless(identity["params"]["pooled"]["partition"])
        for choice in identity["params"]["profile"]["encoders"].values():
            choice["name"] = placeless(choice["name"])
        if "foundation" in identity["params"]["stage"]:
            identity["params"]["stage"]["foundation"] = foundation_name(self.params["stage"])
        return _digest(identity)

    def key(self, cohorts: Mapping[str, str]) -> str:
        """Name of the run on these cohorts (task -> card hash)."""
        asked = {task: cohorts[task] for task in (*self.tasks, *self.zero_shot)}
        return _digest({"setting": self.setting, "cohorts": asked})

    @property
    def seeds(self) -> Seeds:
        """The seed with those of single streams, from which all streams are derived."""
        return Seeds(self.seed, **self.params.get("seed", {}))

    def resolved_profile(self) -> Profile:
        """The resolved profile."""
        return Profile.model_validate(self.params["profile"])


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def specify(
    algorithm: Algorithm,
    tasks: Sequence[str],
    *,
    profile_name: str = "demo",
    seed: int = 0,
    clients: int = 5,
    partition: str = "iid",
    options: Mapping[str, Any] | None = None,
    zero_shot: Sequence[str] = (),
    to_run: bool = False,
    pretrained: Mapping[tuple[str, ...], RunSpec] | None = None,
) -> list[RunSpec]:
    """The training runs an algorithm needs for these tasks: one per task in scope ``s``, one over all in scope ``m``.

    Args:
        zero_shot: zero-shot tasks for the foundation view to answer; ignored where there is none. In scope ``s`` each
            goes to the training of the task it names as ``trained_by``.
        options: ``key`` or ``section.key`` -> value, as given with ``-o``.
        pretrained: tasks -> the run without labels that the training over them starts from.
        to_run: refuse a foundation model that could not be loaded, which matters little where records are only shown.

    Raises:
        UsageError: an unknown name, no task, or one that is never trained on.
        InputError: an unknown option key or a value out of range; with ``to_run``, a foundation model that is not
            there or can't be read.
    """
    chosen = [_training_task(name) for name in dict.fromkeys(tasks)]
    if not chosen:
        raise UsageError("no task to train on; name at least one with --tasks")
    if clients < 1:
        raise InputError(f"the number of clients cannot be {clients}: at least 1 is needed")
    if seed < 0:
        raise InputError(f"the seed cannot be {seed}: it is not negative")
    rule, stage = registry.load("rules", algorithm.rule), registry.load("stages", algorithm.stage)
    given = assign_options(option_models(algorithm, partition), dict(algorithm.options) | dict(options or {}))
    if given[PRETRAIN]:
        raise InputError(
            "pretrain is a key of boards: run once with -o pretext=simclr, then with -o start.from=RESULTS/KEY"
        )
    if pretext := resolved(given["pretext"], algorithm):  # labels, which it does not read, need not be there
        given["availability"], zero_shot = {**given["availability"], "labelled": 1.0}, ()
    among, pooled = partition, _pooled(clients, partition, given) if algorithm.pooled else {}
    if algorithm.pooled:  # one place holds everything, whoever lacks what and however it would be assigned
        used = {key: value for key, value in given["availability"].items() if key in ("fraction", "labelled")}
        partition, given["availability"], given["partition"], given["faults"] = "iid", used, {}, {}
    how = registry.load("partitions", partition)
    arrays = {modality for task in chosen for modality in task.meta.arrays}
    arrays |= {modality for name in zero_shot for modality in registry.load("tasks", name).meta.arrays}
    params = {
        "profile": _resolve_profile(profile_name, given["profile"], arrays).model_dump(mode="json"),
        "rule": _resolve(rule.Params, given["rule"], f"rule {algorithm.rule}"),
        "stage": _resolve(stage.Params, given["stage"], f"stage {algorithm.stage}"),
        "partition": _resolve(how.Params, given["partition"], f"partition {partition}"),
        "availability": _resolve(Availability, given["availability"], "the availability of modalities"),
        "start": _resolve(Start, given["start"], "the start"),
        "faults": _resolve(Faults, given["faults"], "the faults"),
        "curriculum": _resolve(Regime, given["curriculum"], "the curriculum"),
        "seed": _resolve(Streams, given["seed"], "the seeds"),
    }
    if pooled:
        params["pooled"] = pooled
    if pretext:
        params["pretext"] = pretext
    for task in chosen:  # each has the wording in which it is to be put
        task.worded(params["stage"].get("wording", 0))
    if to_run and "foundation" in params["stage"]:  # before its files, which may be large, are digested
        check_presence(params["stage"]["foundation"])
    names = sorted(task.meta.name for task in chosen)
    groups = [(name,) for name in names] if algorithm.scope == "s" else [tuple(names)]
    models = option_models(algorithm, partition)
    by_name = {task.meta.name: task.meta for task in chosen}
    specs = []
    for group in groups:
        known = algorithms.views(algorithm.rule, algorithm.stage)
        answered = zero_shot_of(algorithm, group, zero_shot) if any(map(answers_zero_shot, known)) else ()
        modalities = {modality for name in group for modality in by_name[name].arrays}
        if to_run:
            settings = Profile.model_validate(params["profile"])
            check_parameters(settings, modalities | _modalities(given["profile"].get("encoders")))
            if (trick := made(pretext)) is not None:
                check_encoders(trick, settings, modalities)
        versions = {"results": RESULTS_VERSION, "rule": rule.version, "stage": stage.version}
        versions |= plugin_versions(algorithm, among if pooled else partition, params, modalities, (*group, *answered))
        versions |= foundation_identity(params["stage"]) | {"tasks": {name: by_name[name].version for name in group}}
        units = [*(f"encoder.{m}" for m in sorted(modalities)), *(f"decoder.{name}" for name in group)]
        before = (pretrained or {}).get(group)
        if before is None:
            start, digest = start_of(params["start"], units, algorithm.scope)
        else:
            start, digest = start_of_pretrained(params["start"], units), {"start": before.setting}
        own, versions = params | {"start": start}, versions | digest
        own["profile"] = concerning(params["profile"], modalities)
        several = len(group) > 1 and rule.trains and not algorithm.pooled
        rounds = own["profile"]["rounds"]
        own["curriculum"], rounds = settled(params["curriculum"], group, rounds, several=several)
        own["profile"] = own["profile"] | {"rounds": rounds}
        unsaid = tuple(
            f"{section}.{key}"
            for section in _SECTIONS
            if section in own
            for key in silent(models[section], own[section])
        )
        specs.append(
            RunSpec(
                algorithm.name, algorithm.rule, algorithm.scope, algorithm.stage, group, answered, profile_name, own,
                seed, 1 if algorithm.pooled else clients, partition, versions, unsaid, before,
            )
        )  # fmt: skip
    if params["start"].get("from") and not any("start" in spec.versions for spec in specs):
        raise InputError(f"the model kept in {params['start']['from']} shares no unit with any of these training runs")
    return specs


def _pooled(clients: int, partition: str, given: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Whose samples a pooled run has, where these clients do not use all of theirs: it has what they have together."""
    matrix = _resolve(Availability, given["availability"], "the availability of modalities")
    if Availability(**matrix).whole:
        return {}
    options = _resolve(registry.load("partitions", partition).Params, given["partition"], f"partition {partition}")
    matrix = {key: matrix[key] for key in ("missing_rate", "holds")}
    return {"clients": clients, "partition": partition, "options": options, "availability": matrix}


def by_role(tasks: Sequence[str]) -> tuple[list[str], list[str]]:
    """Training tasks and zero-shot tasks among these, in order."""
    roles = {name: registry.load("tasks", name, files=False).meta.role for name in tasks}
    return [n for n in roles if roles[n] == "training"], [n for n in roles if roles[n] != "training"]


def zero_shot_of(algorithm: Algorithm, group: Sequence[str], zero_shot: Sequence[str]) -> tuple[str, ...]:
    """Which zero-shot tasks the training over ``group`` answers, where it leaves a foundation model to be asked."""
    if algorithm.scope == "m":
        return tuple(sorted(zero_shot))
    return tuple(sorted(t for t in zero_shot if registry.load("tasks", t).meta.trained_by in group))


def option_models(algorithm: Algorithm, partition: str) -> dict[str, type[BaseModel]]:
    """Section -> the model of its options, for this algorithm and partition."""
    return {
        "profile": Profile,
        "rule": registry.load("rules", algorithm.rule).Params,
        "stage": registry.load("stages", algorithm.stage).Params,
        "partition": registry.load("partitions", partition).Params,
        "availability": Availability,
        "start": Start,
        "faults": Faults,
        "curriculum": Regime,
        "seed": Streams,
        SECTION: PretextChoice,
    }


def installed_models(algorithm: Algorithm, partition: str) -> dict[str, type[BaseModel]]:
    """As :func:`option_models`, without the sections whose plug-in is a file, which is not loaded."""
    sections = {"rule": ("rules", algorithm.rule), "stage": ("stages", algorithm.stage)}
    sections |= {"partition": ("partitions", partition)}
    known = {s: registry.load(kind, name).Params for s, (kind, name) in sections.items() if ".py:" not in name}
    known |= {"availability": Availability, "start": Start, "faults": Faults, "curriculum": Regime, "seed": Streams}
    return {"profile": Profile, **known, SECTION: PretextChoice}


def assign_options(models: Mapping[str, type[BaseModel]], options: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Hand ``key`` or ``section.key`` options to the section that has the key.

    Raises:
        InputError: no section has it, or more than one but the profile.
    """
    handed: dict[str, dict[str, Any]] = {section: {} for section in (*_SECTIONS, PRETRAIN)}
    for name, value in options.items():
        section, dot, key = name.partition(".")
        if section in MAPPINGS and dot:
            handed["profile"][section] = {**handed["profile"].get(section, {}), key: value}
            continue
        if section == PRETRAIN:
            handed[PRETRAIN][key or "kind"] = value
            continue
        if section == SECTION:
            if key in ("", "kind"):
                handed[SECTION]["kind"] = value
            else:
                known_params = handed[SECTION].get("params", {})
                handed[SECTION]["params"] = {**known_params, **(value if key == "params" else {key: value})}
            continue
        if not dot:
            holders = [s for s in _SECTIONS if s not in IN_FULL and name in models[s].model_fields]
            if "profile" in holders:  # lr means the clients'; the stage's own is stage.lr
                holders = ["profile"]
            if len(holders) > 1:
                ways = " or ".join(f"{s}.{name}" for s in holders)
                raise InputError(f"option {name!r} is ambiguous; write {ways}")
            section, key = (holders[0] if holders else ""), name
        if section not in models or key not in models[section].model_fields:
            known = [f"{s}.{k}" if s in IN_FULL else k for s in _SECTIONS for k in models[s].model_fields]
            raise InputError(f"unknown option {name!r}; {nearest(name if section in IN_FULL else key, known)}")
        handed[section][key] = value
    return handed


def _resolve(model: type[BaseModel], options: Mapping[str, Any], owner: str) -> dict[str, Any]:
    return parse_options(model, options, owner=owner).model_dump(mode="json")


def _resolve_profile(name: str, options: Mapping[str, Any], arrays: Collection[str]) -> Profile:
    """The profile under these options; ``arrays`` are the modalities of the tasks, for which it may have no encoder."""
    base = profile(name).model_dump(mode="json")
    known = {*base["encoders"], *arrays}
    for key, value in options.items():  # a mapping such as encoders changes the entries it names
        if key in MAPPINGS and isinstance(value, dict):
            for modality in _modalities(value):
                if modality not in known:
                    raise InputError(f"unknown modality {modality!r} in '{key}.{modality}'; {nearest(modality, known)}")
            base[key] = _entries(base[key], value, key)
        else:
            base[key] = value
    return parse_options(Profile, base, owner=f"profile {name}")


def _modalities(entries: Any) -> set[str]:
    """Of which modalities entries such as ``image`` or ``image.width`` speak."""
    return {str(path).partition(".")[0] for path in entries} if isinstance(entries, Mapping) else set()


def _entries(base: dict[str, Any], given: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Entries of a mapping laid over others: first those that are whole, then single parameters of an encoder."""
    found = base | {entry: value for entry, value in given.items() if "." not in entry}
    for path, value in given.items():
        entry, dot, parameter = path.partition(".")
        if dot:
            if key != "encoders":
                raise InputError(f"unknown option '{key}.{path}'; {key}.{entry} is one number")
            if entry not in found:
                raise InputError(f"the profile names no encoder of {entry}: say encoders.{entry}=NAME first")
            choice = {"name": found[entry]} if isinstance(found[entry], str) else dict(found[entry])
            found[entry] = choice | {"params": {**choice.get("params", {}), parameter: value}}
    return found


def _training_task(name: str) -> Task:
    task: Task = registry.load("tasks", name)()
    if task.meta.role != "training":
        raise UsageError(f"task {name!r} is a zero-shot task: it is scored, never trained on")
    return task


def views_of(spec: RunSpec) -> tuple[str, ...]:
    """The views scored from a run; none of one without labels."""
    return () if "pretext" in spec.params else algorithms.views(spec.rule, spec.stage)
