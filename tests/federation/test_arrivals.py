"""Asynchronous rounds: who comes back when, from which model, and to the same bits after a kill."""

from __future__ import annotations

import pytest
import torch

from fedmeki_bench.api import Rule
from fedmeki_bench.errors import InputError
from fedmeki_bench.federation.arrivals import Arrivals
from fedmeki_bench.federation.payload import Payload

from .conftest import ROUNDING, backwards, finish, interrupted, same, under

ECG = ["ecg_abnormal"]
SGD = {"optimizer": "sgd", "lr": 0.05}


def clock(samples, at_once=3, delay="samples", seed=0):
    return Arrivals(samples, at_once, delay, seed)


def payloads(clients):
    return dict.fromkeys(clients, Payload())


def test_the_first_to_come_back_fill_the_buffer_and_the_others_stay_under_way():
    arrivals = clock({0: 5, 1: 1, 2: 3})
    back = arrivals.next(2, 0, payloads)
    assert [(t.client, t.sent, t.arrives) for t in back] == [(1, 0, 1.0), (2, 0, 3.0)]
    assert arrivals.clock == 3.0
    assert [(t.client, t.sent) for t in arrivals.trips] == [(0, 0)]
    # clients 1 and 2 set out again at 3.0, with the model of round 1; client 0 is still on that of round 0
    back = arrivals.next(2, 1, payloads)
    assert [(t.client, t.sent, t.arrives) for t in back] == [(0, 0, 5.0), (1, 1, 4.0)]


def test_whoever_comes_back_is_replaced_by_somebody_else_at_once():
    arrivals = clock(dict.fromkeys(range(6), 1), at_once=2)
    started = []

    def send(clients):
        started.append(list(clients))
        return payloads(clients)

    arrivals.next(3, 0, send)
    assert [len(s) for s in started] == [2, 1, 1]
    assert len({c for s in started for c in s}) == 4


def test_delays_are_the_seeds_and_those_without_samples_never_start():
    one, same_one, other = (clock({0: 1, 1: 0, 2: 9}, delay="halfnormal", seed=s) for s in (0, 0, 1))
    first = [t.arrives for t in one.next(1, 0, payloads)]
    assert first == [t.arrives for t in same_one.next(1, 0, payloads)]
    assert first != [t.arrives for t in other.next(1, 0, payloads)]
    assert {t.client for t in [*one.trips]} <= {0, 2}


def test_a_buffer_that_waits_for_everybody_is_fedavg(build):
    """Nobody is stale then; with server_lr 1 the mean change is the mean model, up to rounding."""
    options = {**SGD, "clients": 3}
    buffered = build("fedbuff_s", ECG, buffer=3, **options)
    torch.testing.assert_close(finish(buffered), finish(build("fedavg_s", ECG, **options)), **ROUNDING)
    assert [r.reports["staleness"] for r in buffered.history] == [0.0, 0.0]
    early = build("fedbuff_s", ECG, buffer=2, **options)
    assert not torch.allclose(finish(early), buffered.server.model.flat, rtol=1e-3, atol=1e-4)


def test_a_late_change_is_measured_from_what_the_client_was_sent_and_scaled_down(build):
    federation = build("fedbuff_s", ECG, buffer=1, rounds=3, delay="samples", **SGD)
    models, seen, aggregate = [federation.server.model.clone()], [], federation.rule.aggregate

    def watched(server, updates):
        def passing():
            for update in updates:
                seen.append((update.client, update.staleness, update.model.clone()))
                yield update

        aggregate(server, passing())
        models.append(server.model.clone())

    federation.rule.aggregate = watched
    finish(federation)
    assert max(staleness for _, staleness, _ in seen) > 0
    for number, (_, staleness, model) in enumerate(seen):
        for unit in model.units:
            start, before, after = (m.segment(unit, trained_only=True) for m in (
                models[number - staleness], models[number], models[number + 1]))  # fmt: skip
            change = (model.segment(unit, trained_only=True) - start) / (1 + staleness) ** 0.5
            torch.testing.assert_close(after, before + change, rtol=1e-4, atol=1e-6)


def test_killed_in_the_middle_it_goes_on_with_those_under_way(build, tmp_path):
    def made(folder=None):
        return build(
            "fedbuff_m", [*ECG, "lung_opacity"], clients=4, participation=0.75, buffer=1, rounds=4, folder=folder
        )

    whole, again = interrupted(made, tmp_path)
    assert torch.equal(whole.server.model.flat, again.server.model.flat)
    assert same([r.reports for r in whole.history], [r.reports for r in again.history])
    assert [r.bytes_down for r in whole.history] == [r.bytes_down for r in again.history]
    turned = made()
    turned.engine.execute = backwards
    assert torch.equal(finish(turned), whole.server.model.flat)


def test_bytes_are_counted_when_they_are_sent(build):
    federation = build("fedbuff_s", ECG, clients=4, buffer=1, rounds=2)
    finish(federation)
    model = federation.server.model.nbytes
    assert [r.bytes_down for r in federation.history] == [4 * model, model]
    assert [r.bytes_up for r in federation.history] == [model, model]


def test_an_exchange_after_every_task_is_not_asynchronous(build):
    with pytest.raises(InputError, match="rule FedBuff is asynchronous, which exchange=task can't be"):
        build("fedbuff_m", ECG, exchange="task")


def test_any_rule_may_wait_for_fewer(build):
    class Early(Rule):
        buffer = 2

    federation = under(build("fedavg_s", ECG, clients=3), Early())
    finish(federation)
    assert [len(r.clients) for r in federation.history] == [2, 2]
