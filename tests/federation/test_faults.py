"""Faults and adversaries: each does what it says, to the same clients under every rule, and nothing where it is off."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from fedmeki_bench.algorithms import resolve
from fedmeki_bench.api import FlatTensors
from fedmeki_bench.data.mislabelled import Mislabelled
from fedmeki_bench.errors import InputError, RunFailed
from fedmeki_bench.federation.faults import LASTING, Faults
from fedmeki_bench.federation.faulty import Faulty
from fedmeki_bench.kinds.kind import LabelSpec
from fedmeki_bench.leaderboard.settings import apart_of
from fedmeki_bench.records.store import RecordStore
from fedmeki_bench.runs.command import changed_options
from fedmeki_bench.runs.execute import execute
from fedmeki_bench.runs.spec import specify

from .conftest import PUBLISHED_ECG, backwards, finish, interrupted, same
from .test_rules import DECODER, ECG, LUNG, vector, watch

FAST = {"rounds": 1, "local_epochs": 1}


def first_round(federation):
    """What each client sends in the first round, by client, as the server sees it; and the model they started from."""
    start, seen, aggregate = federation.server.model.clone(), {}, federation.rule.aggregate

    def watched(server, updates):
        def passing():
            for update in updates:
                seen[update.client] = copy.copy(update)  # a rule may put the model where the server looks for it
                yield update

        aggregate(server, passing())

    federation.rule.aggregate = watched
    try:
        done = federation.round(0)
    except RunFailed:
        done = None
    return start, seen, done


def faulty_of(federation, fault):
    (client,) = federation.faulty._lasting[fault]
    return client


# ---- who, and when


def test_the_same_clients_have_the_faults_under_every_rule(build):
    one, other = (build(f"{rule}_s", ECG, clients=5, **{"faults.nan": 0.4}) for rule in ("median", "rfa"))
    told = [[done.faults for done in federation.run()] for federation in (one, other)]
    assert told[0] == told[1]
    assert all(len(round["nan"]) == 2 for round in told[0])
    assert told[0][0] == told[0][1]  # lasting
    elsewhere = build("median_s", ECG, clients=5, seed=1, **{"faults.nan": 0.4})
    assert next(elsewhere.run()).faults != told[0][0]


def test_lasting_faults_meet_in_the_first_clients_of_one_order():
    faults = Faults(nan=0.1, noise=0.3, replace=0.3)
    faulty = Faulty(faults, 10, seed=4)
    by_fault = {f: {c for c in range(10) if f in faulty.of(c, 3)} for f in ("nan", "noise", "replace")}
    assert [len(clients) for clients in by_fault.values()] == [1, 3, 3]
    assert by_fault["nan"] < by_fault["noise"] == by_fault["replace"]
    assert len([c for c in range(3) if Faulty(Faults(nan=0.01), 3, 0).of(c, 0)]) == 1  # one at least


def test_dropout_and_straggling_come_and_go():
    faulty = Faulty(Faults(dropout=0.3, straggle=0.3), 20, seed=0)
    lost = np.array([["dropout" in faulty.of(c, r) for c in range(20)] for r in range(50)])
    slow = np.array([["straggle" in faulty.of(c, r) for c in range(20)] for r in range(50)])
    assert abs(lost.mean() - 0.3) < 0.05
    assert lost.any(axis=0).all()
    assert not lost.all(axis=0).any()
    assert abs(np.corrcoef(lost.ravel(), slow.ravel())[0, 1]) < 0.1


def test_a_part_of_the_clients_that_are_drawn_may_be_well(build):
    federation = build("median_s", ECG, clients=4, participation=0.5, rounds=4, **{"faults.flip_signs": 0.25})
    client = faulty_of(federation, "flip_signs")
    for done in federation.run():
        assert done.faults == ({"flip_signs": [client]} if client in done.clients else {})


# ---- off


def test_faults_at_their_defaults_change_neither_names_nor_bits_nor_records(build, cohorts, tmp_path):
    plain, off = (specify(resolve("fedavg_s"), ECG, options=FAST | o)[0] for o in ({}, {"faults.dropout": 0.0}))
    on = specify(resolve("fedavg_s"), ECG, options=FAST | {"faults.dropout": 0.5})[0]
    assert plain.setting == off.setting != on.setting
    assert torch.equal(finish(build("fedavg_s", ECG)), finish(build("fedavg_s", ECG, **{"faults.nan": 0.0})))
    record = execute(off, cohorts, RecordStore(tmp_path))
    assert "faults" not in record.params
    assert record.history[0].faults == {}


def test_pooled_data_have_no_clients_that_could_fail():
    (spec,) = specify(resolve("central"), ECG, options={"faults.nan": 0.5})
    assert spec.params["faults"] == Faults().model_dump()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"faults.nan": 1.5}, "'nan' of the faults cannot be 1.5"),
        ({"faults.nans": 0.5}, "did you mean 'faults.nan'"),
        ({"nan": 0.5}, "unknown option 'nan'"),
        ({"faults.noise_scale": 2}, "give faults.noise, too"),
    ],
)
def test_options_that_can_not_be_are_refused(options, says):
    with pytest.raises(InputError, match=says):
        specify(resolve("fedavg_s"), ECG, options=options)


# ---- dropout


def test_what_is_lost_is_in_no_mean_and_costs_no_bytes(build):
    federation = build("fedavg_s", ECG, clients=4, rounds=3, **{"faults.dropout": 0.5})
    whole = [vector(u.model, DECODER) for u in first_round(build("fedavg_s", ECG, clients=4))[1].values()]
    seen = watch(federation)
    rounds = list(federation.run())
    for one, done in zip(seen, rounds, strict=True):
        assert 0 < len(done.faults["dropout"]) < 4
        arrived = [update.client for update in one.updates]
        assert arrived == [c for c in range(4) if c not in done.faults["dropout"]]
        assert sum(one.shares) == pytest.approx(1.0)
        assert sum(one.total_shares) < 0.9
        np.testing.assert_allclose(one.after, one.mean, rtol=1e-5, atol=1e-7)
        assert done.bytes_up * 4 == done.bytes_down * len(arrived)
        assert done.clients == [0, 1, 2, 3]
    for update, result in zip(seen[0].updates, seen[0].results, strict=True):
        assert np.array_equal(result, whole[update.client])  # those that arrive are as ever


@pytest.mark.parametrize("rule", ["fedavg", "scaffold", "feddyn", "fedadam", "krum", "fedbuff", "topk", "ditto"])
def test_a_round_in_which_nothing_arrives_leaves_the_model(build, rule):
    federation = build(f"{rule}_m", ECG + LUNG, **{"faults.dropout": 1.0})
    before = federation.server.model.flat.clone()
    rounds = list(federation.run())
    assert torch.equal(federation.server.model.flat, before)
    assert all(done.loss is None and done.bytes_up == 0 < done.bytes_down for done in rounds[:1])


def test_a_client_whose_update_is_lost_has_trained(build):
    lost, well = build("ditto_s", ECG, rounds=1, **{"faults.dropout": 1.0}), build("ditto_s", ECG, rounds=1)
    finish(lost)
    finish(well)
    for one, other in zip(lost.clients, well.clients, strict=True):
        assert same(one.personal, other.personal)
        assert one.personal


# ---- straggle


def test_a_straggler_does_a_part_of_its_steps(build):
    half = {"faults.straggle": 1.0, "faults.straggle_work": 0.5}
    slow = build("fedavg_m", ECG + LUNG, local_epochs=2, **half)
    once, twice = (build("fedavg_m", ECG + LUNG, local_epochs=n) for n in (1, 2))
    assert torch.equal(finish(slow), finish(once))  # half of two epochs is the first
    assert not torch.equal(finish(twice), slow.server.model.flat)
    assert slow.history[0].faults == {"straggle": [0, 1, 2]}


def test_rules_that_count_steps_count_a_stragglers(build):
    federation = build("fednova_m", ECG + LUNG, batch_size=4, **{"faults.straggle": 0.2, "faults.straggle_work": 0.01})
    slow = {client for client in range(3) if "straggle" in federation.faulty.of(client, 0)}
    assert 0 < len(slow) < 3
    for client, update in first_round(federation)[1].items():
        tau = set(update.numbers.values())
        assert (tau == {1.0}) == (client in slow)  # one step of every task, at least


# ---- what is sent


def sent(build, rule="fedavg_s", tasks=ECG, **options):
    """The updates of the first round with and without a fault, and who has it."""
    federation = build(rule, tasks, clients=4, **PUBLISHED_ECG, **options)
    start, with_it, done = first_round(federation)
    _, without, _ = first_round(build(rule, tasks, clients=4, **PUBLISHED_ECG))
    fault = next(iter(options)).partition(".")[2]
    return start, with_it, without, faulty_of(federation, fault), done


@pytest.mark.parametrize(
    ("options", "factor"),
    [
        ({"faults.flip_signs": 0.25, "faults.flip_signs_scale": 2.0}, -2.0),
        ({"faults.replace": 0.25, "faults.replace_boost": 4.0}, 4.0),
        ({"faults.flip_signs": 0.25, "faults.replace": 0.25}, -10.0),
    ],
)
def test_signs_are_flipped_and_changes_boosted(build, options, factor):
    start, with_it, without, client, done = sent(build, **options)
    for number in range(4):
        for unit in ("encoder.signal", DECODER):
            x, y, plain = (vector(m, unit) for m in (start, with_it[number].model, without[number].model))
            if number == client:
                np.testing.assert_allclose(y, x + factor * (plain - x), rtol=1e-4, atol=1e-5)
                assert not np.allclose(y, plain)
            else:
                assert np.array_equal(y, plain)
        for name in without[number].model.buffers():
            assert torch.equal(with_it[number].model[name], without[number].model[name])
    assert set(done.faults) == {name.partition(".")[2] for name in options} & set(LASTING)


def test_replacement_by_the_number_of_clients_replaces_the_mean(build):
    boosted = {"faults.replace": 0.25, "faults.replace_boost": 4.0, "weighting": "uniform"}
    federation = build("fedavg_s", ECG, clients=4, **boosted)
    start, updates, _ = first_round(federation)
    client = faulty_of(federation, "replace")
    own = vector(first_round(build("fedavg_s", ECG, clients=4))[1][client].model, DECODER)
    others = sum(vector(u.model, DECODER) - vector(start, DECODER) for c, u in updates.items() if c != client) / 4
    np.testing.assert_allclose(vector(federation.server.model, DECODER), own + others, rtol=1e-4, atol=1e-6)


def test_noise_is_as_loud_as_it_says(build):
    start, with_it, without, client, _ = sent(build, **{"faults.noise": 0.25, "faults.noise_scale": 3.0})
    name = max((n for n in start if n.startswith(DECODER)), key=lambda n: start[n].numel())
    noise = (with_it[client].model[name] - without[client].model[name]).double()
    change = (without[client].model[name] - start[name]).double()
    assert float(noise.std()) == pytest.approx(3 * float(change.square().mean().sqrt()), rel=0.1)
    others = [c for c in range(4) if c != client]
    assert all(torch.equal(with_it[c].model.flat, without[c].model.flat) for c in others)


def test_nan_ends_fedavg_in_a_failed_row_and_the_median_does_not_care(build, cohorts, tmp_path):
    _, with_it, _, client, done = sent(build, **{"faults.nan": 0.25})
    assert done is None
    assert bool(with_it[client].model.flat.isnan().all())
    options = FAST | {"faults.nan": 0.4}
    store = RecordStore(tmp_path)
    records = {}
    for name in ("fedavg_s", "median_s"):
        (spec,) = specify(resolve(name), ECG, options=options)
        records[name] = execute(spec, cohorts, store)
    assert records["fedavg_s"].status == "failed"
    assert "no longer finite after round 1" in records["fedavg_s"].error.message
    record = records["median_s"]
    assert record.status == "ok"
    assert len(record.history[0].faults["nan"]) == 2
    assert record.params["faults"]["nan"] == 0.4
    # the page's table of settings names it
    assert apart_of(resolve("median_s"), [record], {record.key: changed_options(record)})["faults.nan"] == ["0.4"]


def test_what_is_sent_in_place_of_a_model_is_faulty_too(build):
    for rule, name in (("topk_s", f"values {DECODER}"), ("qsgd_s", "norms")):
        _, with_it, without, client, _ = sent(build, rule, **{"faults.flip_signs": 0.25})
        for number in range(4):
            sign = -1.0 if number == client else 1.0
            assert torch.equal(with_it[number].extra[name], sign * without[number].extra[name])
            statistics = (seen[number].extra["statistics"] for seen in (with_it, without))
            assert torch.equal(*(s.flat for s in statistics))
    _, with_it, without, client, done = sent(build, "topk_s", **{"faults.nan": 0.25})
    assert bool(with_it[client].extra[f"values {DECODER}"].isnan().all())
    assert torch.equal(with_it[client].extra[f"places {DECODER}"], without[client].extra[f"places {DECODER}"])
    assert done is None


def test_what_is_sent_beside_a_model_is_faulty_too(build):
    _, with_it, without, client, _ = sent(build, "scaffold_s", **{"faults.replace": 0.25, "faults.replace_boost": 3.0})
    got, plain = (u[client].extra["delta_c"] for u in (with_it, without))
    assert isinstance(got, FlatTensors)
    torch.testing.assert_close(got.flat, 3 * plain.flat)


# ---- labels


def test_turned_labels_are_what_the_client_trains_on_and_nothing_else(build):
    federation = build("fedavg_s", ECG, clients=4, **{"faults.flip_labels": 0.25})
    plain = build("fedavg_s", ECG, clients=4)
    client = faulty_of(federation, "flip_labels")
    for number in range(4):
        part, true = (f.clients[number].data["ecg_abnormal"] for f in (federation, plain))
        assert np.array_equal(part.targets, 1 - true.targets if number == client else true.targets)
        assert np.array_equal(part.sample_ids, true.sample_ids)
    part = plain.clients[client].data["ecg_abnormal"]
    plain.clients[client].data = {"ecg_abnormal": Mislabelled.of(part, np.ones(len(part), dtype=bool))}
    assert torch.equal(finish(federation), finish(plain))  # by hand
    assert not torch.equal(federation.server.model.flat, finish(build("fedavg_s", ECG, clients=4)))
    assert federation.history[0].faults == {"flip_labels": [client]}


def test_a_share_of_the_labels_may_be_turned(build):
    federation = build("fedavg_s", ECG, **{"faults.flip_labels": 1.0, "faults.flip_labels_rate": 0.3})
    parts = [client.data["ecg_abnormal"] for client in federation.clients]
    assert np.concatenate([part.turned for part in parts]).mean() == pytest.approx(0.3, abs=0.12)
    for part in parts:
        index = np.arange(len(part))[::-2]
        assert np.array_equal(part.take(index).targets, part.targets[index])
        true = part.cohort._table()["label"][part.rows]
        assert np.array_equal(part.labels != true, part.turned)
        assert np.array_equal(part.strata, part.labels)


@pytest.mark.parametrize(
    ("spec", "labels", "want"),
    [
        (LabelSpec("binary"), [0.0, 1.0], [1.0, 0.0]),
        (LabelSpec("multiclass", ("a", "b", "c")), [0, 1, 2], [2, 1, 0]),
        (LabelSpec("ordinal", ("a", "b", "c", "d")), [0, 1, 3], [3, 2, 0]),
        (LabelSpec("multilabel", ("a", "b")), [[0.0, np.nan], [1.0, 0.0]], [[1.0, np.nan], [0.0, 1.0]]),
        (LabelSpec("regression", centre=50.0, spread=9.0), [40.0, 65.0], [60.0, 35.0]),
    ],
)
def test_every_kind_can_be_turned_and_turned_back(spec, labels, want):
    labels = np.asarray(labels)
    assert np.array_equal(spec.how.turned(labels, spec), np.asarray(want), equal_nan=True)
    assert np.array_equal(spec.how.turned(np.asarray(want), spec), labels, equal_nan=True)


def test_texts_can_not_be_turned():
    with pytest.raises(RunFailed, match=r"labels of the kind 'generation' can't be turned: leave faults\.flip_labels"):
        LabelSpec("generation").how.turned(np.zeros(1), LabelSpec("generation"))


# ---- beside everything else

ALL = {"faults.dropout": 0.3, "faults.straggle": 0.5, "faults.noise": 0.25, "faults.flip_labels": 0.25}


@pytest.mark.parametrize("rule", ["scaffold", "krum", "topk"])
def test_faults_are_the_same_when_resumed_and_in_another_order(build, tmp_path, rule):
    def made(folder):
        return build(f"{rule}_m", ECG + LUNG, clients=4, participation=0.5, exchange="task", folder=folder, **ALL)

    whole, again = interrupted(made, tmp_path)
    turned = made(None)
    turned.engine.execute = backwards
    finish(turned)
    for other in (again, turned):
        assert torch.equal(whole.server.model.flat, other.server.model.flat)
        assert [r.faults for r in whole.history] == [r.faults for r in other.history]
    assert any(r.faults for r in whole.history)
