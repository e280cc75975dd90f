from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmeki_bench.evaluation.intervals import estimate
from fedmeki_bench.evaluation.metrics import ACCURACY, AUROC, BUILT_IN, accuracy, auroc, weighted_mean
from fedmeki_bench.statistics import Paired, paired_difference


def data(seeds=3, patients=60, each=2, effect=0.1, seed=0):
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(patients), each)
    y = np.repeat(rng.integers(0, 2, patients), each)
    out = []
    for _ in range(seeds):
        a, b = (np.clip(0.5 + m * (y - 0.5) + 0.25 * rng.normal(size=len(y)), 0, 1) for m in (0.2 + effect, 0.2))
        out.append(Paired(y, groups, a, b))
    return out


def test_the_difference_is_that_of_the_means_over_seeds():
    found = paired_difference(auroc, data(), seed=0, resamples=200)
    a, b = (np.mean([AUROC(d.labels, s) for d, s in ((d, getattr(d, side)) for d in data())]) for side in "ab")
    assert (found.a, found.b, found.difference) == pytest.approx((a, b, a - b))
    assert found.low < found.difference < found.high
    assert (found.seeds, found.samples, found.groups, found.note) == (3, 120, 60, "")


def test_one_seed_is_the_plain_bootstrap_of_patients_and_says_so():
    (one,) = data(1)
    zero = np.zeros(len(one.labels))
    found = paired_difference(weighted_mean, [Paired(one.labels, one.groups, one.a, zero)], seed=0, resamples=4000)
    theirs = estimate(one.labels, one.a, one.groups, [_mean_spec()], seed=0, resamples=4000)["accuracy"]
    assert (found.difference, found.low, found.high) == pytest.approx((theirs.value, theirs.low, theirs.high), abs=5e-3)
    assert "one seed" in found.note


def _mean_spec():
    from dataclasses import replace

    return replace(ACCURACY, function=weighted_mean, needs="score", interval="resampled")


def test_equal_algorithms_differ_by_nothing():
    same = [Paired(d.labels, d.groups, d.a, d.a) for d in data()]
    found = paired_difference(auroc, same, seed=0, resamples=100)
    assert (found.difference, found.low, found.high) == (0, 0, 0)


def test_a_constant_advantage_has_no_width():
    moved = [Paired(d.labels, d.groups, d.a, d.a - 0.25) for d in data()]
    found = paired_difference(weighted_mean, moved, seed=0, resamples=100)
    assert (found.low, found.high) == pytest.approx((0.25, 0.25))


def test_the_spread_over_seeds_is_in_the_interval():
    """Seeds that shift every sample alike: what is left is Student's interval of the seeds."""
    y, groups, zero = np.zeros(40), np.arange(40), np.zeros(40)
    shifts = np.array([0.1, 0.2, 0.4])
    found = paired_difference(
        weighted_mean, [Paired(y, groups, zero + s, zero) for s in shifts], seed=0, resamples=20000
    )
    half = 4.303 * shifts.std(ddof=1) / math.sqrt(3)  # t of 2 degrees of freedom at 97.5 %
    assert (found.low, found.high) == pytest.approx((shifts.mean() - half, shifts.mean() + half), rel=2e-2)


def test_more_seeds_do_not_shrink_the_share_of_the_patients():
    rng = np.random.default_rng(0)
    y, groups = np.zeros(80), np.arange(80)
    a = rng.normal(size=80)  # the same patients are hard in every seed
    widths = []
    for seeds in (1, 8):
        found = paired_difference(weighted_mean, [Paired(y, groups, a, 0 * a)] * seeds, seed=0)
        widths.append(found.high - found.low)
    assert widths[0] == pytest.approx(widths[1])


def test_two_seeds_are_told_to_be_few():
    assert "2 seeds" in paired_difference(auroc, data(2), seed=0, resamples=100).note


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_row_order_and_names_of_patients_do_not_matter(seed):
    rng = np.random.default_rng(seed)
    one = data(2, patients=15)
    plain = paired_difference(auroc, one, seed=3, resamples=50)
    shuffled = []
    for d in one:
        o = rng.permutation(len(d.labels))
        shuffled.append(Paired(d.labels[o], np.array([f"p{g:03}" for g in d.groups])[o], d.a[o], d.b[o]))
    moved = paired_difference(auroc, shuffled, seed=3, resamples=50)
    assert (moved.difference, moved.low, moved.high) == pytest.approx((plain.difference, plain.low, plain.high))


def test_exchanging_the_algorithms_flips_the_sign():
    one = data()
    forth = paired_difference(auroc, one, seed=0, resamples=8000)
    back = paired_difference(auroc, [Paired(d.labels, d.groups, d.b, d.a) for d in one], seed=0, resamples=8000)
    assert back.difference == -forth.difference
    assert (back.low, back.high) == pytest.approx((-forth.high, -forth.low), abs=6e-3)


def test_a_metric_undefined_on_the_whole_has_no_difference():
    d = data(1)[0]
    found = paired_difference(auroc, [Paired(np.ones(120), d.groups, d.a, d.b)], seed=0, resamples=50)
    assert math.isnan(found.difference)
    assert math.isnan(found.low)
    assert found.note == "undefined on 1 of 1 seed"


def test_resamples_without_a_value_are_left_out_and_counted():
    y = np.array([1, *[0] * 9])
    s = np.linspace(0, 1, 10)
    found = paired_difference(auroc, [Paired(y, np.arange(10), s, s[::-1])] * 3, seed=0, resamples=1000)
    assert "resamples, which are left out" in found.note  # the one positive is missing from a third of them
    assert math.isfinite(found.low)


@pytest.mark.parametrize("metric", [m.function for m in BUILT_IN.values()], ids=list(BUILT_IN))
def test_every_metric_can_be_compared(metric):
    found = paired_difference(metric, data(), seed=0, resamples=50)
    assert found.low <= found.high


def test_clients_with_their_own_models_are_averaged():
    (one,) = data(1)
    many = Paired(one.labels, one.groups, np.stack([one.a, one.b]), one.b)
    found = paired_difference(accuracy, [many], seed=0, resamples=50)
    a, b = (ACCURACY(one.labels, s) for s in (one.a, one.b))
    assert (found.a, found.b) == pytest.approx(((a + b) / 2, b))


def test_seeds_may_hold_different_patients():
    one = data(3)
    shifted = [Paired(d.labels, d.groups + 60 * i, d.a, d.b) for i, d in enumerate(one)]
    found = paired_difference(auroc, shifted, seed=0, resamples=300)
    assert found.groups == 180
    assert found.difference == pytest.approx(paired_difference(auroc, one, seed=0, resamples=10).difference)
    assert found.low < found.difference < found.high


@pytest.mark.parametrize(
    "bad",
    [
        [],
        [Paired(np.ones(0), np.ones(0), np.ones(0), np.ones(0))],
        [Paired(np.ones(3), np.ones(2), np.ones(3), np.ones(3))],
        [Paired(np.ones(3), np.ones(3), np.ones(3), np.ones((2, 4)))],
    ],
)
def test_what_does_not_fit_is_refused(bad):
    with pytest.raises(ValueError, match=r"at least one seed|do not fit"):
        paired_difference(auroc, bad, seed=0)
