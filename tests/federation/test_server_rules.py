"""Rules that change what the server does: their papers' lines in float64, limits, controls."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from fedmeki_bench.errors import InputError, RunFailed
from fedmeki_bench.federation.exchange import one_by_one

from .conftest import PUBLISHED_ECG, ROUNDING, finish
from .test_rules import DECODER, ECG, LUNG, SGD, vector, watch

ENCODER = "encoder.signal"
UNITS = (ENCODER, DECODER)
UNIFORM = {"weighting": "uniform"}


def whole(values):
    """A model of one task as one float64 vector, statistics included."""
    return np.concatenate([vector(values, unit, trained_only=False) for unit in UNITS])


def gathered(federation):
    """Per round, as float64: the model before and after, and all clients' models as rows."""
    seen, aggregate = [], federation.rule.aggregate

    def watched(server, updates):
        updates = list(updates)
        before, rows = whole(server.model), np.stack([whole(update.model) for update in updates])
        shares = np.array([update.share[DECODER] for update in updates])
        aggregate(server, iter(updates))
        seen.append((before, rows, shares, whole(server.model)))

    federation.rule.aggregate = watched
    finish(federation)
    return seen


def spoilt(federation, client, how):
    """The same federation, one of whose clients sends something else: ``how(parameters, statistics)`` changes it."""

    def execute(rule, contexts, send, work):
        for update in one_by_one(rule, contexts, send, work):
            if update.client == client:
                for unit in update.model.units:
                    how(update.model.segment(unit, trained_only=True))
            yield update

    federation.engine.execute = execute
    return federation


# ---- FedAvgM, FedYogi, FedAdagrad


def test_fedavgm_is_momentum_on_the_mean_change(build):
    federation = build("fedavgm_s", ECG, rounds=3, beta=0.7)
    seen = watch(federation)
    finish(federation)
    for beta, right in ((0.7, True), (0.5, False)):
        v, agrees = 0.0, []
        for one in seen:
            v = beta * v + (one.mean - one.before)
            agrees.append(np.allclose(one.after, one.before + v, rtol=1e-5, atol=1e-7))
        assert all(agrees) == right
        assert agrees[0]  # there is no momentum yet


LINES = {
    "fedadagrad": lambda v, square, beta2: v + square,
    "fedadam": lambda v, square, beta2: beta2 * v + (1 - beta2) * square,
    "fedyogi": lambda v, square, beta2: v - (1 - beta2) * square * np.sign(v - square),
}


@pytest.mark.parametrize("name", LINES)
def test_the_family_of_algorithm_2_differs_in_line_14(build, name):
    own = {"server_lr": 0.02, "beta1": 0.6, "tau": 5e-3}
    beta2 = {} if name == "fedadagrad" else {"beta2": 0.9}
    federation = build(f"{name}_s", ECG, rounds=3, **own, **beta2)
    seen = watch(federation)
    finish(federation)
    agreeing = set()
    for line, function in LINES.items():
        m, v, agrees = 0.0, own["tau"] ** 2, []
        for one in seen:
            delta = one.mean - one.before
            m = own["beta1"] * m + (1 - own["beta1"]) * delta
            v = function(v, delta**2, 0.9)
            want = one.before + own["server_lr"] * m / (np.sqrt(v) + own["tau"])
            agrees.append(np.allclose(one.after, want, rtol=1e-5, atol=1e-7))
        if all(agrees):
            agreeing.add(line)
    assert agreeing == {name}


# ---- median and trimmed mean


@pytest.mark.parametrize("clients", [4, 5])
def test_median_and_trimmed_mean_are_taken_weight_by_weight(build, clients):
    for before, rows, _, after in gathered(build("median_s", ECG, clients=clients, **PUBLISHED_ECG)):
        np.testing.assert_allclose(after, np.median(rows, axis=0), rtol=1e-6, atol=1e-7)
        assert not np.allclose(after, rows.mean(axis=0), rtol=1e-4)
        assert not np.allclose(after, before)
    for _, rows, _, after in gathered(build("trimmedmean_s", ECG, clients=clients, trim=0.25)):
        inner = np.sort(rows, axis=0)[1:-1]
        np.testing.assert_allclose(after, inner.mean(axis=0), rtol=1e-5, atol=1e-7)
        assert not np.allclose(after, rows.mean(axis=0), rtol=1e-4)


def test_a_mean_trimmed_to_one_value_is_the_median_and_one_trimmed_by_nothing_the_mean(build):
    assert torch.equal(finish(build("trimmedmean_m", ECG + LUNG, trim=0.4)), finish(build("median_m", ECG + LUNG)))
    plain = finish(build("fedavg_s", ECG, **SGD, **UNIFORM))
    torch.testing.assert_close(finish(build("trimmedmean_s", ECG, trim=0, **SGD)), plain, **ROUNDING)
    cut = finish(build("trimmedmean_s", ECG, trim=0.4, **SGD))
    assert not torch.allclose(cut, plain, rtol=1e-4, atol=1e-6)


# ---- Krum and multi-Krum


def krum_scores(rows, f):
    squares = ((rows[:, None] - rows[None]) ** 2).sum(axis=2)
    np.fill_diagonal(squares, np.inf)
    return np.sort(squares, axis=1)[:, : len(rows) - f - 2].sum(axis=1)


def test_krum_takes_the_model_of_best_score(build):
    for _, rows, _, after in gathered(build("krum_s", ECG, clients=6, rounds=3, byzantine=0.2)):
        scores = krum_scores(rows, f=1)
        assert [np.array_equal(after, row) for row in rows] == [i == scores.argmin() for i in range(6)]


@pytest.mark.parametrize(("chosen", "m"), [(None, 5), (2, 2)])
def test_multi_krum_averages_the_best(build, chosen, m):
    for _, rows, _, after in gathered(build("multikrum_s", ECG, clients=6, chosen=chosen)):
        order = krum_scores(rows, f=1).argsort(kind="stable")
        np.testing.assert_allclose(after, rows[order[:m]].mean(axis=0), rtol=1e-5, atol=1e-7)
        assert not np.allclose(after, rows[order[::-1][:m]].mean(axis=0), rtol=1e-4)


def test_multi_krum_of_one_is_krum_and_of_all_is_the_mean(build):
    assert torch.equal(finish(build("multikrum_m", ECG + LUNG, chosen=1)), finish(build("krum_m", ECG + LUNG)))
    everybody = finish(build("multikrum_s", ECG, chosen=3, **SGD))
    torch.testing.assert_close(everybody, finish(build("fedavg_s", ECG, **SGD, **UNIFORM)), **ROUNDING)


# ---- RFA


def test_rfa_comes_to_the_geometric_median(build):
    def spread(rows, shares, z):
        return (shares * np.linalg.norm(rows - z, axis=1)).sum()

    short, long = (gathered(build("rfa_s", ECG, rounds=1, iterations=n))[0] for n in (1, 200))
    _, rows, shares, after = long
    within = minimize(  # the median lies in the plane of three points
        lambda a: spread(rows, shares, a @ rows + (1 - a.sum()) * rows.mean(axis=0)), np.full(3, 1 / 3),
        method="Nelder-Mead", options={"xatol": 1e-10, "fatol": 1e-12, "maxiter": 4000},
    )  # fmt: skip
    assert spread(rows, shares, after) == pytest.approx(within.fun, rel=1e-6)
    assert spread(rows, shares, shares @ rows) > within.fun * (1 + 1e-5)
    assert spread(rows, shares, short[3]) > within.fun * (1 + 1e-7)


def test_a_pass_of_rfa_is_the_smoothed_weiszfeld_step(build):
    for _, rows, shares, after in gathered(build("rfa_s", ECG, clients=5, iterations=2)):
        z = shares @ rows
        for _ in range(2):
            beta = shares / np.linalg.norm(rows - z, axis=1)
            z = beta @ rows / beta.sum()
        np.testing.assert_allclose(after, z, rtol=1e-5, atol=1e-7)
        assert not np.allclose(after, shares @ rows, rtol=1e-4)


# ---- norm clipping


@pytest.mark.parametrize(("threshold", "cuts"), [(0.05, True), (50.0, False)])
def test_norm_clipping_shortens_what_is_longer(build, threshold, cuts):
    federation = build("normclip_s", ECG, threshold=threshold)
    trained = np.concatenate([
        np.arange(federation.server.model.segment(u).numel())
        < federation.server.model.segment(u, trained_only=True).numel()
        for u in UNITS
    ])  # fmt: skip
    for before, rows, shares, after in gathered(federation):
        change = (rows - before)[:, trained]
        norms = np.linalg.norm(change, axis=1)
        want = before[trained] + (shares / np.maximum(1, norms / threshold)) @ change
        np.testing.assert_allclose(after[trained], want, rtol=1e-4, atol=1e-6)
        assert (norms > threshold).all() == cuts
        assert np.allclose(after[trained], shares @ rows[:, trained], rtol=1e-4, atol=1e-6) != cuts
        np.testing.assert_allclose(after[~trained], (shares @ rows)[~trained], rtol=1e-5, atol=1e-7)  # statistics


# ---- clients that misbehave


ROBUST = {"median": {}, "trimmedmean": {}, "krum": {}, "multikrum": {}, "rfa": {"iterations": 20}}


def far(parameters):
    parameters.mul_(-100.0)


@pytest.mark.parametrize("name", ["fedavg", *ROBUST, "normclip"])
def test_one_of_five_can_not_carry_a_robust_rule_away(build, name):
    options = ROBUST.get(name, {})
    honest = finish(build(f"{name}_s", ECG, clients=5, rounds=1, **options))
    moved = finish(spoilt(build(f"{name}_s", ECG, clients=5, rounds=1, **options), 2, far))
    distance = float((moved - honest).norm())
    if name == "fedavg":
        assert distance > 100
    else:
        assert distance < 2


def nan(parameters):
    parameters.fill_(float("nan"))


@pytest.mark.parametrize("name", ["fedavg", "normclip", *ROBUST])
def test_a_client_that_sends_no_numbers(build, name):
    federation = spoilt(build(f"{name}_s", ECG, clients=5, rounds=1), 2, nan)
    if name in ROBUST:
        assert bool(finish(federation).isfinite().all())
        return
    with pytest.raises(RunFailed, match="no longer finite after round 1"):
        finish(federation)


@pytest.mark.parametrize("name", ROBUST)
def test_nothing_but_broken_clients_is_a_failure(build, name):
    federation = build(f"{name}_s", ECG, clients=1, rounds=1)
    with pytest.raises(RunFailed, match="no longer finite after round 1"):
        finish(spoilt(federation, 0, nan))


# ---- DP-FedAvg


def test_dp_fedavg_is_a_clipped_mean_with_a_fixed_denominator(build):
    pytest.importorskip("dp_accounting")
    federation = build("dpfedavg_s", ECG, clients=4, participation=0.5, bound=0.05, noise_multiplier=1e-6)
    federation.clients[federation.sampled(0)[0]].data = {}  # was drawn, has nothing to say, and is counted
    for (before, rows, _, after), senders in zip(gathered(federation), (1, 2), strict=True):
        change = rows - before
        norms = np.linalg.norm(change, axis=1)
        want = before + (np.minimum(1, 0.05 / norms)[:, None] * change).sum(axis=0) / 2
        np.testing.assert_allclose(after, want, rtol=1e-4, atol=1e-6)
        assert (norms > 0.05).all()
        assert len(rows) <= senders


def test_the_noise_of_dp_fedavg_has_the_width_it_says(build):
    pytest.importorskip("dp_accounting")
    still, noisy = (
        finish(build("dpfedavg_s", ECG, rounds=1, bound=0.5, noise_multiplier=z)) for z in (1e-6, 0.6)
    )  # fmt: skip
    model = build("fedavg_s", ECG).server.model
    noise = torch.cat([(noisy - still)[s.start : s.trained_stop] for s in model.layout.segments.values()]).double()
    assert float(noise.std()) == pytest.approx(0.6 * 0.5 / 3, rel=0.05)
    assert abs(float(noise.mean())) < 5 * 0.1 / len(noise) ** 0.5


def test_exchanging_a_client_moves_the_sum_by_twice_the_clip_at_most(build):
    """What the multiplier z / 2 stands on; without clipping the same exchange moves it further."""
    pytest.importorskip("dp_accounting")
    ends = {}
    for clip in (0.2, 1e6):
        tiny = 1e-6 / clip
        one = build("dpfedavg_s", ECG, rounds=1, bound=clip, noise_multiplier=tiny)
        other = spoilt(build("dpfedavg_s", ECG, rounds=1, bound=clip, noise_multiplier=tiny), 1, far)
        ends[clip] = float((finish(one) - finish(other)).norm()) * 3
    assert 0.2 < ends[0.2] <= 2 * 0.2 * 1.001
    assert ends[1e6] > 10


def test_without_noise_and_clipping_dp_fedavg_is_fedavg(build):
    """Of evenly weighted clients, up to rounding; nothing is protected then, and the epsilon says so."""
    options = {**SGD, "weighting": "uniform"}
    private = build("dpfedavg_m", ECG + LUNG, noise_multiplier=0, bound=1e9, **options)
    plain = build("fedavg_m", ECG + LUNG, **options)
    torch.testing.assert_close(finish(private), finish(plain), **ROUNDING)
    assert private.history[-1].reports["epsilon"] == float("inf")
    clipped = build("dpfedavg_m", ECG + LUNG, noise_multiplier=0, bound=0.01, **options)
    assert not torch.allclose(finish(clipped), plain.server.model.flat, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("tasks", "options", "releases"),
    [
        (ECG, {}, 1),
        (ECG + LUNG, {}, 2),
        (ECG + LUNG, {"exchange": "task"}, 2),
        (ECG, {"participation": 0.5}, 1),
    ],
)
def test_epsilon_is_that_of_dp_accounting(build, tasks, options, releases):
    dp = pytest.importorskip("dp_accounting")
    z, delta = 3.0, 1e-4
    federation = build("dpfedavg_m", tasks, clients=4, noise_multiplier=z, delta=delta, **options)
    finish(federation)
    drawn = 2 if "participation" in options else 4
    relation = dp.NeighboringRelation.REPLACE_ONE
    for number, done in enumerate(federation.history):
        accountant = dp.rdp.RdpAccountant(neighboring_relation=relation)
        for _ in range(number + 1):
            gaussian = dp.GaussianDpEvent(z / 2 / releases**0.5)
            accountant.compose(dp.SampledWithoutReplacementDpEvent(4, drawn, gaussian))
        assert done.reports["epsilon"] == pytest.approx(accountant.get_epsilon(delta), rel=1e-9)
    first, second = (done.reports["epsilon"] for done in federation.history)
    assert 0 < first < second


def test_without_the_accountant_dp_fedavg_says_what_to_install(build, monkeypatch):
    monkeypatch.setitem(sys.modules, "dp_accounting", None)
    with pytest.raises(InputError, match=r"pip install 'fedmeki-bench\[privacy\]'"):
        finish(build("dpfedavg_s", ECG, rounds=1, noise_multiplier=0.123))
