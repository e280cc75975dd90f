"""What `benchmarks/peers.py` measures beside the project is FedAvg too: all peers end in one model."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SIZES = (5, 9, 2)


@pytest.fixture
def peers(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))  # where a benchmark finds another
    return importlib.import_module("peers")


@pytest.fixture
def world(peers):
    """A model, clients with one batch each, and the bare loop over them."""
    generator = torch.Generator().manual_seed(0)
    clients = [
        (torch.randn(n, 4, generator=generator), torch.randint(0, 2, (n,), generator=generator).float()) for n in SIZES
    ]
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 1), nn.Flatten(0))
    bare = peers.BareLoop.__new__(peers.BareLoop)
    bare.settings = SimpleNamespace(lr=0.05, weight_decay=0.01, clip=1.0, batch_size=16)
    bare.model, bare.clients, bare.samples = model, clients, sum(SIZES)
    bare.state = {name: value.clone() for name, value in model.state_dict().items()}
    return model, [[*zip(x, y, strict=True)] for x, y in clients], bare


@pytest.mark.parametrize("name", ["PFLlib", "FedMEKI"])
def test_a_re_enacted_procedure_ends_in_the_bare_loops_model(name, peers, world):
    model, pairs, bare = world
    peer, even = (getattr(peers, name)(model, pairs, bare.settings) for _ in range(2))
    start = {key: value.clone() for key, value in bare.state.items()}
    for _ in range(3):
        peer.round()
        bare.round()
    for key, value in peer.model.state_dict().items():
        torch.testing.assert_close(value, bare.state[key], rtol=1e-4, atol=1e-5)
        assert not torch.allclose(value, start[key], atol=1e-2)
    even.clients = [[*one, *one][: max(SIZES)] for one in pairs]  # the control: weighted otherwise
    for _ in range(3):
        even.round()
    assert not torch.allclose(even.model.state_dict()["0.weight"], bare.state["0.weight"], rtol=1e-3, atol=1e-4)


def test_all_take_turns_and_the_first_round_does_not_count(peers):
    done, clock = [], iter(range(1000))
    cost = {"ours": 2, "slow": 6}
    spent = dict.fromkeys(cost, 0.0)

    def worker(name):
        def work():
            next(clock)
            spent[name] += cost[name] * (100 if name not in done else 1)
            done.append(name)

        return work, lambda: spent[name]

    times = peers.taking_turns({name: worker(name) for name in cost}, 3)
    assert done == ["ours", "slow", "slow", "ours", "ours", "slow", "slow", "ours"]
    assert [cpu for cpu, _ in times["ours"]] == [2, 2, 2]
    ours, slow = peers.summary(times)
    assert (ours["cpu_ratio"], slow["cpu_ratio"], slow["cpu_s"]) == (1, 3, 6)


def test_processes_are_counted_with_their_descendants(peers):
    assert peers.descendants(1, {1: 0, 2: 1, 3: 2, 4: 0, 5: 4}) == {1, 2, 3}
    assert peers.descendants(9, {1: 0}) == set()
