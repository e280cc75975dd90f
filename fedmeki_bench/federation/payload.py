"""What crosses between server and clients: tensors of any type and numbers, every byte of it counted.

Nothing else crosses. A payload is read-only for whoever receives it; the loop checks that it was not changed.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from fedmeki_bench.models.flat import FlatTensors

_NUMBER_BYTES = 8  # a number travels as one float64
_STRIPE = 1 << 14  # bytes


@dataclass
class Payload(Mapping[str, "Tensor"]):
    """Server to client. Reading a name gives the received model's tensor of that name.

    Attributes:
        model: the units of the global model that the client uses; None if the rule sends no model.
        extra: further tensors by name: flat ones laid out like the model (a control variate, an anchor), or plain ones
            of any shape and type (prototypes, indices, 8-bit codes); on the wire each element has its type's size.
        numbers: scalars by name.
    """

    model: FlatTensors | None = None
    extra: dict[str, FlatTensors | Tensor] = field(default_factory=dict)
    numbers: dict[str, float] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Tensor:
        if self.model is None:
            raise KeyError(name)
        return self.model[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.model or ())

    def __len__(self) -> int:
        return len(self.model or ())

    @property
    def nbytes(self) -> int:
        """Bytes on the wire: the tensors' own bytes and 8 per number."""
        return _nbytes(self.model, self.extra, self.numbers)

    def fingerprint(self) -> tuple[object, ...]:
        """A checksum of every vector and the numbers: they change with the values, whoever wrote them and however.

        Version counters would not do: batch norm moves its statistics without raising one.
        """
        vectors: dict[str, FlatTensors | Tensor] = {"": self.model} if self.model is not None else {}
        vectors |= {f"extra {name}": vector for name, vector in self.extra.items()}
        return (*((name, _checksum(v)) for name, v in vectors.items()), *sorted(self.numbers.items()))


@dataclass
class Update:
    """Client to server: the trained units and whatever the rule adds.

    Attributes:
        client: the client's number.
        model: trained values of the units the client used; None if the rule sends none.
        samples: unit -> how many of the client's samples trained it (every task that uses it counts).
        share: unit -> this client's weight in the mean, normalised over the clients of the round that trained the
            unit; set by the loop before the rule sees the update.
        total_share: unit -> its weight relative to all clients that hold data for the unit, in this round or not; set
            by the loop. Sums over a round's clients to 1 at full participation.
        change: the client's parameters less the global ones, or less those it was sent some rounds ago; set by
            ``Server.changes`` or the loop, never sent.
        staleness: how many steps the server has made since it sent the client its model; 0 but for asynchronous rules.
        reports: numbers for the run's history; no part of what is sent.
        loss: mean training loss over the client's steps.
        steps: optimiser steps taken.
    """

    client: int
    model: FlatTensors | None = None
    samples: dict[str, int] = field(default_factory=dict)
    share: dict[str, float] = field(default_factory=dict)
    total_share: dict[str, float] = field(default_factory=dict)
    change: FlatTensors | None = None
    staleness: int = 0
    reports: dict[str, float] = field(default_factory=dict)
    extra: dict[str, FlatTensors | Tensor] = field(default_factory=dict)
    numbers: dict[str, float] = field(default_factory=dict)
    loss: float = float("nan")
    steps: int = 0

    @property
    def nbytes(self) -> int:
        """Bytes on the wire: the tensors' own bytes and 8 per number."""
        return _nbytes(self.model, self.extra, self.numbers)


def _nbytes(model: FlatTensors | None, extra: Mapping[str, FlatTensors | Tensor], numbers: Mapping[str, float]) -> int:
    tensors = sum(v.nbytes for v in extra.values()) + (model.nbytes if model is not None else 0)
    return tensors + _NUMBER_BYTES * len(numbers)


def _checksum(value: FlatTensors | Tensor) -> int:
    import numpy as np
    import torch  # here, so that a list of rules loads no torch

    tensor = value if isinstance(value, torch.Tensor) else value.flat
    data = tensor.detach().cpu().contiguous().view(-1).view(torch.uint8)
    content = data.numpy()
    # sums of what lies a stripe apart, at the speed of memory; a checksum of every byte would take eight times as long
    whole = len(content) // _STRIPE * _STRIPE
    sums = content[:whole].view(np.int64).reshape(-1, _STRIPE // 8).sum(0, dtype=np.int64)
    return zlib.crc32(content[whole:].data, zlib.crc32(sums.data))
