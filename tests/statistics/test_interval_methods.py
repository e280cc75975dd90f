"""The intervals of one value by themselves; how often they hold the truth is in ``test_coverage``."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm
from scipy.stats import t as student
from statsmodels.stats.proportion import proportion_confint

from fedmeki_bench.evaluation.metrics import auroc
from fedmeki_bench.statistics.influence import auroc_influence, mean_influence
from fedmeki_bench.statistics.intervals import (
    FISHER,
    LOGIT,
    SHORTFALL,
    Interval,
    auroc_interval,
    freedom,
    mean_interval,
    mean_of_two,
    no_interval,
    scaled_interval,
    share_interval,
)


def hanley_mcneil(a, m, n):
    """Their variance with Newcombe's mean of the two class sizes."""
    mean = (m + n) / 2 - 1
    return a * (1 - a) * (1 + mean * (1 - a) / (2 - a) + mean * a / (1 + a)) / (m * n)


def spread_of(variance, patients):
    """Influences of that variance."""
    return np.full(patients, math.sqrt(variance / patients))


@pytest.mark.parametrize("ratio", [1.0, 2.5, 0.2])
def test_the_bounds_of_an_auroc_solve_newcombes_equation(ratio):
    found = auroc_interval(0.8, spread_of(ratio * hanley_mcneil(0.8, 13, 27), 40), 13, 27)
    used = ratio if ratio >= 1 else (1 + ratio) / 2  # a small measured variance is believed half
    for bound in (found.low, found.high):
        assert abs(0.8 - bound) == pytest.approx(
            student.ppf(0.975, 38) * math.sqrt(used * hanley_mcneil(bound, 13, 27))
        )
    assert found.low < 0.8 < found.high


def test_a_perfect_auroc_has_a_lower_bound_that_falls_with_fewer_patients():
    bounds = [auroc_interval(1.0, np.zeros(2 * n), n, n).low for n in (5, 13, 50, 200)]
    assert 1 - bounds[1] == pytest.approx(student.ppf(0.975, 24) * math.sqrt(hanley_mcneil(bounds[1], 13, 13)))
    assert bounds == sorted(bounds)
    assert bounds[0] < 0.8
    assert bounds[-1] > 0.98
    nothing = auroc_interval(0.0, np.zeros(26), 13, 13)
    assert (nothing.low, nothing.high) == (0.0, pytest.approx(1 - bounds[1]))


def test_an_auroc_turned_round_has_the_interval_turned_round():
    rng = np.random.default_rng(0)
    y, group = np.repeat([0, 1], [40, 20]), np.arange(60)
    s = rng.normal(size=60) + y
    value = float(auroc(y, s, np.ones((1, 60)))[0])
    one = auroc_interval(value, auroc_influence(y, s, group, 60), 20, 40)
    other = auroc_interval(1 - value, auroc_influence(y, -s, group, 60), 20, 40)
    assert (one.low, one.high) == pytest.approx((1 - other.high, 1 - other.low))


def test_constant_scores_are_one_half_on_any_patients():
    assert auroc_interval(0.5, np.zeros(40), 20, 20, constant=True) == Interval(0.5, 0.5)
    assert auroc_interval(1.0, np.zeros(40), 20, 20, constant=True).low < 0.95  # perfect is not constant
    uncertain = auroc_interval(0.5, np.zeros(40), 20, 20)
    assert uncertain.high - uncertain.low > 0.1


def test_one_patient_in_a_class_has_no_interval():
    found = auroc_interval(0.9, np.full(20, math.nan), 1, 19)
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    assert found.note == "no interval: fewer than two patients in a class"


def test_a_share_of_independent_patients_is_wilsons_with_students_quantile():
    values = np.repeat([1.0, 0.0], [31, 9])
    found = share_interval(31 / 40, mean_influence(values, values, np.arange(40), 40), 40)
    level = 2 * norm.sf(student.ppf(0.975, 39))
    low, high = proportion_confint(31 * 39 / 40, 39, alpha=level, method="wilson")
    assert (found.low, found.high) == pytest.approx((low, high))


def test_clusters_widen_a_share_and_a_small_spread_is_believed_half():
    independent = 0.8 * 0.2 / 40
    widths = []
    for ratio in (0.0, 0.5, 1.0, 3.0):
        found = share_interval(0.8, spread_of(ratio * independent, 40), 40)
        widths.append(found.high - found.low)
    assert widths == sorted(widths)
    assert widths[0] > 0.65 * widths[2]
    assert widths[3] > 1.5 * widths[2]


def test_shares_and_means_at_an_end_are_bounded_by_the_number_of_patients():
    q2 = student.ppf(0.975, 37) ** 2
    assert share_interval(1.0, np.zeros(38), 38) == Interval(pytest.approx(38 / (38 + q2)), 1.0)
    assert share_interval(0.0, np.zeros(38), 38) == Interval(0.0, pytest.approx(q2 / (38 + q2)))
    found = mean_interval(1.0, np.zeros(38), 38, 100)  # Clopper and Pearson: 0.025 ** (1 / 38)
    assert found == Interval(pytest.approx(0.025 ** (1 / 38)), 1.0)
    assert mean_interval(0.0, np.zeros(38), 38, 100).high == pytest.approx(1 - 0.025 ** (1 / 38))
    for nothing in (share_interval(1.0, np.zeros(1), 1), mean_interval(0.4, np.zeros(1), 1, 3)):
        assert nothing.note == "no interval: fewer than two patients count"


def test_a_mean_of_values_that_scatter_little_is_narrow_from_twenty_patients_on():
    rng = np.random.default_rng(0)
    widths = {}
    for n in (19, 20, 200):
        values = np.clip(0.5 + 0.1 * rng.normal(size=n), 0, 1)
        found = mean_interval(values.mean(), mean_influence(values, values, np.arange(n), n), n, n)
        assert found.low < values.mean() < found.high
        widths[n] = found.high - found.low
    assert widths[19] > 0.4  # as of a proportion
    assert widths[20] < 0.15
    assert widths[200] == pytest.approx(2 * 1.96 * 0.1 / math.sqrt(200), rel=0.25)


def test_the_mean_of_two_adds_the_squares():
    one, other = Interval(0.6, 0.85), Interval(0.5, 0.95)
    found = mean_of_two((0.8, 0.9), (one, other))
    assert found.low == pytest.approx(0.85 - math.hypot(0.2, 0.4) / 2)
    assert found.high == pytest.approx(0.85 + math.hypot(0.05, 0.05) / 2)
    together = mean_of_two((0.8, 0.9), (one, other), 1.0)
    assert together.low == pytest.approx(0.85 - 0.3)
    assert mean_of_two((0.8, 0.9), (one, no_interval("why"))).note == "why"
    assert mean_of_two((1.0, 1.0), (Interval(0.7, 1.0), Interval(0.8, 1.0))).high == 1.0


@pytest.mark.parametrize(("scale", "value"), [(LOGIT, 0.7), (FISHER, -0.4), (SHORTFALL, 0.3), (SHORTFALL, -2.0)])
def test_scales_go_there_and_back_with_the_right_slope(scale, value):
    assert scale.back(scale.forward(value)) == pytest.approx(value)
    step = 1e-6
    slope = (scale.forward(value + step) - scale.forward(value - step)) / (2 * step)
    assert scale.slope(value) == pytest.approx(slope, rel=1e-6)
    found = scaled_interval(value, spread_of(0.01, 50), scale)
    assert found.low < value < found.high
    assert scaled_interval(value, spread_of(1e-6, 50), scale).high == pytest.approx(value + 1.96e-3, abs=2e-5)
    wide = scaled_interval(value, np.array([5.0, 0.0]), scale)  # no overflow
    assert wide.low <= value <= wide.high


def test_degrees_of_freedom_are_few_where_few_patients_make_up_the_variance():
    assert freedom(np.ones(50), 50) > 1000
    assert freedom(np.array([1.0] + [0.0] * 49), 50) == pytest.approx(2 / (1 - 1 / 50))
    u = np.random.default_rng(0).normal(size=100_000)
    assert freedom(u, 100_000) == pytest.approx(100_000, rel=0.05)
    lopsided = scaled_interval(0.5, np.array([0.1] + [0.0] * 49), LOGIT)
    even = scaled_interval(0.5, spread_of(0.01, 50), LOGIT)
    assert lopsided.high - lopsided.low > 1.3 * (even.high - even.low)


def test_no_interval_says_why():
    assert scaled_interval(1.0, spread_of(0.01, 50), LOGIT).note.startswith("no interval: the value is at the end")
    assert scaled_interval(1.0, spread_of(0.01, 50), FISHER).note.startswith("no interval: the value is at the end")
    assert scaled_interval(0.5, np.zeros(50), LOGIT).note.startswith("no interval: the patients show no spread")
    assert scaled_interval(0.5, np.full(50, math.nan), LOGIT).note.startswith(
        "no interval: the patients show no spread"
    )
