from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import permutation_test

from fedmeki_bench.statistics import sign_flip

numbers = st.lists(st.integers(-9, 9).map(lambda v: v / 7), max_size=9)


def test_three_differences_by_hand():
    # 1 + 2 + 3 = 6: of 8 patterns only +++ and --- reach 6. With -1: sum 4, reached by 6 6 4 4 in absolute value.
    assert sign_flip([1, 2, 3]).p == 2 / 8
    assert sign_flip([-1, 2, 3]).p == 4 / 8


def test_zeros_are_neither_for_nor_against():
    assert sign_flip([1, 0, 2, 0, 3]) == sign_flip([1, 2, 3])
    assert sign_flip([0, 0]).p == sign_flip([]).p == 1
    assert sign_flip([0.4]).p == sign_flip([0.4]).smallest == 1


def test_agrees_with_scipy():
    values = np.random.default_rng(0).normal(0.4, 1, 9)
    theirs = permutation_test((values,), np.mean, permutation_type="samples", n_resamples=np.inf).pvalue
    assert sign_flip(values).p == pytest.approx(theirs)


def test_random_patterns_come_close_to_all_of_them():
    values = np.random.default_rng(2).normal(0.45, 1, 16)
    exact = sign_flip(values)
    sampled = sign_flip([*values, 1e-9])  # 17 values: one that changes nothing
    assert exact.exact
    assert not sampled.exact
    assert sampled.smallest == 1 / 20001
    assert sampled.p == pytest.approx(exact.p, abs=4 * math.sqrt(exact.p / 20000) + 1e-4)
    assert sampled == sign_flip([*values, 1e-9])
    assert sampled.p != sign_flip([*values, 1e-9], seed=1).p


@settings(max_examples=50, deadline=None)
@given(numbers, st.randoms())
def test_sign_scale_and_order_do_not_matter(values, random):
    p = sign_flip(values).p
    shuffled = list(values)
    random.shuffle(shuffled)
    assert sign_flip([-v for v in values]).p == sign_flip([3 * v for v in values]).p == sign_flip(shuffled).p == p
    assert sign_flip(values).smallest <= p <= 1


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12))
def test_the_smallest_p_is_reached_when_all_signs_agree(n):
    found = sign_flip([1.0] * n)
    assert found.p == found.smallest == min(1, 2 / 2**n)


def test_type_one_error_is_nominal():
    rng = np.random.default_rng(0)
    rejected = [sign_flip(rng.normal(size=10)).p <= 0.05 for _ in range(1000)]
    assert 0.03 < np.mean(rejected) < 0.07  # binomial: 0.05 ± 3 x 0.0069


def test_nan_is_refused():
    with pytest.raises(ValueError, match="finite"):
        sign_flip([1.0, math.nan])
