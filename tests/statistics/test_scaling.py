"""Scaling laws: planted ones are found as often as their intervals promise, and none is seen where there is none."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import least_squares

from fedmeki_bench.statistics import scaling
from fedmeki_bench.statistics.scaling import Curve, fit, published_slope, refusal

SIZES = np.array([3.0, 10, 30, 100, 300, 1000])
EXPONENT = 0.5


def planted(sizes):
    """The law of the acceptance."""
    return 0.05 + 0.8 * sizes**-EXPONENT


def drawn(rng, errors, patients=1000, seeds=1, between=0.0, sizes=SIZES):
    """Right or wrong for each patient, with noise of seeds in logits."""
    logits = np.log(errors / (1 - errors))[:, None] + between * rng.normal(size=(len(errors), seeds))
    wrong = (rng.random((len(errors), seeds, patients)) < (1 / (1 + np.exp(-logits)))[..., None]).astype(float)
    found = wrong.mean(axis=2)
    return Curve(sizes, found, (wrong - found[..., None]) / patients)


def simulated(n, errors, *, draws, blind=False, **how):
    """(share whose interval holds the exponent, share without scaling)."""
    rng, holds, none = np.random.default_rng(0), 0, 0
    for number in range(n):
        curve = drawn(rng, errors, **how)
        if blind:  # the control: as if nothing varied
            curve = Curve(curve.sizes, curve.errors.mean(axis=1, keepdims=True), 1e-3 * curve.influences[:, :1])
        law = fit(curve, seed=number, draws=draws)
        holds += law.exponent_interval[0] <= EXPONENT <= law.exponent_interval[1]
        none += law.seen == "no scaling seen"
    return holds / n, none / n


def test_a_planted_law_is_found_and_no_law_is_not():
    """Of 20 simulations a 95 % interval holds the truth in fewer than 16 once in 300 times."""
    holds, none = simulated(20, planted(SIZES), draws=100)
    assert holds >= 0.8
    assert none == 0
    _, none = simulated(10, np.full(6, 0.25), draws=100, patients=500)
    assert none >= 0.7


def test_control_an_interval_that_ignores_noise_misses_the_law():
    holds, _ = simulated(15, planted(SIZES), draws=60, blind=True)
    assert holds < 0.5


@pytest.mark.slow
@pytest.mark.parametrize("how", [{}, {"patients": 500, "seeds": 2, "between": 0.1}])
def test_the_interval_holds_a_planted_exponent_in_93_to_97_percent(how):
    holds, none = simulated(200, planted(SIZES), draws=300, **how)
    assert 0.93 <= holds <= 0.97
    assert none == 0


@pytest.mark.slow
@pytest.mark.parametrize("how", [{"patients": 500}, {"patients": 500, "seeds": 2, "between": 0.1}])
def test_where_size_changes_nothing_no_scaling_is_seen(how):
    _, none = simulated(200, np.full(6, 0.25), draws=300, **how)
    assert none >= 0.93


def test_without_noise_the_law_comes_back():
    flat = Curve(SIZES, planted(SIZES)[:, None], np.full((6, 1, 40), 1e-7) * np.resize([1, -1], 40))
    law = fit(flat, seed=0, draws=40)
    assert (law.floor, law.factor, law.exponent) == pytest.approx((0.05, 0.8, 0.5), rel=1e-3)
    assert law.doubling == pytest.approx(planted(1000.0) - planted(2000.0), rel=1e-3)
    assert law.error(50.0) == pytest.approx(planted(50.0), rel=1e-3)
    assert law.seen == "falls"
    assert law.exponent_interval == pytest.approx((0.5, 0.5), abs=1e-3)
    assert law.slope == pytest.approx(published_slope(SIZES, 1 - planted(SIZES)))


def test_the_draws_are_fitted_as_scipy_fits_them():
    """The batch of all draws finds the exponents that scipy finds one by one."""
    curve = drawn(np.random.default_rng(3), planted(SIZES))
    x, spread = curve.sizes / 50, curve.spread
    errors = scaling._drawn(curve, np.random.default_rng(1), 12)
    mine = scaling._fitted(x, errors, spread, scaling._point(x, curve.mean, spread))
    for row, (floor, factor, alpha) in zip(errors, mine, strict=True):

        def off(values, row=row):
            modelled = np.clip(values[0] + np.exp(values[1]) * x ** -values[2], 1e-6, 1 - 1e-6)
            return (np.log(row / (1 - row)) - np.log(modelled / (1 - modelled))) / spread

        found = least_squares(
            off, [floor * 0.9 + 1e-9, np.log(factor), alpha], bounds=([0, -25, -1], [row.min(), 8, 3])
        )
        assert (off([floor, np.log(factor), alpha]) ** 2).sum() <= 2 * found.cost * 1.001 + 1e-6
        assert alpha == pytest.approx(found.x[2], abs=0.01)


def test_seeds_and_patients_widen_the_interval():
    rng = np.random.default_rng(5)
    curve = drawn(rng, planted(SIZES), seeds=3, between=0.3)
    alone = Curve(curve.sizes, np.repeat(curve.mean[:, None], 3, axis=1), curve.influences)
    fixed = Curve(curve.sizes, curve.errors, 1e-3 * curve.influences)

    def width(one):
        low, high = fit(one, seed=0, draws=200).exponent_interval
        return high - low

    assert width(curve) > width(alone)
    assert width(curve) > width(fixed)


def test_a_floor_at_its_bound_is_not_identified():
    """A pure power law over one decade says nothing of a floor, and one that has long been reached does."""
    rng, sizes = np.random.default_rng(1), np.array([10.0, 30, 100, 300])
    pure = fit(drawn(rng, 0.9 * sizes**-0.2, sizes=sizes), seed=0, draws=100)
    reached = fit(drawn(rng, 0.2 + 0.7 * SIZES**-1.0, patients=5000), seed=0, draws=100)
    assert (pure.floor_identified, reached.floor_identified) == (False, True)
    assert reached.floor_interval == pytest.approx((0.2, 0.2), abs=0.02)


@pytest.mark.parametrize(
    ("sizes", "errors", "said"),
    [
        ([1, 10, 100], [0.4, 0.3, 0.2], "3 sizes, and a law of three parameters needs 4"),
        ([0, 10, 100, 1000], [0.4, 0.3, 0.25, 0.2], "a size of 0 has no logarithm"),
        ([10, 20, 40, 80], [0.4, 0.3, 0.25, 0.2], "span less than a factor of 10"),
        ([1, 10, 100, 1000], [0.4, 0.3, 0.2, 0.0], "at its floor"),
        ([1, 10, 100, 1000], [1.0, 0.3, 0.2, 0.1], "nothing was right there"),
    ],
)
def test_what_holds_no_law_is_refused_with_a_reason(sizes, errors, said):
    curve = Curve(np.array(sizes, float), np.array(errors, float)[:, None], np.full((len(sizes), 1, 100), 1e-3))
    assert said in refusal(curve)
    with pytest.raises(ValueError, match="no fit"):
        fit(curve, seed=0)


def test_one_seed_gives_the_same_law_twice():
    curve = drawn(np.random.default_rng(2), planted(SIZES))
    assert fit(curve, seed=4, draws=50) == fit(curve, seed=4, draws=50)
    assert fit(curve, seed=4, draws=50) != fit(curve, seed=5, draws=50)
