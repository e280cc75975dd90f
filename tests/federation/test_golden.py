"""Equalities that define correctness (design: golden equalities)."""

from __future__ import annotations

import pytest
import torch

from fedmeki_bench.api import Rule, Update
from fedmeki_bench.models.flat import FlatTensors
from fedmeki_bench.models.training import schedule, train

from .conftest import PUBLISHED_ECG, SMALL, finish, same, under

ECG, LUNG = ["ecg_abnormal"], ["lung_opacity"]


def test_fedprox_with_mu_zero_is_fedavg_bit_for_bit(build):
    assert torch.equal(finish(build("fedprox_s", ECG, mu=0)), finish(build("fedavg_s", ECG)))


def test_fedprox_with_mu_differs_from_fedavg(build):
    assert not torch.equal(finish(build("fedprox_s", ECG, mu=0.1)), finish(build("fedavg_s", ECG)))


def test_fedprox_gradient_is_mu_times_the_distance(build):
    federation = build("fedprox_s", ECG, mu=0.5)
    model, rule = federation.model, federation.rule
    ctx = federation.context(0, 0)
    received = rule.broadcast(federation.server, ctx.client, ctx.units)
    with torch.no_grad():
        model.values.flat.add_(torch.randn(model.values.flat.numel(), generator=torch.Generator().manual_seed(0)))
    params = model.parameters_of("ecg_abnormal")
    model.grads.flat.zero_()
    rule.local_loss(torch.zeros(()), None, params, received, None).backward()
    for name, parameter in params.items():
        torch.testing.assert_close(parameter.grad, 0.5 * (parameter.detach() - received[name]))
        assert parameter.grad.abs().sum() > 0


def test_one_client_with_full_participation_is_plain_training(build):
    federation = build("fedavg_s", ECG, clients=1)
    other = build("fedavg_s", ECG, clients=1)
    for number in range(SMALL["rounds"]):
        stream = ("client", 0, "round", number)
        steps = schedule(other.clients[0].data, epochs=1, batch_size=16, seed=0, stream=stream)
        train(other.model, other.clients[0].data, steps, other.settings, seed=0, stream=stream, where="here")
    assert torch.equal(finish(federation), other.model.values.flat)


def test_tasks_without_a_shared_modality_train_together_as_alone(build):
    together = build("fedavg_m", ECG + LUNG)
    finish(together)
    for task, encoder in (("ecg_abnormal", "encoder.signal"), ("lung_opacity", "encoder.image")):
        alone = build("fedavg_s", [task])
        finish(alone)
        for unit in (encoder, f"decoder.{task}"):
            assert torch.equal(together.server.model.segment(unit), alone.server.model.segment(unit)), unit


def test_identical_clients_are_one(build):
    federation = build("fedavg_s", ECG, clients=1)
    ctx = federation.context(0, 0)
    trained = federation.rule.client_update(
        ctx, federation.rule.broadcast(federation.server, ctx.client, ctx.units)
    ).model
    share = dict.fromkeys(trained.units, 0.25)
    mean = federation.server.mean(Update(client, trained.clone(), share=share) for client in range(4))
    torch.testing.assert_close(mean.flat, trained.flat, rtol=1e-6, atol=1e-7)


def test_a_client_with_zero_weight_has_no_influence(build):
    server = build("fedavg_s", ECG).server
    units = server.model.units
    good = Update(0, server.model * 2.0, share=dict.fromkeys(units, 1.0))
    poison = server.model.clone()
    poison.flat.fill_(float("nan"))
    bad = Update(1, poison, share=dict.fromkeys(units, 0.0))
    assert torch.equal(server.mean([bad, good, bad]).flat, (server.model * 2.0).flat)


def test_mean_equals_a_float64_oracle(build):
    server = build("fedavg_m", ECG + LUNG).server
    generator = torch.Generator().manual_seed(1)
    values = [torch.randn(server.model.flat.numel(), generator=generator) for _ in range(5)]
    weights = torch.tensor([3.0, 1.0, 4.0, 1.0, 5.0], dtype=torch.float64)
    shares = (weights / weights.sum()).tolist()
    updates = [
        Update(i, FlatTensors(server.model.layout, v), share=dict.fromkeys(server.model.units, s))
        for i, (v, s) in enumerate(zip(values, shares, strict=True))
    ]
    oracle = sum(v.double() * s for v, s in zip(values, shares, strict=True))
    mean = server.mean(updates)
    for unit in server.model.units:
        s = server.model.layout.segments[unit]
        torch.testing.assert_close(mean.segment(unit).double(), oracle[s.start : s.stop], rtol=1e-6, atol=1e-6)


def test_units_are_weighted_by_the_samples_that_trained_them(build):
    federation = build("fedavg_m", ECG + LUNG)
    federation.clients[0].data = {"ecg_abnormal": federation.clients[0].data["ecg_abnormal"]}
    contexts = [federation.context(c, 0) for c in range(3)]
    shares = federation._shares(contexts)
    assert "encoder.image" not in shares[0]
    for unit in federation.model.values.units:
        assert sum(s.get(unit, 0.0) for s in shares.values()) == pytest.approx(1.0)
    lungs = [len(federation.clients[c].data["lung_opacity"]) for c in (1, 2)]
    assert shares[1]["encoder.image"] == lungs[0] / sum(lungs)


def test_uniform_weights_are_the_published_option(build):
    federation = build("fedavg_s", ECG, weighting="uniform")
    shares = federation._shares([federation.context(c, 0) for c in range(3)])
    assert {s["encoder.signal"] for s in shares.values()} == {1 / 3}


def test_an_empty_client_and_a_client_without_a_modality_change_nothing_else(build):
    federation = build("fedavg_m", ECG + LUNG)
    federation.clients[1].data = {}
    federation.clients[2].data = {"lung_opacity": federation.clients[2].data["lung_opacity"]}
    finish(federation)
    reference = build("fedavg_m", ECG + LUNG)
    reference.clients = [reference.clients[0]]
    for _ in reference.run():
        pass
    got, want = federation.server.model, reference.server.model
    assert torch.equal(got.segment("encoder.signal"), want.segment("encoder.signal"))
    assert not torch.equal(got.segment("encoder.image"), want.segment("encoder.image"))


def test_the_ledger_counts_tensor_bytes(build):
    federation = build("fedavg_m", ECG + LUNG)
    done = federation.round(0)
    tensors = sum(t.numel() * t.element_size() for t in federation.server.model.values())
    assert done.bytes_down == done.bytes_up == 3 * tensors


def test_the_ledger_counts_only_what_a_client_uses(build):
    federation = build("fedavg_m", ECG + LUNG)
    for client in federation.clients:
        client.data = {"ecg_abnormal": client.data["ecg_abnormal"]}
    done = federation.round(0)
    used = [t for n, t in federation.server.model.items() if "signal" in n or "ecg" in n]
    assert done.bytes_down == 3 * sum(t.numel() * 4 for t in used)


@pytest.mark.parametrize("algorithm", ["fedavg_m", "fedprox_m_plus", "local_m"])
def test_resumed_equals_uninterrupted(build, tmp_path, algorithm):
    whole = build(algorithm, ECG + LUNG, rounds=3, folder=tmp_path / "a")
    finish(whole)
    cut = build(algorithm, ECG + LUNG, rounds=3, folder=tmp_path / "b")
    rounds = cut.run()
    next(rounds)
    rounds.close()
    again = build(algorithm, ECG + LUNG, rounds=3, folder=tmp_path / "b")
    assert again.resume() == 1
    finish(again)
    assert torch.equal(again.server.model.flat, whole.server.model.flat)
    assert [r.loss for r in again.history] == [r.loss for r in whole.history]
    for mine, theirs in zip(again.clients, whole.clients, strict=True):
        assert same(mine.memory, theirs.memory)
        assert same(mine.personal, theirs.personal)


def test_resuming_a_finished_federation_does_nothing(build, tmp_path):
    done = build("fedavg_s", ECG, folder=tmp_path)
    final = finish(done)
    again = build("fedavg_s", ECG, folder=tmp_path)
    assert again.resume() == SMALL["rounds"]
    assert torch.equal(finish(again), final)


def test_every_algorithm_starts_from_the_same_partition_weights_and_batches(build):
    avg, prox = build("fedavg_s", ECG), build("fedprox_s_plus", ECG)
    assert torch.equal(avg.server.model.flat, prox.server.model.flat)
    for mine, theirs in zip(avg.clients, prox.clients, strict=True):
        a, b = mine.data["ecg_abnormal"], theirs.data["ecg_abnormal"]
        assert list(a.sample_ids) == list(b.sample_ids)
        plans = [
            [s.index.tolist() for s in schedule({"ecg_abnormal": p}, epochs=2, batch_size=8, seed=0, stream=("x",))]
            for p in (a, b)
        ]
        assert plans[0] == plans[1]


def test_initial_weights_do_not_depend_on_the_other_tasks(build):
    alone, together = build("fedavg_s", LUNG), build("fedavg_m", ECG + LUNG)
    for unit in ("encoder.image", "decoder.lung_opacity"):
        assert torch.equal(alone.server.model.segment(unit), together.server.model.segment(unit))


def test_batch_norm_statistics_are_averaged_like_parameters(build):
    federation = build("fedavg_s", ECG, **PUBLISHED_ECG)
    before = federation.server.model.buffers()
    federation.round(0)
    after = federation.server.model.buffers()
    assert before
    assert all(not torch.equal(before[n], after[n]) for n in before)


def test_local_buffers_stay_with_their_client_and_are_not_sent(build):
    class Kept(Rule):
        def keeps(self, tensor):
            return not tensor.trained

    kept = under(build("fedavg_s", ECG, **PUBLISHED_ECG), Kept())
    before = kept.server.model.buffers()
    done = kept.round(0)
    trained = sum(e.size for e in kept.server.model.layout.entries.values() if e.trained)
    assert done.bytes_up == done.bytes_down == 3 * 4 * trained
    assert all(torch.equal(before[n], t) for n, t in kept.server.model.buffers().items())
    memories = [client.local for client in kept.clients]
    assert set(memories[0]) == set(before)
    assert not torch.equal(next(iter(memories[0].values())), next(iter(memories[1].values())))


def test_exchange_per_task_is_the_published_option(build):
    federation = build("fedavg_m", ECG + LUNG, exchange="task")
    per_round = build("fedavg_m", ECG + LUNG)
    a, b = federation.round(0), per_round.round(0)
    # no unit is shared by these two tasks, so only the number of messages differs, not a byte or a bit
    assert (a.bytes_up, a.bytes_down) == (b.bytes_up, b.bytes_down)
    assert torch.equal(federation.server.model.flat, per_round.server.model.flat)


def test_participation_samples_clients_by_round_and_seed(build):
    federation = build("fedavg_s", ECG, clients=5, participation=0.4)
    chosen = [federation.sampled(r) for r in range(8)]
    assert all(len(c) == 2 for c in chosen)
    assert len({tuple(c) for c in chosen}) > 1
    assert chosen == [build("fedprox_s", ECG, clients=5, participation=0.4).sampled(r) for r in range(8)]
