"""Which faults a run injects: options of a federation, as partition and availability are, of which no rule knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

from fedmeki_bench.options import later

_SINCE = "0.1.0"
_STRENGTHS = {
    "straggle_work": "straggle", "noise_scale": "noise", "flip_labels_rate": "flip_labels",
    "flip_signs_scale": "flip_signs", "replace_boost": "replace",
}  # fmt: skip
"""Option -> the fault whose strength it is."""

LASTING = ("nan", "noise", "flip_labels", "flip_signs", "replace")
"""Faults of clients that have them in every round; those that come and go are ``dropout`` and ``straggle``."""


def _share(of: str, description: str) -> Any:
    return later(0.0, since=_SINCE, ge=0, le=1, description=f"{of} {description}")


class Faults(BaseModel):
    """Faults and adversaries; by default there are none.

    ``dropout`` and ``straggle`` are drawn for each client and round. The others are shares of the clients, rounded, one
    at least: the same in every round, and for all of these faults the first ones of one order that the seed draws. So
    labels that are turned and an update that is boosted meet in the same client.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    dropout: float = _share("chance", "that a selected client's update never arrives; it has trained all the same")
    straggle: float = _share("chance", "that a selected client does only a part of its local steps")
    straggle_work: float = later(0.5, since=_SINCE, gt=0, lt=1, description="the part of its steps a straggler does")
    nan: float = _share("share of the clients", "that send NaN in every tensor")
    noise: float = _share("share of the clients", "whose change is drowned in Gaussian noise")
    noise_scale: float = later(
        10.0, since=_SINCE, gt=0, description="standard deviation of the noise, in root mean squares of the change"
    )
    flip_labels: float = _share("share of the clients", "that train on turned labels, such as yes for no")
    flip_labels_rate: float = later(1.0, since=_SINCE, gt=0, le=1, description="share of their samples that are turned")
    flip_signs: float = _share("share of the clients", "that send the opposite of their change")
    flip_signs_scale: float = later(1.0, since=_SINCE, gt=0, description="times this")
    replace: float = _share("share of the clients", "that boost their change, so that the mean becomes their model")
    replace_boost: float = later(10.0, since=_SINCE, gt=0, description="by this; the number of clients replaces a mean")

    @model_validator(mode="after")
    def _strength_of_something(self) -> Faults:
        for strength, fault in _STRENGTHS.items():
            if getattr(self, strength) != type(self).model_fields[strength].default and not getattr(self, fault):
                raise ValueError(f"{strength} says how strong a fault is that nobody has; give faults.{fault}, too")
        return self

    @property
    def lasting(self) -> dict[str, float]:
        """Fault -> share of the clients that have it."""
        return {fault: share for fault in LASTING if (share := getattr(self, fault))}


def any_of(values: Mapping[str, Any]) -> bool:
    """Whether these options inject anything."""
    return Faults(**values) != Faults()
