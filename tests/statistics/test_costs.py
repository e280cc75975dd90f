from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmeki_bench.statistics import pareto, to_target
from fedmeki_bench.statistics.targets import Reached

POINTS = st.dictionaries(
    st.text("abcdefgh", min_size=1, max_size=2), st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=8
)


def test_a_front_by_hand():
    points = {"dear": (9, 0.9), "cheap": (1, 0.5), "beaten": (5, 0.5), "middle": (4, 0.7), "worse": (4, 0.6)}
    assert pareto(points) == ("cheap", "middle", "dear")
    assert pareto(points, higher=False) == ("cheap",)


def test_equal_points_are_all_kept_and_a_dearer_equal_score_is_not():
    assert pareto({"b": (1, 0.5), "a": (1, 0.5), "c": (2, 0.5)}) == ("b", "a")
    assert pareto({}) == ()


@given(POINTS)
def test_the_front_is_what_its_definition_says(points):
    def dominated(name):
        cost, score = points[name]
        return any(c <= cost and s >= score and (c, s) != (cost, score) for c, s in points.values())

    front = pareto(points)
    assert set(front) == {name for name in points if not dominated(name)}
    assert [points[name][0] for name in front] == sorted(points[name][0] for name in front)


def test_a_front_needs_numbers():
    with pytest.raises(ValueError, match="finite"):
        pareto({"a": (1, math.nan)})


def test_first_round_that_reaches_the_target():
    values = [None, 0.4, math.nan, 0.6, 0.5, 0.7]
    assert to_target(values, [10, 20, 30, 40, 50, 60], 0.6) == Reached(4, 100)
    assert to_target(values, [10, 20, 30, 40, 50, 60], 0.71) is None
    assert to_target([0.9, 0.3], [1, 2], 0.3, higher=False) == Reached(2, 3)
    assert to_target([0.6], [7], 0.6) == Reached(1, 7)
    assert to_target([], [], 0.6) is None


def test_a_target_needs_one_count_of_bytes_per_round():
    with pytest.raises(ValueError, match="2 values but bytes of 1"):
        to_target([0.1, 0.2], [5], 0.1)
    with pytest.raises(ValueError, match="finite"):
        to_target([0.1], [5], math.nan)
