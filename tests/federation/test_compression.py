"""Rules that send less: what is sent, what is kept for later, what it costs, and that nothing is biased."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from fedmeki_bench.api import Rule

from .conftest import PUBLISHED_ECG, finish
from .test_rules import DECODER, ECG, LUNG, vector

UNITS = ("encoder.signal", DECODER)


def beside_plain_training(federation):
    """Per client and round: what FedAvg's client would have changed, what is sent, and the client's memory then."""
    seen = []

    def execute(rule, contexts, send, work):
        for ctx in contexts:
            received = send(ctx)
            plain = Rule().client_update(ctx, received)
            update = rule.client_update(ctx, received)
            change = vector(plain.model, DECODER) - vector(received.model, DECODER)
            seen.append((ctx.client, change, update, {n: vector(v, DECODER) for n, v in ctx.memory.items()}))
            yield update

    federation.engine.execute = execute
    return seen


@pytest.mark.parametrize("feedback", [True, False])
def test_top_k_sends_the_largest_and_keeps_the_rest(build, feedback):
    federation = build("topk_s", ECG, share=0.05, rounds=3, feedback=feedback)
    seen, memory = beside_plain_training(federation), dict.fromkeys(range(3), 0.0)
    ends = [vector(federation.server.model, DECODER)]
    for _ in federation.run():
        ends.append(vector(federation.server.model, DECODER))
    for number in range(3):
        total = 0.0
        for client, change, update, kept in seen[3 * number : 3 * number + 3]:
            places, values = (update.extra[f"{what} {DECODER}"] for what in ("places", "values"))
            assert (places.dtype, values.dtype) == (torch.int32, torch.float32)
            v, sent = change + memory[client], np.zeros(len(change))
            sent[places.numpy()] = values.double().numpy()
            assert np.count_nonzero(sent) == round(0.05 * len(v))
            assert np.abs(v[sent != 0]).min() >= np.abs(v[sent == 0]).max()
            if feedback:
                np.testing.assert_allclose(sent + kept["m"], v, rtol=1e-5, atol=1e-7)  # nothing is lost
            memory[client] = kept["m"]
            assert bool(kept["m"].any()) == feedback
            total = total + update.share[DECODER] * sent
        np.testing.assert_allclose(ends[number + 1], ends[number] + total, rtol=1e-5, atol=1e-7)


def entries(federation):
    found = federation.server.model.layout.entries.values()
    return [e for e in found if e.trained], [e for e in found if not e.trained]


@pytest.mark.parametrize("tasks", [ECG, ECG + LUNG])
def test_the_bytes_of_top_k_and_qsgd_are_those_that_are_sent(build, tasks):
    for name in ("topk", "qsgd"):
        federation = build(f"{name}_m", tasks, rounds=1, **PUBLISHED_ECG)
        done = federation.round(0)
        trained, statistics = entries(federation)
        units = {e.unit: sum(o.size for o in trained if o.unit == e.unit) for e in trained}
        kept = 4 * sum(e.size for e in statistics)
        want = {"topk": 8 * sum(round(0.2 * n) for n in units.values()), "qsgd": sum(units.values()) + 4 * len(trained)}
        assert done.bytes_up == 3 * (want[name] + kept)
        assert done.bytes_down == 3 * federation.server.model.nbytes > 2 * done.bytes_up


def test_statistics_of_batch_norm_are_the_clients_mean_under_compression(build):
    start, plain = (build("fedavg_m", ECG + LUNG, rounds=n, **PUBLISHED_ECG) for n in (1, 1))
    finish(plain)
    for name in ("topk", "qsgd"):
        federation = build(f"{name}_m", ECG + LUNG, rounds=1, **PUBLISHED_ECG)
        finish(federation)
        for statistic in plain.server.model.buffers():
            assert torch.equal(federation.server.model[statistic], plain.server.model[statistic])
            assert not torch.equal(federation.server.model[statistic], start.server.model[statistic])


@pytest.mark.parametrize("levels", [127, 3])
def test_qsgd_rounds_to_a_neighbouring_level(build, levels):
    federation = build("qsgd_s", ECG, levels=levels, rounds=1)
    seen = beside_plain_training(federation)
    before = vector(federation.server.model, DECODER)
    finish(federation)
    total = 0.0
    trained = list(federation.server.model.restrict(UNITS, buffers=False))
    sizes = [federation.server.model[name].numel() for name in trained]
    for _, change, update, _ in seen:
        assert update.extra["codes"].dtype == torch.int8
        codes = [c.double().numpy() for c in update.extra["codes"].split(sizes)]
        norms, own = dict(zip(trained, update.extra["norms"].double().tolist(), strict=True)), []
        for name, code in zip(trained, codes, strict=True):
            if name.startswith(DECODER):
                own.append(code * norms[name] / levels)
                assert np.abs(code).max() == levels  # the largest element is kept as it is
        sent = np.concatenate(own)
        step = max(v for name, v in norms.items() if name.startswith(DECODER)) / levels
        assert np.abs(sent - change).max() < step * (1 + 1e-5)
        total = total + update.share[DECODER] * sent
    np.testing.assert_allclose(vector(federation.server.model, DECODER), before + total, rtol=1e-5, atol=1e-7)


def test_qsgds_rounding_is_unbiased(build, monkeypatch):
    """Over many draws the mean of what is sent is the change; rounding down always is not."""
    federation = build("qsgd_s", ECG, levels=1, rounds=1)
    ctx = federation.context(0, 0)
    received = federation.rule.broadcast(federation.server, 0, ctx.units)
    plain = Rule().client_update(ctx, received)
    change = (plain.model.restrict(ctx.units, buffers=False) - received.model).restrict([DECODER])
    monkeypatch.setattr(Rule, "client_update", lambda self, ctx, received: replace(plain, extra={}))

    def mean(draws):
        total = change.zeros()
        for number in range(draws):
            monkeypatch.setattr(ctx, "generator", lambda *s, n=number: torch.Generator().manual_seed(n))
            update = federation.rule.unpacked(federation.server, federation.rule.client_update(ctx, received))
            total = total + update.change.restrict([DECODER])
        return total * (1 / draws)

    error, once = (float((mean(draws) - change).flat.norm()) for draws in (400, 1))
    assert error < 0.08 * once  # 1 / sqrt(400) = 0.05
    monkeypatch.setattr(torch, "rand", lambda *a, **k: torch.zeros(a[0]))
    assert float((mean(4) - change).flat.norm()) > 0.3 * once
