"""What the server knows of a client in an exchange: how many samples of which tasks, and which units they train."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from fedmeki_bench.models.client_model import ClientModel


class Samples(Protocol):
    """A client's samples of one task as far as the server sees them: a part of a cohort, or what is told of one."""

    def __len__(self) -> int: ...

    @property
    def lacking(self) -> frozenset[str]:
        """The modalities of which no sample has an array."""

    def holding(self, modality: str) -> int:
        """How many samples have an array of the modality."""


@dataclass(frozen=True, slots=True)
class Seat:
    """A client's place in one exchange. It holds neither data nor a model, so it can be sent to where the client is.

    Attributes:
        client: the client's number.
        round: the 0-based round whose model it trains, which names its random streams.
        step: (round, number of the exchange in it): exchanges are counted, so that one asked twice is done once.
        tasks: the tasks of this exchange.
        sizes: those of them that it has samples of -> how many.
        units: the units of exchange that these tasks use, in the model's order.
        samples: unit -> how many of its samples train it.
    """

    client: int
    round: int
    step: tuple[int, int]
    tasks: tuple[str, ...]
    sizes: Mapping[str, int]
    units: tuple[str, ...]
    samples: Mapping[str, int]


def units_of(model: ClientModel, parts: Mapping[str, Samples]) -> tuple[str, ...]:
    """The units of exchange that these samples use, in the model's order."""
    used = {unit for task, part in parts.items() for unit in model.units(task, part.lacking)}
    return tuple(unit for unit in model.values.units if unit in used)


def samples_of(model: ClientModel, parts: Mapping[str, Samples]) -> dict[str, int]:
    """Unit -> how many of these samples train it: an encoder, those that have its modality."""
    counts = dict.fromkeys(units_of(model, parts), 0)
    for task, part in parts.items():
        for unit in model.units(task, part.lacking):
            kind, _, modality = unit.partition(".")
            counts[unit] += part.holding(modality) if kind == "encoder" else len(part)
    return counts
