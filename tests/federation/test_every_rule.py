"""What holds for every rule: resuming, order, absent clients, read-only payloads, scopes, stages, learning."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fedmeki_bench import registry
from fedmeki_bench.data.cohort import CohortPart, find
from fedmeki_bench.evaluation.metrics import AUROC
from fedmeki_bench.evaluation.view import view as view_of

from .conftest import backwards, finish, interrupted, same

ECG, LUNG = ["ecg_abnormal"], ["lung_opacity"]
LUNG_TASK = registry.load("tasks", "lung_opacity")()
RULES = ["ditto", "fedadam", "fedbn", "feddyn", "fednova", "scaffold"]
SHAPES = {"all": {}, "absent": {"participation": 0.5}, "per task": {"exchange": "task"}}


def uneven(build, rule, folder=None, **options):
    """Four clients over two tasks: one has no data, one has no pictures."""
    federation = build(f"{rule}_m", ECG + LUNG, clients=4, folder=folder, **options)
    federation.clients[1].data = {}
    federation.clients[2].data = {"ecg_abnormal": federation.clients[2].data["ecg_abnormal"]}
    return federation


def alike(one, other):
    return (
        torch.equal(one.server.model.flat, other.server.model.flat)
        and same(one.server.memory, other.server.memory)
        and all(same(a.memory, b.memory) for a, b in zip(one.clients, other.clients, strict=True))
    )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rule", RULES)
def test_resumed_and_in_another_order_to_the_same_bits(build, tmp_path, rule, shape):
    whole, again = interrupted(lambda folder: uneven(build, rule, folder, **SHAPES[shape]), tmp_path)
    assert alike(whole, again)
    turned = uneven(build, rule, **SHAPES[shape])
    turned.execute = backwards
    finish(turned)
    assert alike(whole, turned)
    assert whole.clients[1].memory == {}
    assert [r.bytes_up for r in whole.history] == [r.bytes_up for r in again.history]


@pytest.mark.parametrize("rule", RULES)
def test_what_was_received_is_left_alone(build, rule):
    federation = build(f"{rule}_s", ECG)
    federation.round(0)
    ctx = federation.context(0, 1)
    received = federation.rule.broadcast(federation.server, ctx.client, ctx.units)
    before = [v.flat.clone() for v in (received.model, *received.extra.values())]
    sent = federation.rule.client_update(ctx, received)
    after = [v.flat for v in (received.model, *received.extra.values())]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    mine = {v.flat.untyped_storage().data_ptr() for v in (sent.model, *sent.extra.values())}
    assert federation.model.values.flat.untyped_storage().data_ptr() not in mine


@pytest.mark.parametrize("rule", RULES)
def test_tasks_without_a_shared_modality_train_together_as_alone(build, rule):
    together, alone = build(f"{rule}_m", ECG + LUNG), build(f"{rule}_s", ECG)
    finish(together)
    finish(alone)
    for unit in ("encoder.signal", "decoder.ecg_abnormal"):
        assert torch.equal(together.server.model.segment(unit), alone.server.model.segment(unit))


@pytest.mark.parametrize("rule", RULES)
def test_fine_tuning_comes_after_the_rule(build, rule):
    plain, plus = build(f"{rule}_m", ECG + LUNG), build(f"{rule}_m_plus", ECG + LUNG)
    assert not torch.equal(finish(plain), finish(plus))
    for view in registry.load("rules", rule).views:
        assert np.isfinite(view_of(view).predict(plus, LUNG_TASK, plus.public["lung_opacity"])).all()


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_learns(build, cohorts, rule):
    cohort = find(cohorts, "lung_opacity", dataset="rsna")
    rows = np.concatenate([cohort.part(split).rows for split in ("valid", "public")])  # no stage sees public here
    held_out = CohortPart(cohort, "valid", np.sort(rows))
    federation = build(f"{rule}_s", LUNG, rounds=8, local_epochs=2, lr=2e-3)
    finish(federation)
    for view in registry.load("rules", rule).views:
        predicted = np.atleast_2d(view_of(view).predict(federation, LUNG_TASK, held_out))
        scores = [AUROC(held_out.targets, p) for p in predicted]
        assert np.mean(scores) > 0.6
