"""What models say of public samples, as what travels or what the server learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fedmeki_bench import registry
from fedmeki_bench.api import Rule
from fedmeki_bench.errors import InputError, UsageError
from fedmeki_bench.evaluation.view import view

from .conftest import finish, interrupted, same, under

ECG, LUNG = ["ecg_abnormal"], ["lung_opacity"]
SGD = {"optimizer": "sgd", "lr": 0.05}


def agreement(federation, models, weights):
    """Mean squared distance of the server's probabilities from those of the ensemble, on the public samples."""
    ctx, part = federation.at_server, federation.public["ecg_abnormal"]
    said = sum(w * ctx.logits("ecg_abnormal", part, m) for w, m in zip(weights, models, strict=True))
    return float((ctx.logits("ecg_abnormal", part, federation.server.model).sigmoid() - said.sigmoid()).square().mean())


def test_feddf_moves_the_mean_towards_what_the_clients_say_together(build):
    options = {"rounds": 1, "local_epochs": 8}
    federation = build("feddf_s", ECG, **options, **{"rule.epochs": 30, "rule.lr": 5e-4})
    seen, aggregate = [], federation.rule.aggregate

    def watched(server, updates):
        kept = list(updates)
        seen.extend((u.model.clone(), u.share["decoder.ecg_abnormal"]) for u in kept)
        aggregate(server, iter(kept))

    federation.rule.aggregate = watched
    finish(federation)
    plain = under(build("fedavg_s", ECG, **options), Rule())  # the control: the mean as it is
    finish(plain)
    ensemble = list(zip(*seen, strict=True))
    assert agreement(federation, *ensemble) < 0.3 * agreement(plain, *ensemble)


def test_feddf_needs_no_label_of_a_public_sample(build):
    """With other public labels it ends in the same bits; fine-tuning on them (the stage plus) does not."""
    ends = {}
    for algorithm in ("feddf_s", "fedavg_s_plus"):
        for turned in (False, True):
            federation = build(algorithm, ECG, rounds=1)
            part = federation.public["ecg_abnormal"]
            if turned:
                type_ = type(part)
                other = type("Turned", (type_,), {"targets": property(lambda self: 1 - type_.targets.fget(self))})  # noqa: B023
                part.__class__ = other
            ends[algorithm, turned] = finish(federation)
            part.__class__ = type_ if turned else type(part)
    assert torch.equal(ends["feddf_s", False], ends["feddf_s", True])
    assert not torch.equal(ends["fedavg_s_plus", False], ends["fedavg_s_plus", True])


def test_feddf_without_public_samples_is_fedavg(build):
    federation = build("feddf_s", ECG)
    federation.at_server.public = {}
    assert torch.equal(finish(federation), finish(build("fedavg_s", ECG)))


def test_fedmd_sends_logits_of_public_samples_and_nothing_else(build):
    federation = build("fedmd_m", ECG + LUNG)
    first, second = federation.run()
    logits = sum(4 * len(federation.public[task]) for task in ECG + LUNG)
    assert (first.bytes_down, first.bytes_up) == (0, 3 * logits)
    assert (second.bytes_down, second.bytes_up) == (3 * logits, 3 * logits)
    assert all(len(client.personal["personal"]) == 4 for client in federation.clients)


def test_fedmds_consensus_is_the_weighted_mean_of_what_the_clients_say(build):
    federation = build("fedmd_s", ECG, rounds=1)
    federation.round(0)
    sizes = np.array([len(c.data["ecg_abnormal"]) for c in federation.clients], dtype=float)
    part, want = federation.public["ecg_abnormal"], 0.0
    for client, share in zip(federation.clients, sizes / sizes.sum(), strict=True):
        ctx = federation.context(client.number, 0)
        federation.load_personal(ctx)
        want = want + share * ctx.logits("ecg_abnormal", part)
    torch.testing.assert_close(federation.server.memory["ecg_abnormal"], want, rtol=1e-4, atol=1e-5)


def test_digesting_brings_a_client_to_the_consensus(build):
    """Passes over public samples bring a client near the consensus; with their labels, the control, they do not."""
    rule = registry.load("rules", "fedmd")
    federation = build("fedmd_s", ECG, rounds=1, **SGD)
    federation.round(0)
    part, wanted = federation.public["ecg_abnormal"], federation.server.memory["ecg_abnormal"]
    ctx = federation.context(0, 1)
    received = federation.rule.broadcast(federation.server, 0, ctx.units)

    def gap():
        return float((ctx.logits("ecg_abnormal", part).sigmoid() - wanted.sigmoid()).square().mean())

    federation.load_personal(ctx)
    before = gap()
    digest = registry.load("rules", "fedmd").client_update.__globals__["Digest"]()
    ctx.train(digest, received, data={"ecg_abnormal": part}, epochs=5)
    assert gap() < 0.5 * before
    federation.load_personal(ctx)
    ctx.train(rule(), received, data={"ecg_abnormal": part}, epochs=5)
    assert gap() > 0.5 * before


def test_who_receives_no_model_starts_from_the_initial_one(build):
    """Whatever the work model held before: here, another client's weights."""

    class Silent(Rule):
        def client_update(self, ctx, received):
            ctx.load(received)
            ctx.memory["start"] = ctx.model.values.clone()
            ctx.train(self, received)
            return ctx.update()

        def broadcast(self, server, client, units):
            payload = super().broadcast(server, client, units)
            payload.model = None
            return payload

    federation = under(build("fedavg_s", ECG), Silent())
    start = federation.server.model.clone()
    federation.round(0)
    federation.round(1)
    assert all(torch.equal(client.memory["start"].flat, start.flat) for client in federation.clients)


TWO = {"client_encoders": ["small_signal", "published_signal"]}


@pytest.mark.slow
def test_clients_of_two_architectures_teach_each_other(build, tmp_path):
    """Each keeps an encoder of its own; what they send has one shape, and the run is resumed to the same bits."""
    whole, again = interrupted(lambda folder: build("fedmd_s", ECG, folder=folder, rounds=3, **TWO), tmp_path)
    sizes = [sum(v.flat.numel() for v in client.personal["personal"].values()) for client in whole.clients]
    assert sizes[0] == sizes[2] != sizes[1]
    for one, other in zip(whole.clients, again.clients, strict=True):
        assert same(one.personal, other.personal)
    assert same(whole.server.memory, again.server.memory)
    task, part = registry.load("tasks", "ecg_abnormal")(), whole.public["ecg_abnormal"]
    rows = view("personal").predict(whole, task, part)
    assert rows.shape == (3, len(part))
    assert len(np.unique(rows, axis=0)) == 3
    assert whole.held > build("fedmd_s", ECG).held


def test_a_rule_that_combines_weights_refuses_two_architectures(build):
    with pytest.raises(InputError, match="rule FedAvg combines weights, so all clients need one architecture"):
        build("fedavg_s", ECG, **TWO)
    one = {"client_encoders": ["small_signal"]}
    assert torch.equal(finish(build("fedavg_s", ECG, **one)), finish(build("fedavg_s", ECG)))
    with pytest.raises(UsageError, match="did you mean 'published_signal'"):
        build("fedmd_s", ECG, client_encoders=["publishd_signal"])
    with pytest.raises(InputError, match="client_encoders takes names of installed encoders, not the file"):
        build("fedmd_s", ECG, client_encoders=["./mine.py:Mine"])
