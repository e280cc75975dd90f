"""How the plug-ins of a run, and its foundation model, enter what names the run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fedmeki_bench import registry
from fedmeki_bench.algorithms import Algorithm
from fedmeki_bench.digests import known_digest
from fedmeki_bench.federation.faults import any_of
from fedmeki_bench.foundation.tiny_config import STAND_INS
from fedmeki_bench.sources import plugin_source, stated_version


def plugin_versions(
    algorithm: Algorithm, partition: str, params: Mapping[str, Any], modalities: Iterable[str], tasks: Sequence[str]
) -> dict[str, Any]:
    """Sources of the run's plug-ins that are not built in, and versions beyond the first of the others' kinds.

    Rules, stages and tasks have entered by their versions from the start. Partitions, encoders and kinds of tasks got
    theirs later: a first version goes without saying, so that finished runs keep their names.
    """
    named = {
        "rule": ("rules", algorithm.rule),
        "stage": ("stages", algorithm.stage),
        "partition": ("partitions", partition),
    }
    named |= {f"task {name}": ("tasks", name) for name in tasks}
    kinds = {registry.load("tasks", name).meta.kind for name in tasks}
    named |= {f"kind {kind}": ("kinds", kind) for kind in sorted(kinds)}
    encoders = params["profile"]["encoders"]
    named |= {f"encoder {m}": ("encoders", encoders[m]["name"]) for m in sorted(modalities) if m in encoders}
    foundation = params["stage"].get("foundation")
    if foundation in registry.names("foundations"):
        named["foundation model"] = ("foundations", foundation)
    if "pretext" in params:
        named["pretext"] = ("pretexts", params["pretext"]["kind"])
    sources, versions = {}, {}
    for what, (kind, name) in named.items():
        if (source := plugin_source(kind, name)) is not None:
            sources[what] = source
        version = stated_version(kind, name) if kind in ("partitions", "encoders", "kinds", "pretexts") else 1
        if version != 1:
            versions[what] = version
    return ({"sources": sources} if sources else {}) | ({"plugins": versions} if versions else {})


def placeless(name: str) -> str:
    """The name of a plug-in, without the folder of one that is given as a file: its content says what it is."""
    return "file:" + name.rpartition(":")[2] if ".py:" in name else name


def portable(name: str) -> str:
    """A name as a record may hold it: of a path, the part below the working folder, or else its last component."""
    path, colon, attribute = name.rpartition(":") if ".py:" in name else (name, "", "")
    if not Path(path).is_absolute() and ".." not in Path(path).parts:
        return name
    resolved = Path(path).resolve()
    here = Path.cwd().resolve()
    shown = resolved.relative_to(here).as_posix() if resolved.is_relative_to(here) else resolved.name
    return f"{shown}{colon}{attribute}"


def portable_params(params: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Parameters as a record holds them: paths of encoders, foundation model and start by :func:`portable`."""
    told = {section: dict(values) for section, values in params.items()}
    told["profile"]["encoders"] = {
        modality: {**choice, "name": portable(choice["name"])}
        for modality, choice in told["profile"]["encoders"].items()
    }
    if "foundation" in told["stage"]:
        told["stage"]["foundation"] = portable(str(told["stage"]["foundation"]))
    if told.get("start", {}).get("from"):
        told["start"]["from"] = portable(str(told["start"]["from"]))
    else:
        told.pop("start", None)
    if "pooled" in told:
        told["pooled"]["partition"] = portable(told["pooled"]["partition"])
    if not any_of(told.get("faults", {})):
        told.pop("faults", None)
    if told.get("curriculum", {}).get("regime") in (None, "joint"):
        told.pop("curriculum", None)
    if all(value is None for value in told.get("seed", {}).values()):
        told.pop("seed", None)
    return told


def foundation_name(stage: Mapping[str, Any]) -> str:
    """The name of the foundation model, or ``folder`` or ``file`` for one that is given so, wherever that lies."""
    name = str(stage["foundation"])
    if name in registry.names("foundations"):
        return name
    return "folder" if Path(name).is_dir() else "file" if Path(name).is_file() else name


def foundation_identity(stage: Mapping[str, Any]) -> dict[str, str]:
    """What the foundation model is, not what it is called: the recipe of ``tiny``, or the content of a folder or file.

    The files of a folder are read once; later calls go by sizes and dates (see ``digests.py``).
    """
    name = stage.get("foundation")
    if name is None:
        return {}
    if name in STAND_INS:
        return {"foundation": f"tiny-{STAND_INS[name].key}"}
    given = Path(name)
    if name in registry.names("foundations") or not (given.is_dir() or given.is_file()):
        return {"foundation": name}
    if given.is_file():
        return {"foundation": known_digest(given)[:16]}
    files = sorted(f for f in given.iterdir() if f.is_file() and not f.name.startswith("."))
    facts = json.dumps([[f.name, known_digest(f)] for f in files])
    return {"foundation": hashlib.sha256(facts.encode()).hexdigest()[:16]}
