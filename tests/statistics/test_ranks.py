from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fedmeki_bench.statistics import ScoreTable, mean_ranks, rank_intervals, task_ranks, tied_for_first

# Two seeds; the third task is a loss, lower is better. Means over seeds and ranks by hand:
#          t1          t2          t3 (lower)   ranks          mean rank  place
#   A   .8 .9 = .85  .5 .7 = .60  .2 .4 = .30   1   2.5  1      4.5 / 3    1
#   B   .7 .7 = .70  .6 .6 = .60  .3 .5 = .40   2   2.5  2      6.5 / 3    2
#   C   .6 .6 = .60  .9 .9 = .90  .5 .5 = .50   3   1    3      7.0 / 3    3
ROWS = [
    (algorithm, task, seed, value)
    for algorithm, tasks in {
        "A": {"t1": (0.8, 0.9), "t2": (0.5, 0.7), "t3": (0.2, 0.4)},
        "B": {"t1": (0.7, 0.7), "t2": (0.6, 0.6), "t3": (0.3, 0.5)},
        "C": {"t1": (0.6, 0.6), "t2": (0.9, 0.9), "t3": (0.5, 0.5)},
    }.items()
    for task, values in tasks.items()
    for seed, value in enumerate(values)
]
HIGHER = {"t1": True, "t2": True, "t3": False}


def table(rows=ROWS, higher=HIGHER):
    return ScoreTable.from_rows(rows, higher)


def random_table(values, higher=None):
    a, t, s = values.shape
    names = tuple(f"a{i}" for i in range(a))
    return ScoreTable(names, tuple(f"t{i}" for i in range(t)), tuple(range(s)), values, higher or (True,) * t)


def test_a_table_by_hand():
    means = mean_ranks(table())
    assert means == pytest.approx({"A": 4.5 / 3, "B": 6.5 / 3, "C": 7 / 3})
    intervals = rank_intervals(table(), seed=0)
    assert [i.place for i in intervals.values()] == [1, 2, 3]
    assert all(i.low <= i.place <= i.high and i.determined for i in intervals.values())
    # Drawing t2 alone (probability 1/27 > 2.5 %) makes C first and leaves B last or tied second.
    assert intervals["C"].low == 1
    assert intervals["A"].low == 1
    assert set(tied_for_first(intervals)) >= {"A", "C"}


def test_ranks_of_single_seeds_share_ties():
    ranks = task_ranks(table())
    assert ranks.shape == (3, 3, 2)
    assert ranks[:, 1, 0].tolist() == [3, 2, 1]  # .5 .6 .9
    assert ranks[:, 2, 1].tolist() == [1, 2.5, 2.5]  # .4 .5 .5, lower is better


def test_algorithms_that_tie_share_their_place():
    rows = [(a, t, 0, v) for t in "xyz" for a, v in (("p", 0.5), ("q", 0.5), ("r", 0.1))]
    intervals = rank_intervals(table(rows, dict.fromkeys("xyz", True)), seed=0)
    assert [(i.place, i.low, i.high) for i in intervals.values()] == [(1, 1, 1), (1, 1, 1), (3, 3, 3)]
    assert tied_for_first(intervals) == ("p", "q")


def test_the_order_of_additions_breaks_no_tie():
    rows = [("p", "t", s, v) for s, v in enumerate((0.1, 0.2, 0.3))]
    rows += [("q", "t", s, v) for s, v in enumerate((0.3, 0.2, 0.1))]
    assert mean_ranks(table(rows, {"t": True})) == {"p": 1.5, "q": 1.5}


def test_one_task_and_one_seed_determine_nothing():
    intervals = rank_intervals(table([(a, "t", 0, i) for i, a in enumerate("abc")], {"t": True}), seed=0)
    assert [(i.place, i.low, i.high) for i in intervals.values()] == [(3, 1, 3), (2, 1, 3), (1, 1, 3)]
    assert not any(i.determined for i in intervals.values())


def test_an_algorithm_that_always_wins_is_first_alone():
    values = np.random.default_rng(0).normal(size=(5, 8, 3))
    values[2] += 100
    intervals = rank_intervals(random_table(values), seed=0)
    assert (intervals["a2"].low, intervals["a2"].high) == (1, 1)
    assert tied_for_first(intervals) == ("a2",)


def test_seeds_widen_what_tasks_alone_leave_open():
    values = np.random.default_rng(0).normal(size=(4, 1, 5))
    assert any(i.low < i.high for i in rank_intervals(random_table(values), seed=0).values())


def test_places_of_a_resample_agree_with_a_plain_loop():
    rng = np.random.default_rng(3)
    one = random_table(rng.normal(size=(4, 3, 3)))
    from fedmeki_bench.seeds import generator

    draws = generator(7, "ranks", "bootstrap")
    seeds, tasks = draws.integers(0, 3, (50, 3)), draws.integers(0, 3, (50, 3))
    places = []
    for s, t in zip(seeds, tasks, strict=True):
        means = mean_ranks(random_table(one.values[:, t][:, :, s]))
        places.append([1 + sum(other < m - 1e-9 for other in means.values()) for m in means.values()])
    low, high = np.quantile(np.array(places), [0.025, 0.975], axis=0, method="inverted_cdf")
    intervals = rank_intervals(one, seed=7, resamples=50).values()
    assert [i.low for i in intervals] == [min(x, i.place) for x, i in zip(low, intervals, strict=True)]
    assert [i.high for i in intervals] == [max(x, i.place) for x, i in zip(high, intervals, strict=True)]


scores = arrays(np.float64, (3, 4, 2), elements=st.integers(0, 20).map(lambda v: v / 20))


@settings(max_examples=25, deadline=None)
@given(scores, st.integers(-5, 5))
def test_a_constant_or_a_flipped_direction_changes_nothing(values, constant):
    plain = rank_intervals(random_table(values), seed=1, resamples=50)
    assert rank_intervals(random_table(values + constant), seed=1, resamples=50) == plain
    assert rank_intervals(random_table(-values, (False,) * 4), seed=1, resamples=50) == plain


@settings(max_examples=25, deadline=None)
@given(scores, st.permutations(range(3)))
def test_order_and_names_of_algorithms_do_not_matter(values, order):
    plain = list(rank_intervals(random_table(values), seed=1, resamples=50).values())
    moved = list(rank_intervals(random_table(values[list(order)]), seed=1, resamples=50).values())
    assert moved == [plain[i] for i in order]


@settings(max_examples=25, deadline=None)
@given(scores)
def test_ranks_of_a_task_add_up(values):
    assert np.allclose(task_ranks(random_table(values)).sum(axis=0), 6)
    assert sum(mean_ranks(random_table(values)).values()) == pytest.approx(6)


def test_rows_in_any_order_make_the_same_ranks():
    assert mean_ranks(table(ROWS[::-1])) == pytest.approx(mean_ranks(table()))
    assert table(ROWS[::-1]).algorithms == ("C", "B", "A")


def test_a_hole_a_double_and_a_nan_are_named():
    with pytest.raises(ValueError, match="missing: A / t1 / seed 0"):
        table(ROWS[1:])
    with pytest.raises(ValueError, match="given twice: A / t1 / seed 0"):
        table([*ROWS, ROWS[0]])
    with pytest.raises(ValueError, match="not finite: A / t1 / seed 0"):
        table([("A", "t1", 0, float("nan")), *ROWS[1:]])
    with pytest.raises(ValueError, match="and 3 more"):  # algorithm C and half of B: 9 cells, less one given
        table([*ROWS[:9], ("C", "t1", 0, 0.6)])
    with pytest.raises(ValueError, match="no direction for: t3"):
        table(higher={"t1": True, "t2": True})
    with pytest.raises(ValueError, match="at least one row"):
        table([])


def test_the_values_of_a_table_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        table().values[0, 0, 0] = 1
