from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmeki_bench.data.series import (
    SeriesStatistics,
    forward_fill,
    model_input,
    series_statistics,
)

NAN = np.nan


def series(*columns: list[float]) -> np.ndarray:
    """(1, hours, variables) float32."""
    return np.array(columns, dtype=np.float32).T[None]


def test_forward_fill_keeps_what_comes_before_the_first_value():
    filled = forward_fill(series([NAN, 1, NAN, 2, NAN], [NAN] * 5))
    np.testing.assert_array_equal(filled, series([NAN, 1, 1, 2, 2], [NAN] * 5))


def test_statistics_see_the_client_split_only():
    values = np.concatenate(
        [series([1, NAN, 3], [NAN] * 3), series([8, 8, NAN], [NAN] * 3), series([1e6] * 3, [5.0] * 3)]
    )
    facts = series_statistics(values, [0, 1])
    assert facts.median == (5.5, 0.0)
    assert facts.mean == (5.0, 0.0)
    assert facts.sd == (pytest.approx(np.std([1, 3, 8, 8])), 1.0)
    changed = values.copy()
    changed[2] = -1e6
    assert series_statistics(changed, [0, 1]) == facts
    assert SeriesStatistics.from_json(json.loads(json.dumps(facts.as_json()))) == facts


def test_a_constant_variable_is_not_blown_up():
    assert series_statistics(series([2, 2, 2]), [0]).sd == (1.0,)


def test_model_input_fills_forward_then_with_the_median():
    facts = SeriesStatistics((10.0, 7.0), (4.0, 7.0), (2.0, 1.0))
    features, empty = model_input(series([NAN, 6, NAN], [NAN, NAN, NAN]), facts)
    np.testing.assert_allclose(features, series([3, 1, 1], [0, 0, 0]))
    assert features.dtype == np.float32
    assert not empty.any()


def test_without_imputation_a_gap_is_the_mean_and_the_mask_tells_it():
    facts = SeriesStatistics((10.0,), (4.0,), (2.0,))
    features, _ = model_input(series([NAN, 6, NAN]), facts, imputation="none", mask=True)
    np.testing.assert_allclose(features, series([0, 1, 0], [0, 1, 0]))


def test_padding_is_told_and_zero():
    facts = SeriesStatistics((10.0,), (4.0,), (2.0,))
    values = np.concatenate([series([6, NAN, NAN]), series([6, 6, 6])])
    features, empty = model_input(values, facts, lengths=np.array([2, 3]), mask=True)
    assert empty.tolist() == [[False, False, True], [False, False, False]]
    assert (features[empty] == 0).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.floats(0, 1))
def test_model_input_never_yields_a_gap_and_leaves_its_input_alone(seed, gaps):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(4, 7, 3)).astype(np.float32)
    values[rng.random(values.shape) < gaps] = NAN
    before = values.copy()
    facts = series_statistics(values, [0, 1])
    for imputation in ("none", "forward_median"):
        features, _ = model_input(values, facts, imputation=imputation, mask=True)
        assert np.isfinite(features).all()
        assert features.shape == (4, 7, 6)
    np.testing.assert_array_equal(values, before)
    # each sample is filled on its own
    alone, _ = model_input(values[2:3], facts)
    np.testing.assert_array_equal(alone, model_input(values, facts)[0][2:3])
