"""From stored modalities to what a model takes: each encoder says it of its own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from fedmeki_bench import registry
from fedmeki_bench.errors import InputError
from fedmeki_bench.models.encoder import Encoder, Input, Stored

if TYPE_CHECKING:
    from fedmeki_bench.data.cohort import Cohort
    from fedmeki_bench.profiles import Profile


def inputs_of(cohorts: Iterable[Cohort], settings: Profile) -> dict[str, Input]:
    """Modality -> how the profile's encoder takes it, from all cohorts of a run.

    Raises:
        InputError: a cohort does not fit the profile, or two cohorts store a modality in different ways.
    """
    inputs: dict[str, Input] = {}
    for cohort in cohorts:
        for modality, array in cohort.arrays.items():
            statistics = cohort.card.get("statistics", {}).get(modality, {})
            stored = Stored(cohort.name, tuple(array.shape), array.scale, statistics, cohort.card["options"])
            wanted = encoder_of(modality, settings).taken(stored, settings)
            if inputs.setdefault(modality, wanted) != wanted:
                raise InputError(
                    f"cohort {cohort.name!r} stores {modality} as {_told(wanted)}, another cohort of this run as "
                    f"{_told(inputs[modality])}; prepare both with the same options"
                )
    return inputs


def encoder_of(modality: str, settings: Profile) -> type[Encoder]:
    """The class of the profile's encoder for a modality.

    Raises:
        InputError: the profile names none.
    """
    if modality not in settings.encoders:
        raise InputError(f"the profile names no encoder for the modality {modality!r}")
    found: type[Encoder] = registry.load("encoders", settings.encoders[modality].name)
    return found


def _told(taken: Input) -> str:
    facts = {name: value for name, value in taken.facts.items() if isinstance(value, str | int | float | bool)}
    others = "".join(f", {name} {value}" for name, value in sorted(facts.items()))
    return f"{' x '.join(map(str, taken.shape))} at scale {taken.scale:g}{others}"
