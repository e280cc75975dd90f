"""Rules with personal models, drifts, fairness, prototypes and selection, against independent arithmetic in float64."""

from __future__ import annotations

from statistics import pstdev

import numpy as np
import pytest
import torch

from fedmeki_bench.kinds.kind import LabelSpec

from . import convex
from .conftest import finish, personal, sent
from .convex import EPOCHS, LR, by_hand, close

ECG, LUNG = ["ecg_abnormal"], ["lung_opacity"]
ENCODER, DECODER = "encoder.signal", "decoder.ecg_abnormal"


# ---- pFedMe


@pytest.mark.parametrize(("lam", "said"), [(2.0, True), (1.8, False)])
def test_pfedme_is_algorithm_1(lam, said):
    eta, beta, lr, steps = 0.2, 0.5, 0.1, 2
    federation, parts, start = convex.prepared("pfedme", lam=2.0, eta=eta, beta=beta, lr=lr, steps=steps)
    finish(federation)
    thetas = {}

    def local(received, x, y, client, number):
        w = theta = received
        for _ in range(EPOCHS):
            for _ in range(steps):
                theta = theta - lr * (convex.gradient(theta, x, y) + lam * (theta - w))
            w = w - eta * lam * (w - theta)
        thetas[client] = theta
        return w

    want = by_hand(local, parts, start, combine=lambda before, mean: (1 - beta) * before + beta * mean)
    assert close(convex.weights(federation.server.model), want) == said
    assert close(convex.weights(personal(federation, 1)), thetas[1]) == said


# ---- APFL


@pytest.mark.parametrize("adaptive", [True, False])
@pytest.mark.parametrize(("first", "said"), [(0.3, True), (0.35, False)])
def test_apfl_is_algorithm_1(adaptive, first, said):
    federation, parts, start = convex.prepared("apfl", alpha=0.3, adaptive=adaptive, alpha_lr=2.0)
    finish(federation)
    own, alphas, mixtures = dict.fromkeys(range(5), start), dict.fromkeys(range(5), first), {}

    def local(w, x, y, client, number):
        v, alpha = own[client], alphas[client]
        for _ in range(EPOCHS):
            g = convex.gradient(alpha * v + (1 - alpha) * w, x, y)
            slope = (v - w) @ g
            v, w = v - LR * alpha * g, w - LR * convex.gradient(w, x, y)
            alpha = float(np.clip(alpha - 2.0 * slope, 0, 1)) if adaptive else alpha
        own[client], alphas[client] = v, alpha
        mixtures[client] = alpha * v + (1 - alpha) * w
        return w

    assert close(convex.weights(federation.server.model), by_hand(local, parts, start))  # FedAvg, whatever alpha is
    for client in (
        range(5) if said else (2,)
    ):  # where the largest alphas are cut off at 1, they agree whatever was first
        assert close(convex.weights(personal(federation, client)), mixtures[client]) == said
        assert close(federation.clients[client].memory["alpha"], alphas[client]) == said
    assert (len(set(alphas.values())) > 1) == adaptive


def test_with_alpha_one_apfls_personal_models_train_alone(build):
    apfl, local = build("apfl_s", ECG, alpha=1, adaptive=False), build("local_s", ECG)
    half = build("apfl_s", ECG, alpha=0.5, adaptive=False)
    for federation in (apfl, local, half):
        finish(federation)
    for client in range(3):
        assert torch.equal(personal(apfl, client).flat, personal(local, client).flat)
        assert not torch.equal(personal(half, client).flat, personal(local, client).flat)


# ---- FedALA


@pytest.mark.parametrize(("eta", "said"), [(5.0, True), (4.0, False)])
def test_fedala_is_equations_4_and_5(eta, said):
    federation, parts, start = convex.prepared("fedala", rounds=3, eta=5.0, share=1.0)
    finish(federation)
    models, learnt, passes = {}, {}, {}

    def initial(w, x, y, client):
        """What a client starts from, and its weights W."""
        mine, known = models[client], learnt.get(client)
        W, losses = np.ones_like(w) if known is None else known, []
        while True:
            mixed = mine + (w - mine) * W
            losses.append(convex.loss(mixed, x, y))
            W = np.clip(W - eta * convex.gradient(mixed, x, y) * (w - mine), 0, 1)
            if known is not None or (len(losses) > 10 and pstdev(losses[-10:]) < 0.1):
                return mine + (w - mine) * W, W, len(losses)

    def local(w, x, y, client, number):
        if client in models:
            w, learnt[client], passes[client, number] = initial(w, x, y, client)
        for _ in range(EPOCHS):
            w = w - LR * convex.gradient(w, x, y)
        models[client] = w
        return w

    want = by_hand(local, parts, start, rounds=3)
    assert close(convex.weights(federation.server.model), want) == said
    assert close(convex.weights(personal(federation, 2)), initial(want, *convex.padded(parts[2]), 2)[0]) == said
    assert (passes[2, 1], passes[2, 2]) == (11, 1)
    weights = np.concatenate(list(learnt.values()))
    assert weights.min() == 0.0
    assert 0 < np.median(weights) <= 1


def test_fedala_overwrites_encoders_and_knows_no_mixture_before_a_client_has_trained(build):
    federation = build("fedala_s", ECG, clients=4, participation=0.5, rounds=1)
    finish(federation)
    for client in range(4):
        own, trained = personal(federation, client), client in federation.sampled(0)
        assert torch.equal(own.segment(ENCODER), federation.server.model.segment(ENCODER))
        assert torch.equal(own.segment(DECODER), federation.server.model.segment(DECODER)) != trained


# ---- q-FedAvg


@pytest.mark.parametrize(("q", "said"), [(2.0, True), (1.9, False)])
def test_q_fedavg_is_algorithm_2(q, said):
    federation, parts, w = convex.prepared("qfedavg", q=2.0, lipschitz=1 / LR)
    finish(federation)
    total = sum(map(len, parts))
    for _ in range(2):
        step, h = 0.0, 0.0
        for part in parts:
            (x, y), p = convex.padded(part), len(part) / total
            F, mine = convex.loss(w, x, y), w
            for _ in range(EPOCHS):
                mine = mine - LR * convex.gradient(mine, x, y)
            delta = (w - mine) / LR
            step = step + p * F**q * delta
            h += p * (q * F ** (q - 1) * delta @ delta + F**q / LR)
        w = w - step / h
    assert close(convex.weights(federation.server.model), w) == said


def test_q_fedavgs_losses_and_changes_are_those_of_the_tasks_that_use_a_unit(build):
    federation = build("qfedavg_m", ECG + LUNG)
    rounds = sent(federation)
    federation.round(0)
    numbers = rounds[0][1].numbers
    assert numbers[f"h.{ENCODER}"] == numbers[f"h.{DECODER}"] != numbers["h.encoder.image"]
    assert numbers["h.encoder.image"] == numbers["h.decoder.lung_opacity"]


# ---- FedDC


@pytest.mark.parametrize(("alpha", "said"), [(0.3, True), (0.2, False)])
def test_feddc_is_algorithm_1_while_clients_are_absent(alpha, said):
    federation, parts, w = convex.prepared("feddc", rounds=4, participation=0.4, alpha=0.3)
    finish(federation)
    total, c = sum(map(len, parts)), 0.0
    h, c_i = dict.fromkeys(range(5), 0.0), dict.fromkeys(range(5), 0.0)
    for number in range(4):
        chosen, results, change = federation.sampled(number), [], 0.0
        for client in chosen:
            (x, y), theta, gradients = convex.padded(parts[client]), w, []
            for _ in range(EPOCHS):
                gradients.append(convex.gradient(theta, x, y) + alpha * (h[client] + theta - w))
                theta = theta - LR * (gradients[-1] - c_i[client] + c)
            h[client] = h[client] + theta - w
            change = change + len(parts[client]) / total * (np.mean(gradients, axis=0) - c_i[client])
            c_i[client] = np.mean(gradients, axis=0)
            results.append(theta + h[client])
        sizes = [len(parts[client]) for client in chosen]
        w, c = np.average(results, axis=0, weights=sizes), c + change
    assert close(convex.weights(federation.server.model), w) == said


def test_the_first_round_of_feddc_goes_twice_as_far_as_fedprox(build):
    """Drift and control variates begin at zero: the clients train as FedProx's, and each sends its drift on top."""
    feddc, fedprox = build("feddc_s", ECG, rounds=1, alpha=0.1), build("fedprox_s", ECG, rounds=1, mu=0.1)
    start = feddc.server.model.clone()
    finish(feddc)
    finish(fedprox)
    near, far = (f.server.model.segment(DECODER) - start.segment(DECODER) for f in (fedprox, feddc))
    torch.testing.assert_close(far, 2 * near, rtol=1e-4, atol=1e-6)
    for name in start.buffers():
        assert torch.equal(feddc.server.model[name], fedprox.server.model[name])


# ---- FedProto


@pytest.mark.slow
def test_without_its_term_fedproto_trains_alone(build):
    local, alone, drawn = build("local_s", ECG), build("fedproto_s", ECG, lam=0), build("fedproto_s", ECG)
    for federation in (local, alone, drawn):
        finish(federation)
    for client in range(3):
        assert torch.equal(personal(alone, client).flat, personal(local, client).flat)
        assert not torch.equal(personal(drawn, client).flat, personal(local, client).flat)


def test_fedprotos_prototypes_and_term_are_equations_6_and_7(build):
    federation = build("fedproto_s", ECG, lam=0.7)
    terms, plain = [], federation.rule.local_loss
    done = federation.round(0)
    total, samples = 0.0, 0.0
    for number in range(3):
        ctx = federation.context(number, 0)
        federation.load_personal(ctx)
        features, labels = (t.double().numpy() for t in ctx.features("ecg_abnormal", ctx.data["ecg_abnormal"]))
        total = total + np.stack([features[labels == k].sum(axis=0) for k in (0, 1)])
        samples = samples + np.array([(labels == k).sum() for k in (0, 1)])
    want = total / samples[:, None]
    known = federation.server.memory["prototypes"]["ecg_abnormal"]
    np.testing.assert_allclose(known[:, :-1].numpy(), want, rtol=1e-4, atol=1e-6)
    assert (done.bytes_down, done.bytes_up) == (0, 3 * 4 * (want.size + 2))

    def watched(loss, outputs, params, received, ctx):
        found = plain(loss, outputs, params, received, ctx)
        z, labels = outputs.features.detach().double().numpy(), ctx.batch.labels.long().numpy()
        terms.append(
            (float((found - loss).detach()), *(0.7 * np.mean((z - want[k]) ** 2) for k in (labels, 1 - labels)))
        )
        return found

    federation.rule.local_loss = watched
    federation.round(1)
    got, said, wrong = np.array(terms).T
    np.testing.assert_allclose(got, said, rtol=1e-4)
    assert not np.allclose(got, wrong, rtol=2e-3)


def test_a_class_that_no_client_of_a_round_has_keeps_its_prototype(build):
    federation = build("fedproto_s", ECG)
    federation.round(0)
    before = federation.server.memory["prototypes"]["ecg_abnormal"].clone()
    for client in federation.clients:
        part = client.data["ecg_abnormal"]
        client.data = {"ecg_abnormal": part.take(np.flatnonzero(part.targets == 1))}
    federation.round(1)
    after = federation.server.memory["prototypes"]["ecg_abnormal"]
    assert torch.equal(after[0], before[0])
    assert not torch.equal(after[1, :-1], before[1, :-1])


@pytest.mark.parametrize(
    ("spec", "labels", "want"),
    [
        (LabelSpec("binary"), [0.0, 1.0], [[1, 0], [0, 1]]),
        (LabelSpec("multiclass", ("a", "b", "c")), [2, 0], [[0, 0, 1], [1, 0, 0]]),
        (LabelSpec("ordinal", ("low", "mid", "high")), [1, 2], [[0, 1, 0], [0, 0, 1]]),
        (LabelSpec("multilabel", ("a", "b")), [[1.0, 1.0], [0.0, float("nan")]], [[1, 1], [0, 0]]),
        (LabelSpec("regression"), [0.3, 1.0], [[], []]),
    ],
)
def test_which_prototypes_a_sample_counts_for(spec, labels, want):
    from fedmeki_bench.builtin.baselines.fedproto import _membership

    assert _membership(spec, torch.tensor(labels)).tolist() == want


# ---- power-of-choice


@pytest.mark.parametrize("d", [5, 3])
def test_power_of_choice_takes_the_largest_losses_of_those_it_asks_and_weighs_them_alike(d):
    federation, parts, w = convex.prepared("power_of_choice", participation=0.4, d=d)
    asked, execute = [], federation.engine.execute

    def watched(rule, contexts, send, work):
        asked.append((work, [ctx.client for ctx in contexts]))
        return execute(rule, contexts, send, work)

    federation.engine.execute = watched
    for number in range(2):
        done = federation.round(number)
        (what, some), (_, trained) = asked[-2:]
        assert (what, len(some)) == ("answer", d)
        losses = {k: convex.loss(w, *convex.padded(parts[k])) for k in some}
        assert trained == done.clients == sorted(sorted(some, key=lambda k: -losses[k])[:2])
        size = federation.server.model.nbytes
        assert (done.bytes_down, done.bytes_up) == ((d + 2) * size, 2 * size + d * 2 * 8)
        results = []
        for k in trained:
            (x, y), mine = convex.padded(parts[k]), w
            for _ in range(EPOCHS):
                mine = mine - LR * convex.gradient(mine, x, y)
            results.append(mine)
        w = np.mean(results, axis=0)
        assert close(convex.weights(federation.server.model), w)
        assert not close(w, np.average(results, axis=0, weights=[len(parts[k]) for k in trained]))
        w = convex.weights(federation.server.model)


def test_power_of_choice_asks_clients_by_their_number_of_samples():
    """Of 8, 16, 24, 40 and 72 samples: the first of two drawn is one of them with probability n / 160."""
    federation, parts, _ = convex.prepared("power_of_choice", participation=0.2, d=1)
    federation.server.sizes = {k: len(part) for k, part in enumerate(parts)}
    counts = np.zeros(5)
    for number in range(400):
        federation.server.round = federation.at_server.round = number
        federation.rule.select(
            federation.server, range(5), [0], lambda clients: counts.__setitem__(clients, counts[clients] + 1) or []
        )
    np.testing.assert_allclose(counts / 400, np.array([8, 16, 24, 40, 72]) / 160, atol=0.06)
