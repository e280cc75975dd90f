"""Building small federations out of the shared synthetic cohorts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fedmeki_bench import registry
from fedmeki_bench.algorithms import resolve
from fedmeki_bench.federation.loop import Federation
from fedmeki_bench.runs.assemble import assemble, dealt
from fedmeki_bench.runs.execute import open_cohorts
from fedmeki_bench.runs.spec import specify

SMALL = {"rounds": 2, "local_epochs": 1, "batch_size": 16}
PUBLISHED_ECG = {"encoders": {"signal": {"name": "published_signal", "params": {"width": 32}}}}


@pytest.fixture
def build(cohorts: Path) -> Callable[..., Federation]:
    """``build("fedavg_m", ["ecg_abnormal"], clients=3, mu=0)`` -> a federation that has not run yet."""
    torch.set_num_threads(1)

    def make(
        algorithm: str, tasks: list[str], *, clients: int = 3, seed: int = 0, folder: Path | None = None, **options: Any
    ) -> Federation:
        (spec,) = specify(resolve(algorithm), tasks, clients=clients, seed=seed, options=SMALL | options)
        named = {name: registry.load("tasks", name)() for name in spec.tasks}
        opened = open_cohorts(spec, cohorts)
        return assemble(spec, opened, named, dealt(spec, opened), folder=folder)

    return make


def finish(federation: Federation) -> torch.Tensor:
    """Run all rounds; the final global vector."""
    for _ in federation.run():
        pass
    return federation.server.model.flat.clone()
