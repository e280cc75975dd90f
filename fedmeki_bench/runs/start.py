"""Where a run starts: from initial weights by its seed, or with units of a kept model, frozen if wanted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, create_model, field_validator

from fedmeki_bench.errors import InputError, nearest
from fedmeki_bench.options import later
from fedmeki_bench.runs.kept_card import MODEL, kept_folder, kept_tensors, read_kept

if TYPE_CHECKING:
    from fedmeki_bench.models.client_model import ClientModel


class _Base(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("units", mode="before", check_fields=False)
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value


Start: type[BaseModel] = create_model(
    "Start",
    __base__=_Base,
    **{  # type: ignore[call-overload]  # `from` is no Python name, and the one that users know
        "from": (str, later("", since="0.1.0", description="a kept model: its folder, or that of the run")),
        "units": (
            tuple[str, ...],
            later((), since="0.1.0", description="units taken from it, e.g. encoder.image; all it shares if none"),
        ),
        "freeze": (bool, later(False, since="0.1.0", description="leave these units as they are: untrained, unsent")),
    },
)
"""The options ``start.from``, ``start.units`` and ``start.freeze``."""


def start_of(given: Mapping[str, Any], units: Iterable[str], scope: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The section ``start`` of one training with its units named, and the kept model's digest for the run's identity.

    Args:
        given: the section as it was asked for.
        units: the units of exchange of this training.
        scope: in ``s`` a training takes those of the named units that it has, in ``m`` it must have them all.

    Raises:
        InputError: no kept model lies there, or a unit is not in it or not in this run.
    """
    if not given["from"]:
        if given["units"] or given["freeze"]:
            raise InputError("start.units and start.freeze need start.from, the folder of a kept model")
        return dict(given), {}
    card = read_kept(kept_folder(given["from"]))
    own = list(units)
    for unit in given["units"]:
        if unit not in card.units:
            raise InputError(
                f"the model kept in {given['from']} has no unit {unit!r}; {nearest(unit, card.units)} "
                f"(it holds {', '.join(card.units)})"
            )
        if unit not in own and scope != "s":
            raise InputError(f"this run has no unit {unit!r} to start with; it trains {', '.join(own)}")
    taken = [unit for unit in own if unit in (given["units"] or card.units)]
    if not taken:
        if scope == "s":
            return {"from": "", "units": [], "freeze": False}, {}
        raise InputError(
            f"the model kept in {given['from']} shares no unit with this run: it holds {', '.join(card.units)}, "
            f"the run trains {', '.join(own)}"
        )
    if given["freeze"] and set(taken) == set(own):
        raise InputError(f"start.freeze leaves nothing to train: name fewer units than {', '.join(taken)}")
    return {"from": given["from"], "units": taken, "freeze": given["freeze"]}, {"start": card.digest}


def start_of_pretrained(given: Mapping[str, Any], units: Iterable[str]) -> dict[str, Any]:
    """The section ``start`` of a training that starts from a pre-training of its own: with all its encoders.

    Args:
        given: the section as it was asked for: units, if not all encoders, and whether they are frozen.
        units: the units of exchange of this training.

    Raises:
        InputError: it names a place to start from, too, or a unit that is no encoder of this run.
    """
    if given["from"]:
        raise InputError("a run that is pre-trained starts from that: leave out start.from, or pretrain")
    encoders = [unit for unit in units if unit.startswith("encoder.")]
    for unit in given["units"]:
        if unit not in encoders:
            raise InputError(f"pre-training leaves no unit {unit!r} to start with; {nearest(unit, encoders)}")
    return {"from": "pretraining", "units": list(given["units"]) or encoders, "freeze": given["freeze"]}


def take(model: ClientModel, start: Mapping[str, Any]) -> None:
    """Put the units that ``start`` names into the model, and freeze them if it says so.

    Raises:
        InputError: a file is damaged, or a unit has another shape.
    """
    from fedmeki_bench.runs.kept import load_units

    if not start.get("from"):
        return
    folder = kept_folder(Path(start["from"]))
    tensors = kept_tensors(folder, read_kept(folder), MODEL)
    load_units(model, tensors, tuple(start["units"]), where=str(folder / MODEL))
    if start["freeze"]:
        model.freeze(start["units"])
