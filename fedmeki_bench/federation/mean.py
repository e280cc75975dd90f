"""The weighted mean of the clients' vectors, taken in one at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fedmeki_bench.models.flat import FlatTensors


class Mean:
    """A running mean of the clients' vectors, unit by unit, each weighted by the client's share.

    One vector is held at a time. Shares are normalised before multiplying. A client with share 0 has no influence,
    whatever its values.

    Attributes:
        value: the mean; units that nobody sent keep their initial value.
        clients: unit -> how many clients have gone into it.
    """

    def __init__(self, start: FlatTensors) -> None:
        self.value = start.clone()
        self.clients: dict[str, int] = {}

    def add(self, vector: FlatTensors | None, share: Mapping[str, float]) -> None:
        """Take in one client's vector, which may lack units and tensors.

        Args:
            vector: e.g. ``update.model``; None, from a client that sends no model, changes nothing.
            share: unit -> the client's weight, e.g. ``update.share``.
        """
        if vector is None:
            return
        started = frozenset(self.clients)
        for unit in vector.units:
            if share.get(unit, 0.0) != 0.0:
                self.clients[unit] = self.clients.get(unit, 0) + 1
        for unit, here, there in self.value.layout.common(vector.layout):
            weight = share.get(unit, 0.0)
            if weight == 0.0:
                continue
            if unit in started:
                self.value.flat[here].add_(vector.flat[there], alpha=weight)
            else:
                self.value.flat[here].copy_(vector.flat[there]).mul_(weight)
