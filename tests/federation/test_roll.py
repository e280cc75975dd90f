"""What all clients hold is counted once, and again when it changes; clients never drawn cost and hold nothing."""

from __future__ import annotations

import pytest
import torch

from fedmeki_bench.federation import checkpoint, roll

from .conftest import finish, same

ECG, LUNG = ["ecg_abnormal"], ["lung_opacity"]
FEW = {"participation": 0.25, "rounds": 3}


@pytest.fixture
def counted(monkeypatch):
    """How often a client's samples were counted, by units."""
    found = []

    def watched(model, parts):
        found.append(tuple(parts))
        return samples_of(model, parts)

    samples_of = roll.samples_of
    monkeypatch.setattr(roll, "samples_of", watched)
    return found


def test_clients_are_counted_once(build, counted):
    federation = build("fedavg_s", ECG, clients=8, **FEW)
    rounds = federation.run()
    next(rounds)
    assert len(counted) == 8
    next(rounds)
    assert len(counted) == 8
    federation.clients[5].data = {}
    next(rounds)
    assert counted[8:] == [()]
    assert 5 not in federation.server.sizes


def test_tasks_that_are_exchanged_apart_are_counted_apart(build, counted):
    finish(build("fedavg_m", ECG + LUNG, clients=4, exchange="task", rounds=3))
    assert len(counted) == 4 * 3  # both together, and each of the two


def test_what_is_frozen_later_is_seen(build):
    federation = build("fedavg_s", ECG, clients=2)
    unit = "encoder.signal"
    assert unit in federation.call(tuple(ECG)).holders
    assert unit in federation.seat(0, 0).units
    federation.model.freeze([unit])
    assert unit not in federation.call(tuple(ECG)).holders
    assert unit not in federation.seat(0, 0).units


def test_what_a_rule_changes_in_its_copy_is_not_what_was_counted(build):
    federation = build("fedavg_s", ECG, clients=2)
    before = dict(federation.call(tuple(ECG)).weights)
    federation.server.weights["encoder.signal"] = 0
    federation.server.holders["encoder.signal"] = 0
    assert federation.call(tuple(ECG)).weights == before == federation.server.weights


@pytest.mark.parametrize(("algorithm", "keeps"), [("fedavg_s", False), ("scaffold_s", True)])
def test_clients_never_drawn_hold_nothing_and_are_nothing_in_the_checkpoint(algorithm, keeps, build, tmp_path):
    federation = build(algorithm, ECG, clients=12, folder=tmp_path, participation=0.1, rounds=3)
    finish(federation)
    drawn = {client for done in federation.history for client in done.clients}
    assert 0 < len(drawn) < 12
    state = checkpoint.load(tmp_path, federation.model.values.layout)
    assert {number for number, kept in enumerate(state["clients"]) if kept} == (drawn if keeps else set())
    again = build(algorithm, ECG, clients=12, folder=tmp_path, participation=0.1, rounds=3)
    assert again.resume() == 3
    assert all(same(a.state(), b.state()) for a, b in zip(again.clients, federation.clients, strict=True))
    assert torch.equal(again.server.model.flat, federation.server.model.flat)
    assert again.clients[0].memory is not again.clients[1].memory
