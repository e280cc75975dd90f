from __future__ import annotations

import time
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from fedmeki_bench.evaluation.intervals import estimate
from fedmeki_bench.evaluation.metrics import BUILT_IN, weighted_mean
from fedmeki_bench.evaluation.thresholds import threshold_at


def calibration_error(y, s, w):
    """ECE bin by bin, from its definition."""
    total = 0.0
    for b in range(15):
        inside = (s * 15 >= b) & ((s * 15 < b + 1) | (b == 14))
        if w[inside].sum():
            gap = np.average(y[inside], weights=w[inside]) - np.average(s[inside], weights=w[inside])
            total += w[inside].sum() * abs(gap)
    return total / w.sum()


def by_chance(y, s, w):
    """What calibration_error is expected to be of a calibrated model, bin by bin."""
    chance = 0.0
    for b in range(15):
        inside = (s * 15 >= b) & ((s * 15 < b + 1) | (b == 14))
        chance += np.sqrt(2 / np.pi * (w[inside] ** 2 * s[inside] * (1 - s[inside])).sum())
    return chance / w.sum()


def skill(y, s, w):
    share = np.average(y, weights=w)
    reference = sk.brier_score_loss(y, np.full(len(y), share), sample_weight=w)
    return 1 - sk.brier_score_loss(y, s, sample_weight=w) / reference


REFERENCE = {
    "balanced_accuracy": lambda y, s, w: sk.balanced_accuracy_score(y, s >= 0.5, sample_weight=w),
    "specificity": lambda y, s, w: sk.recall_score(1 - y, s < 0.5, sample_weight=w),
    "brier": lambda y, s, w: sk.brier_score_loss(y, s, sample_weight=w),
    "brier_skill": skill,
    "ece": lambda y, s, w: calibration_error(y, s, w) - by_chance(y, s, w),
    "ece_null": by_chance,
    "sensitivity_at_90": lambda y, s, w: sk.recall_score(y, s >= 0.5, sample_weight=w),  # gets 1 and 0 as scores
    "accuracy": lambda y, s, w: sk.accuracy_score(y, s >= 0.5, sample_weight=w),
    "precision": lambda y, s, w: sk.precision_score(y, s >= 0.5, sample_weight=w),
    "recall": lambda y, s, w: sk.recall_score(y, s >= 0.5, sample_weight=w),
    "f1": lambda y, s, w: sk.f1_score(y, s >= 0.5, sample_weight=w),
    "mcc": lambda y, s, w: sk.matthews_corrcoef(y, s >= 0.5, sample_weight=w),
    "auroc": lambda y, s, w: sk.roc_auc_score(y, s, sample_weight=w),
    "auprc": lambda y, s, w: sk.average_precision_score(y, s, sample_weight=w),
}

samples = st.lists(
    # Scores on a coarse grid, so that ties and constant scores are common.
    st.tuples(st.integers(0, 1), st.integers(0, 4).map(lambda i: i / 4), st.integers(0, 3)),
    min_size=2,
    max_size=30,
)


@settings(max_examples=150, deadline=None)
@given(samples)
@pytest.mark.slow
def test_equal_to_scikit_learn_with_weights(rows):
    y, s, w = (np.array(column) for column in zip(*rows, strict=True))
    kept = w > 0
    if len(set(y[kept])) < 2:
        return
    for name, spec in BUILT_IN.items():
        found = spec.function(y, s.astype(float), w[None, :].astype(float))
        assert found.shape == (1,)
        if name == "precision" and not (s[kept] >= 0.5).any():
            assert np.isnan(found[0])  # scikit-learn says 0, with a warning
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wanted = REFERENCE[name](y[kept], s[kept], w[kept])
        assert found[0] == pytest.approx(wanted, abs=1e-12), name
        assert spec.range[0] <= found[0] <= spec.range[1]


def test_by_hand():
    y, s = np.array([1, 1, 0, 0]), np.array([0.9, 0.4, 0.6, 0.1])
    values = {name: spec(y, s) for name, spec in BUILT_IN.items()}
    # tp 1 (.9), fn 1 (.4), fp 1 (.6), tn 1 (.1); pairs won: .9 beats both, .4 beats .1 only.
    assert values == pytest.approx(
        {
            "auroc": 3 / 4, "auprc": (1 + 2 / 3) / 2, "accuracy": 0.5, "precision": 0.5, "recall": 0.5,
            "f1": 0.5, "mcc": 0.0, "specificity": 0.5, "balanced_accuracy": 0.5,
            "brier": (0.1**2 + 0.6**2 + 0.6**2 + 0.1**2) / 4,
            "brier_skill": 1 - (0.1**2 + 0.6**2 + 0.6**2 + 0.1**2) / 4 / 0.25,
            # each in a bin of its own
            "ece": (0.1 + 0.6 + 0.6 + 0.1) / 4 - (2 / np.pi) ** 0.5 * (2 * 0.09**0.5 + 2 * 0.24**0.5) / 4,
            "ece_null": (2 / np.pi) ** 0.5 * (2 * 0.09**0.5 + 2 * 0.24**0.5) / 4,
            "sensitivity_at_90": 0.5,
        }
    )  # fmt: skip


def test_many_weightings_at_once_equal_repeated_samples():
    rng = np.random.default_rng(0)
    y, s = rng.integers(0, 2, 40), rng.integers(0, 8, 40) / 8
    weights = rng.multinomial(40, np.full(40, 1 / 40), size=5)
    for spec in BUILT_IN.values():
        if "ece" in spec.name:
            continue  # what chance does to them depends on how many different samples there are
        together = spec.function(y, s, weights.astype(float))
        single = [spec(np.repeat(y, w), np.repeat(s, w)) for w in weights]
        np.testing.assert_allclose(together, single, atol=1e-12)


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_is_undefined_never_zero(label):
    y, s = np.full(5, label), np.linspace(0, 1, 5)
    for name in ("auroc", "auprc", "mcc", "balanced_accuracy"):
        assert np.isnan(BUILT_IN[name](y, s))
        assert BUILT_IN[name].undefined
    for name in ("precision", "recall", "f1"):
        assert np.isnan(BUILT_IN[name](y, s)) == (label == 0)
    assert np.isnan(BUILT_IN["specificity"](y, s)) == (label == 1)


def test_calibration_by_hand():
    # Four samples at .5 (bin 7), three of them positive: |.75 - .5|; one at exactly 1 belongs to the last bin.
    y, s = np.array([1, 1, 1, 0, 0]), np.array([0.5, 0.5, 0.5, 0.5, 1.0])
    chance = (2 / np.pi * 4 * 0.25) ** 0.5 / 5
    assert BUILT_IN["ece_null"](y, s) == pytest.approx(chance)
    assert BUILT_IN["ece"](y, s) == pytest.approx((4 * 0.25 + 1 * 1.0) / 5 - chance)
    assert BUILT_IN["ece"](np.array([0, 1]), np.array([0.0, 1.0])) == 0
    assert BUILT_IN["brier"](y, s) == pytest.approx((4 * 0.25 + 1) / 5)
    assert {n for n, m in BUILT_IN.items() if m.direction == "lower"} == {"brier", "ece", "ece_null"}


@pytest.mark.parametrize("n", [40, 200, 1000])
def test_a_calibrated_model_has_no_calibration_error_whatever_the_size(n):
    rng = np.random.default_rng(n)
    errors, plain = [], []
    for _ in range(400):
        s = rng.random(n)
        y = (rng.random(n) < s).astype(int)
        errors.append(BUILT_IN["ece"](y, s))
        plain.append(calibration_error(y, s, np.ones(n)))
    assert abs(np.mean(errors)) < 0.012
    assert np.mean(plain) > (0.15 if n == 40 else 0.03)  # what is taken away
    assert BUILT_IN["ece"](np.tile([0, 0, 1], n), np.full(3 * n, 0.8)) > 0.4  # a wrong probability stays one


def test_the_threshold_leaves_nine_of_ten_negatives_below():
    rng = np.random.default_rng(0)
    y, s = rng.integers(0, 2, 500), np.round(rng.random(500), 2)
    t = threshold_at(y, s)
    assert (s[y == 0] < t).mean() >= 0.9
    assert (s[y == 0] < np.nextafter(t, 0)).mean() < 0.9
    assert threshold_at([1, 1], [0.2, 0.3]) is None


def test_means_leave_out_undefined_samples():
    values, weights = np.array([1.0, np.nan, 0.0]), np.array([[1.0, 1, 1], [3, 0, 1], [0, 2, 0]])
    found = weighted_mean(np.zeros(3), values, weights)
    np.testing.assert_allclose(found, [0.5, 0.75, np.nan])


def test_constant_predictor():
    y, s = np.array([0, 0, 0, 1]), np.zeros(4)
    assert BUILT_IN["auroc"](y, s) == 0.5
    assert BUILT_IN["auprc"](y, s) == 0.25
    assert BUILT_IN["accuracy"](y, s) == 0.75
    assert BUILT_IN["mcc"](y, s) == 0.0
    assert BUILT_IN["f1"](y, s) == 0.0
    assert np.isnan(BUILT_IN["precision"](y, s))


def test_a_thousand_resamples_of_seven_metrics_take_seconds_not_minutes():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 2000)
    began = time.perf_counter()
    estimate(y, rng.random(2000), np.arange(2000) // 2, list(BUILT_IN.values()), seed=0)
    assert time.perf_counter() - began < 8  # half a second on two idle cores


@pytest.mark.parametrize("seed", range(5))
def test_an_auroc_of_one_class_is_undefined_whatever_the_weights(seed):
    """Sums of fractions leave a rounding error where the other class is absent; it is no class."""
    rng = np.random.default_rng(seed)
    y, s = rng.integers(0, 2, 40), rng.random(40).round(1)  # ties are added up in another order than the whole
    for present in (0, 1):
        weights = rng.random((200, 40)) * (y == present)
        found = BUILT_IN["auroc"].function(y, s, weights)
        assert np.isnan(found).all()
    both = BUILT_IN["auroc"].function(y, s, rng.random((200, 40)))
    assert ((both >= 0) & (both <= 1)).all()
    expected = sk.roc_auc_score(y, s, sample_weight=np.where(y == 1, 1e-3, 1.0))  # a small class is a class
    assert BUILT_IN["auroc"].function(y, s, np.where(y == 1, 1e-3, 1.0)[None])[0] == pytest.approx(expected)
