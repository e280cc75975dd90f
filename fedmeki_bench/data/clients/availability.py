"""Which client holds which modality, as a matrix or drawn at a missing rate, and how much of its data is used.

The private samples of a task are shared among the clients that hold all its modalities. No sample is thrown away: a
missing-rate sweep changes how many hospitals contribute a modality, not how much data there is. That is what
``fraction`` and ``labelled`` change: of every client some patients alone, nested, after all were dealt.

A modality that single samples may lack is no condition: a client that does not hold it has its samples without it.
"""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict, Field

from fedmeki_bench.errors import InputError
from fedmeki_bench.options import later
from fedmeki_bench.seeds import generator


class Availability(BaseModel):
    """The modality matrix of a federation; by default every client holds everything."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    missing_rate: float = Field(
        0.0, ge=0, lt=1, description="chance that a client lacks a modality; each modality keeps at least one client"
    )
    holds: dict[str, list[int]] = Field(
        default_factory=dict, description="modality -> numbers of the clients that hold it, e.g. {image: [0, 1]}"
    )
    fraction: float = later(
        1.0, since="0.2.0", gt=0, le=1,
        description="share of each client's patients that there are; smaller shares lie within larger ones",
    )  # fmt: skip
    labelled: float = later(
        1.0, since="0.2.0", gt=0, le=1,
        description="share of these patients whose labels are used; the others serve pre-training alone",
    )  # fmt: skip

    @property
    def whole(self) -> bool:
        """Whether every patient is there, and labelled."""
        return self.fraction == self.labelled == 1

    def holders(self, modalities: Iterable[str], clients: int, seed: int) -> list[int]:
        """Clients that hold all of ``modalities``, in order.

        Raises:
            InputError: the matrix names a client that does not exist, or nobody holds them all.
        """
        wanted = sorted(modalities)
        left = set(range(clients))
        for modality in wanted:
            left &= set(self._of(modality, clients, seed))
        if not left:
            raise InputError(f"no client holds {' and '.join(wanted)}: give one client all modalities of a task")
        return sorted(left)

    def lacking(self, client: int, modalities: Iterable[str], clients: int, seed: int) -> frozenset[str]:
        """Those of ``modalities`` that a client does not hold."""
        return frozenset(modality for modality in modalities if client not in self._of(modality, clients, seed))

    def _of(self, modality: str, clients: int, seed: int) -> list[int]:
        if modality in self.holds:
            named = self.holds[modality]
            for client in named:
                if not 0 <= client < clients:
                    raise InputError(f"holds.{modality} names client {client}; clients are 0 to {clients - 1}")
            return sorted(set(named))
        if not self.missing_rate:
            return list(range(clients))
        rng = generator(seed, "availability", modality, clients)
        keeps = rng.random(clients) >= self.missing_rate
        if not keeps.any():
            keeps[rng.integers(clients)] = True
        return [client for client in range(clients) if keeps[client]]
