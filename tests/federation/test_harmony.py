"""Harmony on samples of several modalities: its two stages, its groups, and what it is without such samples."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch

from fedmeki_bench.conformance import worlds
from fedmeki_bench.registry import load

from .conftest import finish, handed, personal, sent, vector

ECG, LUNG = ["ecg_abnormal"], ["lung_opacity"]
HEAD, IMAGE, SIGNAL = f"decoder.{worlds.PAIRED}", "encoder.image", "encoder.signal"


def paired(clients=4, **params):
    """Clients with up to two pictures and perhaps a signal per sample; the last has no picture at all."""
    cls = load("rules", "harmony")
    federation = worlds.build(cls(cls.Params(**params)), (worlds.PAIRED,), clients=clients, rounds=2)
    last = federation.clients[-1]
    last.data = {worlds.PAIRED: last.data[worlds.PAIRED].hiding(["image"])}
    return federation


def test_without_samples_of_several_modalities_the_first_stage_is_fedavg(build):
    harmony, plain = build("harmony_m", ECG + LUNG, first=1), build("fedavg_m", ECG + LUNG)
    assert torch.equal(finish(harmony), finish(plain))
    other, joint = paired(first=1), worlds.build(load("rules", "fedavg")(), (worlds.PAIRED,), clients=4)
    assert not torch.equal(finish(other), finish(joint))


def test_in_the_first_stage_a_step_sees_one_modality_and_in_the_second_all():
    federation = paired()
    seen, step = [], federation.rule.step

    def watched(ctx, params, batch, received):
        there = {m for m in ("image", "signal") if len(batch.inputs[m])}
        seen.append((ctx.round, ctx.client, frozenset(there), {n.split(".")[1] for n in params if "encoder" in n}))
        return step(ctx, params, batch, received)

    federation.rule.step = watched
    finish(federation)
    first = [one for one in seen if one[0] == 0]
    assert {there for _, _, there, _ in first} == {frozenset({"image"}), frozenset({"signal"})}
    assert all(trained == there for _, _, there, trained in first)
    assert {there for round, client, there, _ in seen if round == 1 and client < 3} >= {frozenset({"image", "signal"})}
    assert {there for _, client, there, _ in seen if client == 3} == {frozenset({"signal"})}


def test_in_the_second_stage_encoders_stay_and_heads_are_shared_within_groups():
    federation = paired(groups=2)
    rounds = sent(federation)
    federation.round(0)
    after = federation.server.model.clone()
    federation.round(1)
    updates = rounds[1]
    assert torch.equal(federation.server.model.flat, after.flat)  # the first stage's
    own = [federation.clients[k].personal["personal"] for k in range(4)]
    for client in range(4):
        for unit in (IMAGE, SIGNAL) if client < 3 else (SIGNAL,):
            x, y = (m.segment(unit, trained_only=True).double().numpy() for m in (after, own[client][unit]))
            bias = 1 - x @ y / np.linalg.norm(x) / np.linalg.norm(y)
            assert updates[client].numbers[unit] == pytest.approx(bias, abs=1e-6)
            assert bias > 1e-5
    heads, groups = federation.server.memory["heads"], {}
    for client in range(4):
        groups.setdefault(heads[client][HEAD].flat.numpy().tobytes(), []).append(client)
    assert len(groups) == 2
    for members in groups.values():
        mean = np.mean([vector(updates[k].extra[HEAD], HEAD) for k in members], axis=0)
        np.testing.assert_allclose(vector(heads[members[0]][HEAD], HEAD), mean, rtol=1e-5, atol=1e-7)
    biases = np.array([[updates[k].numbers.get(unit, 0.0) for unit in (IMAGE, SIGNAL)] for k in range(4)])
    biases = biases / biases.max(axis=0)

    def spread(split):
        """How far clients are from the mean of their group."""
        return sum(((biases[list(g)] - biases[list(g)].mean(axis=0)) ** 2).sum() for g in split)

    splits = [(g, set(range(4)) - g) for n in (1, 2) for g in map(set, combinations(range(4), n))]
    assert set(map(frozenset, min(splits, key=spread))) == set(map(frozenset, groups.values()))
    scored = personal(federation, 1)
    assert torch.equal(scored.segment(IMAGE), own[1][IMAGE].segment(IMAGE))
    assert torch.equal(scored.segment(HEAD), heads[1][HEAD].segment(HEAD))
    assert not torch.equal(scored.segment(HEAD), own[1][HEAD].segment(HEAD))


def test_a_client_goes_on_with_its_encoders_and_its_groups_head():
    federation = paired()
    federation.settings = federation.settings.model_copy(update={"rounds": 4})
    federation.at_server.settings = federation.settings
    for number in range(3):
        federation.round(number)
    own, head = federation.clients[0].personal["personal"], federation.server.memory["heads"][0][HEAD]
    ctx, received = handed(federation, 0, 3)
    federation.rule.personal(ctx, received)
    assert torch.equal(federation.model.values.segment(SIGNAL), own[SIGNAL].segment(SIGNAL))
    assert torch.equal(federation.model.values.segment(HEAD), head.segment(HEAD))


@pytest.mark.parametrize(
    ("biases", "k", "want"),
    [
        ([{"a": 0.1, "b": 9.0}, {"a": 0.11, "b": 8.5}, {"a": 0.9, "b": 1.0}], 2, [0, 0, 1]),
        ([{"a": 1.0}, {"b": 1.0}, {"a": 0.9}, {"b": 0.8}], 2, [0, 1, 0, 1]),
        ([{"a": 1.0}, {"a": 1.0}], 3, [0, 0]),
        ([{"a": 0.0}, {"a": 0.0}], 2, [0, 0]),
        ([{"a": 1.0}, {"a": 0.5}, {"a": 0.0}], 3, [0, 2, 1]),
    ],
)
def test_groups_of_clients_with_like_biases(biases, k, want):
    from fedmeki_bench.builtin.baselines.harmony import _groups

    assert _groups(biases, k) == want
