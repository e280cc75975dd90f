"""Whether two finished runs of one key say the same: everything but when, where and by what machine they were made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedmeki_bench.records.record import Record
from fedmeki_bench.runs.plugins import placeless
from fedmeki_bench.runs.reproduce import ROUNDING, compared

_MEASURED = ("evaluations", "phases", "beside", "history", "foundation")
"""Sections with numbers that are computed, so that another machine may round them otherwise."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One field in which two records contradict each other, or their predictions.

    Attributes:
        field: such as ``evaluations.aggregated.lung_opacity.test.metrics.auroc.value``, or ``predictions``.
        first, second: as the records have it; None where undefined or absent.
        apart: how far, of two numbers.
        text: all of it in words.
    """

    field: str
    first: Any
    second: Any
    apart: float | None
    text: str


def differences(first: Record, there: Path, second: Record, here: Path) -> tuple[Difference, ...]:
    """In what two finished runs of one key contradict each other; each run's files lie in its own folder.

    Left aside are times and peak memory, the environment, folders in which plug-ins and models lay, and which
    distribution brought a plug-in. Computed numbers, and predictions, may differ by rounding (1e-6).
    """
    a, b = dict(_flat(_content(first))), dict(_flat(_content(second)))
    found = []
    agreement = compared(first, there, second, here)
    if agreement.state in ("different", "unknown"):
        found.append(Difference("predictions", None, None, None, f"predictions: {agreement.text}"))
    found += [one for field in dict.fromkeys([*a, *b]) if (one := _differs(field, a.get(field), b.get(field)))]
    return tuple(found)


def _differs(field: str, first: Any, second: Any) -> Difference | None:
    if first == second:
        return None
    apart = abs(first - second) if _is_number(first) and _is_number(second) else None
    if apart is not None and apart <= ROUNDING and field.startswith(_MEASURED):
        return None
    much = "" if apart is None else f", {apart:.3g} apart"
    return Difference(field, first, second, apart, f"{field}: {_said(first)} and {_said(second)}{much}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _said(value: Any) -> str:
    text = "nothing" if value is None else f"{value:.9g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 80 else text[:79] + "…"


def _content(record: Record) -> dict[str, Any]:
    """What a record says of its run, without what is the machine's."""
    told = record.model_dump(mode="json", by_alias=True)
    for name in ("started", "finished", "environment", "digest"):
        del told[name]
    for name in ("seconds", "peak_memory"):
        del told["cost"][name]
    for done in (*told["history"], *filter(None, [told["pretraining"]])):
        del done["seconds"]
    for name in ("algorithm", "rule", "partition"):
        told[name] = placeless(told[name])
    told["plugins"] = {f"{one['kind']} {placeless(one['name'])}": True for one in told["plugins"]}
    told["evaluations"] = {f"{e['view']}.{e['task']}.{e['split']}": e for e in told["evaluations"]}
    told["phases"] = {f"{e['view']}.{e['task']}.{e['split']}.{e['phase']}": e for e in told.get("phases", [])}
    told["beside"] = {f"{e['view']}.{e['task']}.{e['split']}.{e.get('variant')}": e for e in told.get("beside", [])}
    for evaluation in (e for kind in ("evaluations", "phases", "beside") for e in told[kind].values()):
        del evaluation["digest"]  # predictions are compared by what they say
    told["cohorts"] = {one["task"]: one for one in told["cohorts"]}
    told["params"] = {section: _without_places(section, values) for section, values in told["params"].items()}
    return told


def _without_places(section: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters without the folders of files that they name: what lies there names the run by its content."""
    told = dict(values)
    for name in {"stage": ("foundation",), "start": ("from",)}.get(section, ()):
        if isinstance(told.get(name), str):
            told[name] = Path(told[name]).name
    if section == "profile" and isinstance(told.get("encoders"), Mapping):
        told["encoders"] = {
            modality: {**choice, "name": placeless(str(choice.get("name")))} if isinstance(choice, Mapping) else choice
            for modality, choice in told["encoders"].items()
        }
    return told


def _flat(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf by its path; an empty list or mapping is a leaf."""
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    inside = [(f"{place}.{key}" if place else str(key), one) for key, one in items]
    for path, one in inside:
        yield from _flat(one, path)
    if not inside and place:
        yield place, None if isinstance(value, Mapping | list) else value
