from __future__ import annotations

import math

import numpy as np
import pytest

from fedmeki_bench.evaluation.metrics import AUROC, accuracy, auroc, weighted_mean
from fedmeki_bench.statistics import Paired, sign_flip, swap_test


def data(seeds=2, patients=60, each=2, effect=0.0, seed=0, scale=1.0):
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(patients), each)
    y = np.repeat(rng.integers(0, 2, patients), each)
    hard = np.repeat(rng.normal(size=patients), each)
    out = []
    for _ in range(seeds):
        a, b = (m * y + 0.7 * hard + rng.normal(size=len(y)) for m in (1 + effect, 1.0))
        out.append(Paired(y, groups, a, scale * b))
    return out


def test_of_a_mean_it_is_the_sign_flip_test():
    rng = np.random.default_rng(0)
    for n in (5, 10):
        a, b = rng.normal(0.5, 1, n), rng.normal(size=n)
        found = swap_test(weighted_mean, [Paired(np.zeros(n), np.arange(n), a, b)], seed=0)
        assert found.exact
        assert found.p == pytest.approx(sign_flip(a - b).p)
        assert found.smallest == 2 / 2**n


def test_three_patients_by_hand():
    # Differences 1, 2, 3 with two samples each: only the pattern observed and its mirror reach a mean of 2.
    one = Paired(np.zeros(6), np.repeat([0, 1, 2], 2), np.repeat([1.0, 2.0, 3.0], 2), np.zeros(6))
    assert swap_test(weighted_mean, [one], seed=0).p == 2 / 8


def test_patients_are_swapped_as_a_whole_in_all_seeds():
    one = data(1, patients=6, effect=2)[0]
    for copies in ([one] * 3, [Paired(*(np.tile(x, 2) for x in (one.labels, one.groups, one.a, one.b)))]):
        assert swap_test(auroc, copies, seed=0).p == pytest.approx(swap_test(auroc, [one], seed=0).p)


def test_swapping_equals_a_plain_loop():
    from itertools import product

    one = data(1, patients=6, effect=0.5)[0]
    values = []
    for pattern in product([True, False], repeat=6):
        keep = np.array(pattern)[one.groups]
        a, b = np.where(keep, one.a, one.b), np.where(keep, one.b, one.a)
        values.append(abs(AUROC(one.labels, a) - AUROC(one.labels, b)))
    assert swap_test(auroc, [one], seed=0).p == pytest.approx(np.mean(np.array(values) >= values[0] - 1e-12))


def test_random_swaps_come_close_to_all_of_them():
    one = data(1, patients=12, effect=0.8)[0]
    exact = swap_test(auroc, [one], seed=0)
    # A thirteenth patient on whom both agree cannot be swapped, and one that hardly differs makes the test random.
    more = [Paired(np.append(one.labels, 0), np.append(one.groups, 99), np.append(one.a, -9.0), np.append(one.b, d))
            for d in (-9.0, -9.1)]  # fmt: skip
    assert swap_test(auroc, more[:1], seed=0).exact
    sampled = swap_test(auroc, more[1:], seed=0)
    assert not sampled.exact
    assert sampled.smallest == 1 / 4001
    assert sampled.p == pytest.approx(swap_test(auroc, more[:1], seed=0).p, abs=0.03)
    assert exact.smallest == 2 / 2**12


def test_equal_algorithms_have_p_one():
    same = [Paired(d.labels, d.groups, d.a, d.a) for d in data()]
    found = swap_test(auroc, same, seed=0)
    assert (found.p, found.smallest) == (1, 1)


def test_a_large_effect_is_found():
    assert swap_test(auroc, data(effect=3), seed=0, resamples=999).p == 1 / 1000


def test_ranks_make_a_change_of_scale_harmless():
    plain, stretched = data(effect=0.6), data(effect=0.6, scale=10.0)
    with_ranks = [swap_test(auroc, d, seed=0, ranks=True) for d in (plain, stretched)]
    assert with_ranks[0] == with_ranks[1]
    assert swap_test(auroc, plain, seed=0) != swap_test(auroc, stretched, seed=0)


def test_one_model_is_swapped_with_every_client():
    (one,) = data(1, patients=8, effect=1)
    both = Paired(one.labels, one.groups, np.stack([one.a, one.a]), one.b)
    assert swap_test(auroc, [both], seed=0).p == pytest.approx(swap_test(auroc, [one], seed=0).p)
    with pytest.raises(ValueError, match="2 and 3 clients"):
        swap_test(auroc, [Paired(one.labels, one.groups, np.stack([one.a] * 2), np.stack([one.b] * 3))], seed=0)


def test_an_undefined_metric_has_no_p():
    d = data(1)[0]
    assert math.isnan(swap_test(auroc, [Paired(np.ones(120), d.groups, d.a, d.b)], seed=0, resamples=10).p)


def test_missing_values_of_a_text_metric_are_swapped_too():
    a, b = np.array([1.0, np.nan, 0.5, 1.0, 1.0]), np.array([0.0, 0.5, np.nan, 0.2, 0.1])
    found = swap_test(weighted_mean, [Paired(np.zeros(5), np.arange(5), a, b)], seed=0)
    assert 2 / 2**5 <= found.p <= 1


@pytest.mark.parametrize(("metric", "ranks"), [(auroc, True), (auroc, False), (accuracy, False)])
def test_type_one_error_is_nominal(metric, ranks):
    rejected = [
        swap_test(metric, data(2, patients=30, seed=s), seed=s, resamples=199, ranks=ranks).p <= 0.05
        for s in range(300)
    ]
    assert 0.012 < np.mean(rejected) < 0.09  # binomial: 0.05 ± 3 x 0.0126


@pytest.mark.slow
@pytest.mark.parametrize(
    ("metric", "ranks", "least"),
    [(auroc, True, 0.035), (auroc, False, 0.035), (accuracy, False, 0.02)],  # accuracy ties often, and ties count
)
def test_type_one_error_is_nominal_in_many_samples(metric, ranks, least):
    rejected = [
        swap_test(metric, data(2, patients=60, seed=s), seed=s, resamples=199, ranks=ranks).p <= 0.05
        for s in range(2000)
    ]
    print(metric.__name__, ranks, np.mean(rejected))  # noqa: T201
    assert least < np.mean(rejected) < 0.065
