"""What the server asks of clients' own models when it evaluates; the models stay where the clients are."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from fedmeki_bench.models.scoring import scores

if TYPE_CHECKING:
    import numpy as np

    from fedmeki_bench.data.cohort import CohortPart
    from fedmeki_bench.federation.client import ClientContext
    from fedmeki_bench.models.client_model import ClientModel
    from fedmeki_bench.models.flat import FlatTensors


class Question(Protocol):
    """Something to be found out with a client's own model in its work model."""

    def answer(self, ctx: ClientContext) -> Any:
        """The answer of one client."""

    def needs(self, model: ClientModel) -> Collection[str]:
        """The units that a client's own model must hold to answer."""

    def told(self, client: int) -> dict[str, Any]:
        """The question as plain values and arrays, for a client that is elsewhere."""


@dataclass(frozen=True, slots=True)
class Scores:
    """What a client's own model says of held-out samples.

    Attributes:
        task: the samples' task.
        part: a whole split.
        index: client -> the positions in ``part`` that it is asked about; None for all.
    """

    task: str
    part: CohortPart
    index: Mapping[int, np.ndarray] | None = None

    def answer(self, ctx: ClientContext) -> np.ndarray:
        """Scores as the task's kind has them, (n,) or (n, K)."""
        part = self.part if self.index is None else self.part.take(self.index[ctx.client])
        return scores(ctx.model, self.task, part, precision=ctx.settings.precision)

    def needs(self, model: ClientModel) -> Collection[str]:
        """Those that the task uses."""
        return model.units(self.task)

    def told(self, client: int) -> dict[str, Any]:
        """Task, split and positions; whoever has the samples finds them by these."""
        index = None if self.index is None else self.index[client]
        return {"name": "scores", "task": self.task, "split": self.part.split, "index": index}


@dataclass(frozen=True, slots=True)
class Checksums:
    """Which units of a client's own model hold which values."""

    def answer(self, ctx: ClientContext) -> dict[str, int]:
        """Unit -> checksum."""
        return checksums(ctx.model.values)

    def needs(self, model: ClientModel) -> Collection[str]:
        """All."""
        return model.values.units

    def told(self, client: int) -> dict[str, Any]:
        """Nothing but its name."""
        return {"name": "checksums"}


def checksums(values: FlatTensors) -> dict[str, int]:
    """Unit -> a checksum of its parameters, without batch-norm statistics, which move without learning."""
    return {
        unit: zlib.crc32(values.segment(unit, trained_only=True).detach().cpu().contiguous().numpy().data.cast("B"))
        for unit in values.units
    }
