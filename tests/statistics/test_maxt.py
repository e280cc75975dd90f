from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import dunnett, norm
from scipy.stats import t as student

from fedmeki_bench.statistics import sign_flip
from fedmeki_bench.statistics.crossed import Contrasts
from fedmeki_bench.statistics.maxt import family

ALMOST_NORMAL = 1e9


def given_t(ratios, df=ALMOST_NORMAL, correlation=0.5, se=None):
    """Differences with these t, every two of them correlated alike."""
    ratios = np.asarray(ratios, dtype=float)
    m = len(ratios)
    se = np.ones(m) if se is None else np.asarray(se, dtype=float)
    matrix = np.full((m, m), correlation) + (1 - correlation) * np.eye(m)
    return Contrasts(ratios * se, se, np.broadcast_to(df, m).astype(float), se**2, matrix)


def leaves_out_0(judged):
    return (judged.low > 0) | (judged.high < 0)


@pytest.mark.parametrize("t", [0.3, 1.9, 2.0, 2.1, 7.0])
def test_one_difference_alone_is_not_adjusted(t):
    judged = family(given_t([t], df=11), alpha=0.05, seed=0)
    assert judged.p[0] == pytest.approx(2 * student.sf(t, 11))
    assert judged.adjusted[0] == judged.p[0]
    assert judged.each == pytest.approx(0.05)
    half = student.isf(0.025, 11)
    assert (judged.low[0], judged.high[0]) == pytest.approx((t - half, t + half))


def exact_level(limit, m):
    """Probability that the largest of m comparisons with one reference exceeds this, all of them correlated by 0.5."""
    root = np.sqrt(2) * limit
    inside, _ = quad(lambda x: norm.pdf(x) * (norm.cdf(x + root) - norm.cdf(x - root)) ** m, -8, 8)
    return 1 - inside


# Dunnett 1964, table of two-sided 5 % points, infinite degrees of freedom: 2, 5, 7 and 9 comparisons.
@pytest.mark.parametrize(("m", "published"), [(2, 2.21), (5, 2.51), (7, 2.61), (9, 2.69)])
def test_comparisons_with_one_reference_have_the_critical_values_of_dunnett(m, published):
    assert exact_level(published, m) == pytest.approx(0.05, abs=0.002)  # the table and the integral agree
    judged = family(given_t(np.zeros(m)), alpha=0.05, seed=0)
    assert norm.isf(judged.each / 2) == pytest.approx(published, abs=0.03)
    for t in (1.0, 2.0, 3.0):
        adjusted = family(given_t([t] + [0.0] * (m - 1)), alpha=0.05, seed=1).adjusted[0]
        assert adjusted == pytest.approx(exact_level(t, m), abs=0.01)


def test_p_values_are_those_of_dunnetts_test():
    rng = np.random.default_rng(3)
    groups = rng.normal(size=(8, 12)) + np.array([0, 0, 0.4, 0.8, 1.0, 1.2, 1.5, 2.0])[:, None]
    error = groups.var(axis=1, ddof=1).mean()
    se = np.sqrt(2 * error / 12)
    found = given_t((groups[1:].mean(axis=1) - groups[0].mean()) / se, df=8 * 11)
    judged = family(found, alpha=0.05, seed=0)
    expected = dunnett(*groups[1:], control=groups[0], rng=0).pvalue
    assert judged.adjusted == pytest.approx(expected, abs=0.012)
    assert not np.allclose(judged.p, expected, atol=0.012)


def test_independent_differences_are_adjusted_as_sidak_does():
    judged = family(given_t(np.linspace(1.5, 3.5, 10), correlation=0.0), alpha=0.05, seed=0)
    assert judged.adjusted == pytest.approx(1 - (1 - judged.p) ** 10, abs=0.01)
    assert judged.each == pytest.approx(1 - 0.95**0.1, rel=0.1)


def test_copies_of_one_difference_count_once():
    judged = family(given_t([2.2] * 20, correlation=1.0), alpha=0.05, seed=0)
    assert judged.adjusted == pytest.approx(judged.p, abs=0.006)
    assert leaves_out_0(judged).all()
    assert not leaves_out_0(family(given_t([2.2] * 20, correlation=0.0), alpha=0.05, seed=0)).any()


@settings(max_examples=60, deadline=None)
@given(
    ratios=st.lists(st.floats(-6, 6), min_size=1, max_size=9),
    df=st.floats(1, 200),
    correlation=st.floats(0, 1),
    alpha=st.sampled_from([0.05, 0.05 / 2, 0.05 / 3, 0.05 / 7]),
    seed=st.integers(0, 1000),
)
def test_interval_and_adjusted_p_say_the_same(ratios, df, correlation, alpha, seed):
    judged = family(given_t(ratios, df=df, correlation=correlation), alpha=alpha, seed=seed)
    assert (judged.adjusted >= judged.p).all()
    assert (judged.adjusted <= np.minimum(1, len(ratios) * judged.p) + 1e-15).all()
    near = np.isclose(judged.p, judged.each, rtol=1e-9)  # what rounding decides
    assert (leaves_out_0(judged) == (judged.adjusted < alpha))[~near].all()
    assert alpha / len(ratios) * (1 - 1e-12) <= judged.each <= alpha


@pytest.mark.parametrize("alpha", [0.05, 0.05 / 2, 0.05 / 3, 0.05 / 7, 0.0123])
@pytest.mark.parametrize("m", [1, 7])
def test_they_do_so_on_either_side_of_the_limit(m, alpha):
    limit = student.isf(family(given_t([0.0] * m, df=30), alpha=alpha, seed=0).each / 2, 30)
    for factor, out in ((1 - 1e-7, False), (1 + 1e-7, True)):
        judged = family(given_t([factor * limit] + [0.0] * (m - 1), df=30), alpha=alpha, seed=0)
        assert leaves_out_0(judged)[0] == out
        assert (judged.adjusted[0] < alpha) == out


def test_the_number_of_draws_is_no_floor():
    judged = family(given_t([12.0] + [0.5] * 200, df=400), alpha=0.05, seed=0)
    assert judged.adjusted[0] < 1e-8
    assert judged.adjusted[0] == pytest.approx(201 * judged.p[0])
    # Control: 4000 random permutations of 400 patients who all agree, times as many comparisons.
    floor = sign_flip(np.ones(400).tolist(), resamples=4000)
    assert floor.p == floor.smallest
    assert 201 * floor.p > 0.05


def test_differences_without_variance():
    judged = family(given_t([0.0, 1.0, 5.0], se=[0.0, 1.0, 1.0]), alpha=0.05, seed=0)
    assert (judged.p[0], judged.adjusted[0], judged.low[0], judged.high[0]) == (1, 1, 0, 0)
    certain = Contrasts(np.array([0.2]), np.zeros(1), np.ones(1), np.zeros(1), np.ones((1, 1)))
    judged = family(certain, alpha=0.05, seed=0)
    assert (judged.adjusted[0], judged.low[0], judged.high[0]) == (0, 0.2, 0.2)


def test_the_same_seed_gives_the_same_draws():
    one, same, other = (family(given_t([2.0, 2.5, 0.1]), alpha=0.05, seed=s) for s in (0, 0, 1))
    assert (one.adjusted == same.adjusted).all()
    assert one.each == same.each
    assert (one.adjusted != other.adjusted).any()
