"""Seeds of single streams of a run: what varies when initial weights, order of batches or partition alone do."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from fedmeki_bench.options import later


def _of(description: str) -> Any:
    return later(None, since="0.2", ge=0, description=f"seed of {description}; the run's own by default")


class Streams(BaseModel):
    """Seeds beside the run's own; by default there are none."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    init: int | None = _of("initial weights, of what is injected too")
    batches: int | None = _of("the order of batches and of dropout")
    partition: int | None = _of("who holds which samples and modalities")
