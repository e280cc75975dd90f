from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm, studentized_range

from fedmeki_bench.evaluation.interval_methods import method_of
from fedmeki_bench.evaluation.intervals import estimate
from fedmeki_bench.evaluation.metrics import ACCURACY, AUROC, BALANCED_ACCURACY, BRIER, F1, PRECISION, weighted_mean
from fedmeki_bench.statistics import GroupValue, age_band_names, age_bands, by_group, chance_gap, spread


def data(n=400, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    s = np.clip(0.5 + 0.2 * (y - 0.5) + 0.2 * rng.normal(size=n), 0, 1)
    return (
        y,
        s,
        np.repeat(np.arange(n // 2), 2),
        np.array([["north", "south", "west"][g % 3] for g in np.arange(n) // 2]),
    )


def part(name, value):
    return GroupValue(name, 20, 20, value, math.nan, math.nan)


def test_every_part_has_the_metric_of_its_samples():
    y, s, groups, site = data()
    found = by_group(AUROC.function, y, s, site, groups, seed=0)
    assert [f.name for f in found] == ["north", "south", "west"]
    for one in found:
        own = site == one.name
        assert one.value == pytest.approx(AUROC(y[own], s[own]))
        assert (one.n, one.groups, one.note) == (own.sum(), len(set(groups[own])), "")


@pytest.mark.parametrize("metric", [AUROC, ACCURACY, PRECISION, F1, BRIER, BALANCED_ACCURACY])
def test_intervals_are_those_of_the_metric_on_the_part(metric):
    y, s, groups, site = data()
    one = by_group(metric.function, y, s, site, groups, seed=0, interval=method_of(metric))[1]
    own = site == "south"
    theirs = estimate(y[own], s[own], groups[own], [metric], seed=1)[metric.name]
    assert (one.value, one.low, one.high) == pytest.approx((theirs.value, theirs.low, theirs.high), rel=1e-12)
    assert one.note == theirs.note == ""


def test_a_bare_function_is_resampled():
    y, s, groups, _ = data()
    (mine,) = by_group(AUROC.function, y, s, ["all"] * len(y), groups, seed=0, resamples=4000)
    assert method_of(replace(AUROC, interval="resampled")) is None
    theirs = estimate(y, s, groups, [replace(AUROC, interval="resampled")], seed=0, resamples=4000)["auroc"]
    assert (mine.value, mine.low, mine.high) == pytest.approx((theirs.value, theirs.low, theirs.high), abs=5e-3)


def test_order_of_rows_does_not_matter():
    y, s, groups, site = data()
    order = np.random.default_rng(1).permutation(len(y))
    plain = by_group(AUROC.function, y, s, site, groups, seed=0)
    moved = by_group(AUROC.function, y[order], s[order], site[order], groups[order], seed=0)
    for one, other in zip(plain, moved, strict=True):
        assert (one.name, one.value, one.low, one.high) == pytest.approx(
            (other.name, other.value, other.low, other.high)
        )


def test_small_one_sided_and_single_patient_parts_say_so():
    y = np.array([0, 1] * 10 + [1] * 12 + [0, 1, 1] + [0, 1] * 6)
    names = ["fine"] * 20 + ["one class"] * 12 + ["small"] * 3 + ["one patient"] * 12
    groups = [*range(35), *[99] * 12]
    found = {f.name: f for f in by_group(AUROC.function, y, y / 2 + 0.1, names, groups, seed=0)}
    assert found["fine"].value == 1
    assert math.isnan(found["small"].value)
    assert found["small"].note == "fewer than 10 samples"
    assert math.isnan(found["one class"].value)
    assert "undefined" in found["one class"].note
    assert found["one patient"].value == 1
    assert math.isnan(found["one patient"].low)
    assert found["one patient"].note == "one patient: no interval"


def test_models_of_clients_are_averaged_and_text_values_may_be_missing():
    y, s, groups, site = data()
    both = by_group(ACCURACY.function, y, np.stack([s, 1 - s]), site, groups, seed=0)
    alone = [by_group(ACCURACY.function, y, x, site, groups, seed=0) for x in (s, 1 - s)]
    assert both[0].value == pytest.approx((alone[0][0].value + alone[1][0].value) / 2)
    text = np.where(np.arange(len(y)) % 4 == 0, np.nan, s)
    found = by_group(weighted_mean, [""] * len(y), text, site, groups, seed=0)
    assert found[0].value == pytest.approx(np.nanmean(text[site == "north"]))


def test_a_wanted_order_is_kept_and_must_be_complete():
    y, s, groups, site = data()
    found = by_group(AUROC.function, y, s, site, groups, seed=0, order=["west", "east", "north", "south"])
    assert [f.name for f in found] == ["west", "north", "south"]
    with pytest.raises(ValueError, match="lacks"):
        by_group(AUROC.function, y, s, site, groups, seed=0, order=["west"])
    with pytest.raises(ValueError, match="differ in length"):
        by_group(AUROC.function, y, s, site[1:], groups, seed=0)


def test_the_spread_names_the_worst_part():
    found = spread([part("a", 0.8), part("b", 0.6), part("c", 0.7), part("d", math.nan)], higher=True)
    assert (found.best, found.worst, found.parts) == ("a", "b", 3)
    assert (found.best_value, found.worst_value) == (0.8, 0.6)
    assert found.gap == pytest.approx(0.2)
    assert found.sd == pytest.approx(0.1)
    assert spread([part("a", 0.8), part("b", 0.6)], higher=False).worst == "a"
    assert spread([part("a", 0.8), part("b", 0.6)], higher=True).sd is None
    assert spread([part("a", 0.8), part("d", math.nan)], higher=True) is None


@pytest.mark.parametrize("parts", [2, 3, 8])
def test_the_gap_by_chance_of_equal_errors_is_tukeys_range(parts):
    found = chance_gap([0.1] * parts)
    assert found.upper == pytest.approx(0.1 * studentized_range.ppf(0.95, parts, 1e7), rel=1e-4)
    assert chance_gap([0.2] * parts).upper == pytest.approx(2 * found.upper)


def test_the_gap_by_chance_of_two_is_a_folded_normal():
    found, sd = chance_gap([0.03, 0.04]), 0.05
    assert found.expected == pytest.approx(sd * math.sqrt(2 / math.pi), rel=1e-4)
    assert found.upper == pytest.approx(sd * norm.ppf(0.975), rel=1e-4)
    certain = chance_gap([0.0, 0.05])  # one part without any error
    assert (certain.expected, certain.upper) == pytest.approx((found.expected, found.upper), rel=1e-3)


def test_the_gap_by_chance_of_unequal_errors_is_that_of_draws():
    errors = np.array([0.01, 0.1, 0.2, 0.05])
    drawn = np.ptp(np.random.default_rng(0).normal(size=(200_000, 4)) * errors, axis=1)
    found = chance_gap(errors)
    assert (found.expected, found.upper) == pytest.approx((drawn.mean(), np.quantile(drawn, 0.95)), rel=0.01)
    assert chance_gap([0.0, 0.0]).upper == 0
    for wrong in ([0.1], [0.1, math.nan], [0.1, -0.1]):
        with pytest.raises(ValueError, match="two or more standard errors"):
            chance_gap(wrong)


def test_parts_of_one_truth_rarely_exceed_the_gap_by_chance():
    rng, exceeded, gaps = np.random.default_rng(0), 0, []
    names = np.repeat(["a", "b", "c"], 30)
    for _ in range(150):
        y = rng.integers(0, 2, 90)
        found = by_group(
            AUROC.function, y, rng.normal(size=90) + 1.4 * y, names, range(90), seed=0, interval=method_of(AUROC)
        )
        chance = chance_gap([(v.high - v.low) / (2 * norm.ppf(0.975)) for v in found])
        gaps.append(spread(found, higher=True).gap)
        exceeded += gaps[-1] > chance.upper
    assert exceeded / 150 < 0.1
    assert np.quantile(gaps, 0.95) > 0.6 * chance.upper  # and it is no empty promise


def test_bands_of_age():
    ages = [0, 17.9, 18, 39.9, 40, 64, 65, 80, 300, None, math.nan, -1]
    assert age_bands(ages) == [
        "<18", "<18", "18-39", "18-39", "40-64", "40-64", "65-79", "80+", "80+", "unknown", "unknown", "unknown",
    ]  # fmt: skip
    assert age_band_names() == ["<18", "18-39", "40-64", "65-79", "80+", "unknown"]
    assert age_bands([1, 2, 3], edges=(2, 3)) == ["<2", "2", "3+"]
    with pytest.raises(ValueError, match="rise"):
        age_bands([1], edges=(5, 5))
