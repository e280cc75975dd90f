"""What holds for every rule beyond its contract, which the conformance suite checks (tests/conformance): the same bits
where it is resumed or turned round while clients are absent and models travel after every task; scopes; stages."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fedmeki_bench import registry
from fedmeki_bench.evaluation.view import view as view_of

from .conftest import backwards, finish, interrupted, same

ECG, LUNG = ["ecg_abnormal"], ["lung_opacity"]
LUNG_TASK = registry.load("tasks", "lung_opacity")()
QUICK = ["ditto", "fedadam", "fedbn", "feddyn", "fednova", "scaffold", "fedbuff"]
APART = ["fedavg", "fedprox", "local", "majority", "public"]  # tested elsewhere, or nothing but a bound
RULES = [
    pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow])
    for name in registry.names("rules")
    if name not in APART and not registry.load("rules", name).needs_stage  # these: test_tuned.py
]


def uneven(build, rule, folder=None):
    """Half of four clients each round, exchanging after every task; one has no data, one has no pictures."""
    options = {"participation": 0.5, "exchange": "round" if registry.load("rules", rule)().buffer else "task"}
    federation = build(f"{rule}_m", ECG + LUNG, clients=4, folder=folder, **options)
    federation.clients[1].data = {}
    federation.clients[2].data = {"ecg_abnormal": federation.clients[2].data["ecg_abnormal"]}
    return federation


def alike(one, other):
    return (
        torch.equal(one.server.model.flat, other.server.model.flat)
        and same(one.server.memory, other.server.memory)
        and all(same(a.memory, b.memory) for a, b in zip(one.clients, other.clients, strict=True))
        and all(same(a.personal, b.personal) for a, b in zip(one.clients, other.clients, strict=True))
    )


@pytest.mark.parametrize("rule", RULES)
def test_resumed_and_in_another_order_to_the_same_bits(build, tmp_path, rule):
    whole, again = interrupted(lambda folder: uneven(build, rule, folder), tmp_path)
    assert alike(whole, again)
    turned = uneven(build, rule)
    turned.engine.execute = backwards
    finish(turned)
    assert alike(whole, turned)
    assert whole.clients[1].memory == whole.clients[1].personal == {}
    assert [r.bytes_up for r in whole.history] == [r.bytes_up for r in again.history]


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
