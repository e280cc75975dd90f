"""Why a finished run no longer counts: the same request, but something that numbers depend on has changed since."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from fedmeki_bench.federation.curriculum import Regime
from fedmeki_bench.federation.faults import Faults
from fedmeki_bench.records.record import Record
from fedmeki_bench.records.store import BadRecord
from fedmeki_bench.runs.plugins import placeless
from fedmeki_bench.runs.spec import RunSpec
from fedmeki_bench.runs.streams import Streams

_WITHOUT = {
    "faults": Faults().model_dump(mode="json"), "curriculum": Regime().model_dump(mode="json"),
    "seed": Streams().model_dump(mode="json"),
}  # fmt: skip
"""What a record without such a section was run under."""


def superseded(
    spec: RunSpec, cards: Mapping[str, str], records: Iterable[Record | BadRecord]
) -> tuple[Record, list[str]] | None:
    """The finished run that answered this request last, and what has changed since; None if there is none.

    Args:
        spec: what is asked for now, and has no record of its own.
        cards: task -> hash of the cohort it would depend on.
        records: what to look among.
    """
    alike = [r for r in records if isinstance(r, Record) and r.status == "ok" and _same_request(r, spec)]
    if not alike:
        return None
    last = max(alike, key=lambda r: (r.finished is not None, r.finished, r.key))
    return last, list(differences(last, spec, cards)) or ["this version names runs differently"]


def sentence(found: tuple[Record, list[str]]) -> str:
    """``finished as KEY, which no longer counts: rule fade changed since``."""
    record, changes = found
    return f"finished as {record.key}, which no longer counts: {', '.join(changes)}"


def differences(record: Record, spec: RunSpec, cards: Mapping[str, str]) -> Iterator[str]:
    """Everything but its parameters in which a recorded run differs from what is asked for now, in words."""
    there, now = record.versions, spec.versions
    pairs: list[tuple[str, Any, Any]] = [("version of the results", there.results, now["results"])]
    pairs += [(f"version of rule {placeless(spec.rule)}", there.rule, now["rule"])]
    pairs += [(f"version of stage {spec.stage}", there.stage, now["stage"])]
    pairs += [(f"version of task {task}", there.tasks.get(task), version) for task, version in now["tasks"].items()]
    plugins = now.get("plugins", {})
    pairs += [(f"version of {w}", there.plugins.get(w, 1), plugins.get(w, 1)) for w in {**there.plugins, **plugins}]
    for what, recorded, current in pairs:
        if recorded != current:
            yield f"{what} was {recorded}, is {current}"
    sources = now.get("sources", {})
    names = {"rule": f"rule {placeless(spec.rule)}", "stage": f"stage {spec.stage}"}
    names |= {"partition": f"partition {placeless(spec.partition)}"}
    for what in sorted({*there.sources, *sources}):
        if not what.startswith("metric ") and there.sources.get(what) != sources.get(what):
            yield f"{names.get(what, what)} changed since"
    if there.foundation != now.get("foundation") and there.foundation is not None:
        yield "the foundation model's files changed since"
    known = {c.task: c.card for c in record.cohorts}
    for task in (*spec.tasks, *spec.zero_shot):
        if known.get(task) != cards.get(task):
            yield f"the data of {task} changed since"


def _same_request(record: Record, spec: RunSpec) -> bool:
    asked = tuple(task for task in record.versions.tasks if task not in record.tasks)
    return (
        (placeless(record.rule), record.scope, record.stage, record.profile, record.seed, record.clients)
        == (placeless(spec.rule), spec.scope, spec.stage, spec.profile, spec.seed, spec.clients)
        and (tuple(sorted(record.tasks)), tuple(sorted(asked))) == (spec.tasks, spec.zero_shot)
        and placeless(record.partition) == placeless(spec.partition)
        and all(_agree(record.params.get(section, _WITHOUT.get(section, {})), p) for section, p in spec.params.items())
    )


def _agree(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether all parameters that both have are equal; one that only one side has came or went with a new version."""
    return all(_placeless(key, recorded[key]) == _placeless(key, now[key]) for key in now if key in recorded)


def _placeless(key: str, value: Any) -> Any:
    if key == "encoders" and isinstance(value, Mapping):
        return {
            m: {**c, "name": placeless(str(c.get("name")))} if isinstance(c, Mapping) else c for m, c in value.items()
        }
    return Path(str(value)).name if key == "foundation" else value
