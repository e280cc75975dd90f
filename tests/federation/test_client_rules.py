"""Rules that change what clients do, against a few lines of independent arithmetic in float64; and where they become
other rules bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fedmeki_bench import registry
from fedmeki_bench.api import Rule
from fedmeki_bench.evaluation.views import Personal
from fedmeki_bench.models.training import schedule

from . import convex
from .conftest import finish, handed, personal, sent, under, vector
from .convex import EPOCHS, LR, by_hand, close

ECG, LUNG = ["ecg_abnormal"], ["lung_opacity"]
ECG_TASK = registry.load("tasks", "ecg_abnormal")()
ENCODER, DECODER = "encoder.signal", "decoder.ecg_abnormal"
SGD = {"optimizer": "sgd", "lr": 0.05, "clip": 1e9}


# ---- MOON


def test_the_first_round_of_moon_is_fedavg_bit_for_bit(build):
    """Without a previous model the received one stands in its place, and the term has no gradient."""
    moon, plain = (build(f"{rule}_m", ECG + LUNG) for rule in ("moon", "fedavg"))
    for number in range(2):
        moon.round(number)
        plain.round(number)
        assert torch.equal(moon.server.model.flat, plain.server.model.flat) == (number == 0)


def test_moons_term_is_equation_3(build):
    mu, tau = 0.7, 0.4
    federation = build("moon_s", ECG, mu=mu, temperature=tau)
    before, terms = sent(federation), []
    plain = federation.rule.local_loss

    def watched(loss, outputs, params, received, ctx):
        found = plain(loss, outputs, params, received, ctx)
        if ctx.round == 1:
            z, glob, prev, swapped = (
                features.detach().double().numpy()
                for features in (
                    outputs.features,
                    ctx.forward(federation.server.model, ctx.batch).features,
                    ctx.forward(before[0][ctx.client].model, ctx.batch).features,
                    ctx.forward(before[0][(ctx.client + 1) % 3].model, ctx.batch).features,
                )
            )

            def near(a, b):
                return np.exp((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1) / tau)

            want, wrong = (mu * np.mean(-np.log(near(z, glob) / (near(z, glob) + near(z, p)))) for p in (prev, swapped))
            terms.append((float((found - loss).detach()), want, wrong))
        return found

    federation.rule.local_loss = watched
    finish(federation)
    got, want, wrong = np.array(terms).T
    assert len(terms) >= 3
    np.testing.assert_allclose(got, want, rtol=1e-4)
    assert np.abs(got - wrong).max() > 10 * np.abs(got - want).max()
    assert all(set(c.memory) == set() for c in federation.clients)


# ---- rules that split the model


def test_fedper_averages_encoders_and_leaves_every_client_its_head(build):
    federation = build("fedper_s", ECG)
    rounds, initial = sent(federation), federation.server.model.clone()
    first = federation.round(0)
    heads = [c.local.clone() for c in federation.clients]
    assert torch.equal(federation.server.model.segment(DECODER), initial.segment(DECODER))
    want = sum(u.share[ENCODER] * vector(u.model, ENCODER) for u in rounds[0].values())
    np.testing.assert_allclose(vector(federation.server.model, ENCODER), want, rtol=1e-5, atol=1e-7)
    assert all(u.model.units == (ENCODER,) for u in rounds[0].values())
    assert first.bytes_up == 3 * initial.restrict([ENCODER]).nbytes
    # the second round goes on from its own head and the global encoder: FedAvg's steps from there
    ctx, received = handed(federation, 1, 1)
    assert torch.equal(federation.model.values.segment(DECODER), heads[1].segment(DECODER))
    ctx.train(Rule(), received)
    want = federation.model.values.clone()
    again = build("fedper_s", ECG)
    finish(again)
    assert torch.equal(again.clients[1].local.segment(DECODER), want.segment(DECODER))
    assert not torch.equal(again.clients[0].local.segment(DECODER), want.segment(DECODER))


@pytest.mark.parametrize("name", ["fedper", "lg_fedavg"])
def test_with_one_client_what_stays_and_what_travels_are_fedavg(build, name):
    one, plain = build(f"{name}_s", ECG, clients=1), build("fedavg_s", ECG, clients=1)
    finish(one)
    finish(plain)
    assert torch.equal(personal(one).flat, plain.server.model.flat)
    three, averaged = build(f"{name}_s", ECG), build("fedavg_s", ECG)
    finish(three)
    finish(averaged)
    assert not torch.equal(personal(three).flat, averaged.server.model.flat)


def test_lg_fedavg_averages_heads_and_leaves_every_client_its_encoders(build):
    federation = build("lg_fedavg_s", ECG)
    rounds, initial = sent(federation), federation.server.model.clone()
    federation.round(0)
    want = sum(u.share[DECODER] * vector(u.model, DECODER) for u in rounds[0].values())
    np.testing.assert_allclose(vector(federation.server.model, DECODER), want, rtol=1e-5, atol=1e-7)
    assert torch.equal(federation.server.model.segment(ENCODER), initial.segment(ENCODER))
    own = [c.local.segment(ENCODER) for c in federation.clients]
    assert all(u.model.units == (DECODER,) for u in rounds[0].values())
    assert not torch.equal(own[0], own[1])


def test_fedrep_trains_the_head_under_the_received_body_and_then_the_body_under_it(build):
    options = SGD | {"batch_size": 1000, "head_epochs": 1}
    federation = build("fedrep_s", ECG, **options)
    ctx, received = handed(federation)
    x, labels = ctx.features("ecg_abnormal", ctx.data["ecg_abnormal"])  # as scored: the body stands still
    x = np.hstack([x.double().numpy(), np.ones((len(x), 1))])
    h = vector(federation.model.values, DECODER)
    h = h - SGD["lr"] * convex.gradient(h, x, labels.double().numpy())
    federation.rule.client_update(ctx, received)
    trained = federation.model.values.clone()
    np.testing.assert_allclose(vector(trained, DECODER), h, rtol=1e-4, atol=1e-6)

    def body_under(head):
        """The encoder after FedAvg's step from the received encoder and this head."""
        federation.model.load(received.model)
        federation.model.load(head)
        ctx.train(Rule(), received)
        return federation.model.values.segment(ENCODER).clone()

    assert torch.equal(trained.segment(ENCODER), body_under(trained.restrict([DECODER])))
    assert not torch.equal(trained.segment(ENCODER), body_under(federation.server.model.restrict([DECODER])))


def test_fedbabu_never_trains_heads_and_fine_tunes_personal_models_from_the_global_one(build):
    federation = build("fedbabu_s", ECG, fine_tune_epochs=2)
    initial = federation.server.model.clone()
    finish(federation)
    for values in (federation.server.model, *(c.local for c in federation.clients)):
        assert torch.equal(values.segment(DECODER), initial.segment(DECODER))
    assert not torch.equal(federation.server.model.segment(ENCODER), initial.segment(ENCODER))
    own = personal(federation, 1)
    ctx = federation.context(1, 1)
    federation.model.load(federation.server.model)
    plain = federation.rule.broadcast(federation.server, 1, ctx.units)
    ctx.train(Rule(), plain, epochs=2)  # FedAvg's steps from the global model
    assert torch.equal(own.flat, federation.model.values.flat)
    assert not torch.equal(own.flat, federation.server.model.flat)
    untuned = build("fedbabu_s", ECG, fine_tune_epochs=0)
    finish(untuned)
    assert torch.equal(personal(untuned, 1).flat, untuned.server.model.flat)


def test_fedbabus_personal_models_are_the_same_after_a_run_was_resumed_at_its_end(build, tmp_path):
    whole, again = (build("fedbabu_s", ECG, folder=tmp_path) for _ in range(2))
    finish(whole)
    want = Personal().predict(whole, ECG_TASK, whole.public["ecg_abnormal"])
    assert again.resume() == 2
    assert np.array_equal(Personal().predict(again, ECG_TASK, again.public["ecg_abnormal"]), want)


# ---- FedSAM


@pytest.mark.parametrize(("rho", "said"), [(0.5, True), (0.4, False)])
def test_fedsam_is_algorithm_1(rho, said):
    federation, parts, start = convex.prepared("fedsam", rho=0.5)
    finish(federation)

    def local(w, x, y, client, number):
        for _ in range(EPOCHS):
            g = convex.gradient(w, x, y)
            w = w - LR * convex.gradient(w + rho * g / np.linalg.norm(g), x, y)
        return w

    assert close(convex.weights(federation.server.model), by_hand(local, parts, start)) == said


# ---- Per-FedAvg


@pytest.mark.parametrize(("alpha", "said"), [(0.3, True), (0.2, False)])
def test_per_fedavg_is_the_first_order_algorithm_1(alpha, said):
    federation, parts, start = convex.prepared("perfedavg", alpha=0.3)
    finish(federation)

    def local(w, x, y, client, number):
        steps = schedule({"t": parts[client]}, epochs=EPOCHS, batch_size=1000, seed=0,
                         stream=("client", client, "round", number))  # fmt: skip
        for step in steps:
            first, second = step.index[: len(y) // 2], step.index[len(y) // 2 :]
            adapted = w - alpha * convex.gradient(w, x[first], y[first])
            w = w - LR * convex.gradient(adapted, x[second], y[second])
        return w

    want = by_hand(local, parts, start)
    assert close(convex.weights(federation.server.model), want) == said
    x, y = convex.padded(parts[1])
    assert close(convex.weights(personal(federation, 1)), want - alpha * convex.gradient(want, x, y)) == said


class Halved(Rule):
    """FedAvg on the second half of each batch."""

    def step(self, ctx, params, batch, received):
        ctx.outputs(batch.halves()[0])
        return ctx.loss(params, batch.halves()[1])


def test_per_fedavg_with_a_tiny_alpha_is_fedavg_on_half_batches(build):
    got, want = build("perfedavg_s", ECG, alpha=1e-30, **SGD), under(build("fedavg_s", ECG, **SGD), Halved())
    far = build("perfedavg_s", ECG, alpha=1.0, **SGD)
    assert torch.equal(finish(got), finish(want))
    assert not torch.allclose(finish(far), want.server.model.flat, rtol=1e-3, atol=1e-5)
