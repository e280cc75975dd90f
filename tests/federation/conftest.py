"""Building small federations out of the shared synthetic cohorts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fedmeki_bench.algorithms import resolve
from fedmeki_bench.federation.client import ClientContext
from fedmeki_bench.federation.exchange import one_by_one
from fedmeki_bench.federation.loop import Federation
from fedmeki_bench.federation.payload import Payload, Update
from fedmeki_bench.federation.rule import Rule
from fedmeki_bench.foundation.tiny import tiny_folder
from fedmeki_bench.foundation.tiny_config import TinyConfig
from fedmeki_bench.models.flat import FlatTensors
from fedmeki_bench.runs.assemble import assemble, assignment
from fedmeki_bench.runs.execute import open_cohorts
from fedmeki_bench.runs.resolved import resolve as resolve_plugins
from fedmeki_bench.runs.spec import specify

ROUNDING = {"rtol": 1e-4, "atol": 2e-5}
"""What two orders of the same sums may differ by after a few rounds: a max-pool's winner turns on the last bit."""

SMALL = {"rounds": 2, "local_epochs": 1, "batch_size": 16}
WITHOUT_BATCH_NORM = {"encoders": {"signal": f"{Path(__file__).with_name('plain_encoder.py')}:GroupNormEncoder"}}
PUBLISHED_ECG = {"encoders": {"signal": {"name": "published_signal", "params": {"width": 32}}}}


@pytest.fixture
def build(cohorts: Path) -> Callable[..., Federation]:
    """``build("fedavg_m", ["ecg_abnormal"], clients=3, mu=0)`` -> a federation that has not run yet."""
    torch.set_num_threads(1)

    def make(
        algorithm: str, tasks: list[str], *, clients: int = 3, seed: int = 0, folder: Path | None = None, **options: Any
    ) -> Federation:
        (spec,) = specify(resolve(algorithm), tasks, clients=clients, seed=seed, options=SMALL | options)
        plugins, opened = resolve_plugins(spec), open_cohorts(spec, cohorts)
        return assemble(spec, plugins, opened, assignment(spec, plugins, opened), folder=folder)

    return make


@pytest.fixture(scope="session")
def barely(tmp_path_factory) -> str:
    """A language model that has hardly been trained: enough to be injected into."""
    config = TinyConfig(hidden=32, layers=2, heads=2, intermediate=64, steps=2, batch=4)
    return str(tiny_folder(config, cache=tmp_path_factory.mktemp("cache")))


def finish(federation: Federation) -> torch.Tensor:
    """Run all rounds; the final global vector."""
    for _ in federation.run():
        pass
    return federation.server.model.flat.clone()


def under(federation: Federation, rule: Rule) -> Federation:
    """The same federation, not run yet, under another rule."""
    f = federation
    return Federation(f.model, rule, f.stage, f.clients, f.public, f.settings, seed=f.seed, folder=f.folder)


def interrupted(build: Callable[[Path], Federation], folder: Path) -> tuple[Federation, Federation]:
    """A federation run in one go, and one that was killed after its first round and resumed."""
    whole, cut, again = build(folder / "whole"), build(folder / "cut"), build(folder / "cut")
    finish(whole)
    rounds = cut.run()
    next(rounds)
    rounds.close()
    assert again.resume() == 1
    finish(again)
    return whole, again


def same(a: Any, b: Any) -> bool:
    """Whether two memories hold the same values, bit for bit."""
    if isinstance(a, FlatTensors):
        return list(a) == list(b) and torch.equal(a.flat, b.flat)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


def backwards(rule: Rule, contexts: Any, send: Any, work: Any) -> Iterator[Update]:
    """Clients run in reverse; their updates still come back in client order."""
    return iter(sorted(one_by_one(rule, reversed(list(contexts)), send, work), key=lambda update: update.client))


def vector(values: FlatTensors, unit: str) -> np.ndarray:
    """One unit's values in float64."""
    return values.segment(unit).double().numpy().copy()


def sent(federation: Federation) -> list[dict[int, Update]]:
    """Per round, to be filled by running: client -> what it sends."""
    rounds: list[dict[int, Update]] = []
    aggregate = federation.rule.aggregate

    def watched(server: Any, updates: Any) -> None:
        rounds.append({})

        def passing() -> Iterator[Update]:
            for update in updates:
                rounds[-1][update.client] = update
                yield update

        aggregate(server, passing())

    federation.rule.aggregate = watched  # type: ignore[method-assign]
    return rounds


def handed(federation: Federation, number: int = 0, round: int = 0) -> tuple[ClientContext, Payload]:
    """A client that has loaded what it would receive now."""
    ctx = federation.context(number, round)
    received = federation.rule.broadcast(federation.server, ctx.client, ctx.units)
    ctx.load(received)
    return ctx, received


def personal(federation: Federation, number: int = 0) -> FlatTensors:
    """A client's own model, as it is scored."""
    federation.load_personal(federation.context(number, federation.server.round))
    return federation.model.values.clone()
