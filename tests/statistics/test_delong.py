from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from asah_data import ASAH

from fedmeki_bench.evaluation.metrics import AUROC, auroc
from fedmeki_bench.statistics import delong

OUTCOME, WFNS, S100B = np.array(ASAH).T


def sample(seed=0, patients=120, each=1, effect=0.0):
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(patients), each)
    y = rng.integers(0, 2, len(groups))
    shared = np.repeat(rng.normal(size=patients), each)
    a, b = (shared + m * y + rng.normal(size=len(y)) for m in (1.0 + effect, 1.0))
    return y, a, b, groups


def test_the_worked_example_of_proc():
    # pROC, documentation of roc.test on aSAH, outcome ~ wfns against outcome ~ s100b, method delong, paired.
    found = delong(OUTCOME, WFNS, S100B)
    assert found.auc_a == pytest.approx(0.8237, abs=5e-5)
    assert found.auc_b == pytest.approx(0.7314, abs=5e-5)
    assert found.z == pytest.approx(2.209, abs=5e-4)
    assert found.p == pytest.approx(0.02718, abs=5e-6)


def test_the_areas_are_the_metric():
    y, a, b, _ = sample()
    found = delong(y, np.round(a, 1), np.round(b, 1))
    assert found.auc_a == pytest.approx(AUROC(y, np.round(a, 1)))
    assert found.auc_b == pytest.approx(AUROC(y, np.round(b, 1)))


def test_the_variance_equals_its_definition():
    # DeLong et al. 1988: placements of every positive and negative, by a plain double loop.
    y, a, b, _ = sample(patients=30)
    ten, one = [], []
    for s in (a, b):
        wins = (s[y == 1][:, None] > s[y == 0]) + 0.5 * (s[y == 1][:, None] == s[y == 0])
        ten.append(wins.mean(axis=1))
        one.append(wins.mean(axis=0))
    v10, v01 = (np.var(x[0] - x[1], ddof=1) / len(x[0]) for x in (ten, one))
    assert delong(y, a, b).se == pytest.approx(math.sqrt(v10 + v01))


def test_one_sample_per_patient_is_no_cluster():
    y, a, b, groups = sample()
    assert delong(y, a, b, groups=[f"p{g}" for g in groups]) == delong(y, a, b)


def test_every_sample_twice_is_no_more_information():
    y, a, b, groups = sample()
    single = delong(y, a, b)
    twice = delong(np.tile(y, 2), np.tile(a, 2), np.tile(b, 2), groups=np.tile(groups, 2))
    assert twice.se == pytest.approx(single.se)
    assert delong(np.tile(y, 2), np.tile(a, 2), np.tile(b, 2)).se < 0.75 * single.se


@pytest.mark.parametrize("each", [1, 4])
def test_the_standard_error_is_that_of_a_bootstrap_over_patients(each):
    y, a, b, groups = sample(each=each, patients=150)
    rng = np.random.default_rng(0)
    weights = rng.multinomial(150, [1 / 150] * 150, size=2000)[:, groups].astype(float)
    spread = (auroc(y, a, weights) - auroc(y, b, weights)).std()
    assert delong(y, a, b, groups=groups).se == pytest.approx(spread, rel=0.08)


def test_exchanging_the_models_flips_the_sign():
    y, a, b, groups = sample(each=2)
    one, other = delong(y, a, b, groups), delong(y, b, a, groups)
    assert (one.difference, one.z, one.low) == pytest.approx((-other.difference, -other.z, -other.high))
    assert one.p == pytest.approx(other.p)
    assert one.low < one.difference < one.high


def test_only_ranks_matter():
    y, a, b, _ = sample()
    assert delong(y, np.exp(a), 5 * b - 3) == delong(y, a, b)


@pytest.mark.parametrize("each", [1, 3])
def test_type_one_error_is_nominal(each):
    p = np.array([delong(*sample(seed, 80, each)[:3], groups=sample(seed, 80, each)[3]).p for seed in range(300)])
    assert 0.012 < (p <= 0.05).mean() < 0.09  # binomial: 0.05 ± 3 x 0.0126


def test_degenerate_samples_give_what_is_documented_and_no_warning():
    y = np.array([0, 0, 0, 1, 1, 1])
    perfect, reversed_ = y * 1.0, 1.0 - y
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same = delong(y, perfect, perfect)
        assert (same.se, same.z, same.p, same.low, same.high) == (0, 0, 1, 0, 0)
        opposite = delong(y, perfect, reversed_)
        assert opposite.difference == 1
        assert opposite.se == 0
        assert all(math.isnan(v) for v in (opposite.z, opposite.p, opposite.low, opposite.high))
        lonely = delong([0, 0, 1], [0.1, 0.2, 0.3], [0.3, 0.1, 0.2])
        assert math.isnan(lonely.se)
        assert math.isnan(lonely.p)
        clustered = delong(y, perfect, [0.3, 0.2, 0.1, 0.2, 0.4, 0.5], groups=[0, 1, 2, 3, 3, 3])
        assert math.isnan(clustered.p)


@pytest.mark.parametrize(
    ("labels", "a", "message"),
    [
        ([1, 1], [0.1, 0.2], "both classes"),
        ([0, 2], [0.1, 0.2], "0 or 1"),
        ([0, 1], [0.1, math.nan], "finite"),
        ([0, 1], [0.1], "one length"),
    ],
)
def test_what_is_no_sample_is_refused(labels, a, message):
    with pytest.raises(ValueError, match=message):
        delong(labels, a, [0.5, 0.6])
