from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fedmeki_bench.statistics.places import Place, may_be_best, places


def test_places_by_hand():
    means = {"a": 0.9, "b": 0.8, "c": 0.8, "d": 0.5}
    found = places(means, [("a", "d"), ("b", "d"), ("a", "c")])
    assert found == {"a": Place(1, 1, 2), "b": Place(2, 1, 3), "c": Place(2, 2, 4), "d": Place(4, 3, 4)}
    assert may_be_best(found) == ("a", "b")


def test_where_nothing_is_certain_every_row_may_stand_anywhere():
    found = places(dict.fromkeys("abc", 0.7), [])
    assert set(found.values()) == {Place(1, 1, 3)}
    assert may_be_best(found) == ("a", "b", "c")


def test_a_full_order_leaves_one_place_each():
    rows = "abcd"
    means = {row: -float(i) for i, row in enumerate(rows)}
    certain = [(a, b) for i, a in enumerate(rows) for b in rows[i + 1 :]]
    found = places(means, certain)
    assert [(p.place, p.low, p.high) for p in found.values()] == [(i, i, i) for i in range(1, 5)]
    assert may_be_best(found) == ("a",)


def test_twins_share_their_place():
    means = {"a": 0.9, "b": 0.6, "twin of b": 0.6, "c": 0.3}
    twins = {"twin of b": "b"}
    found = places(means, [("a", "b"), ("b", "c")], twins)
    assert found["b"] == found["twin of b"] == Place(2, 2, 3)
    assert found["a"] == Place(1, 1, 2)  # better than both of them
    assert found["c"] == Place(4, 3, 4)  # worse than both of them
    assert places(means, [("a", "b"), ("b", "c")])["twin of b"] == Place(2, 1, 4)  # without knowing of it


@given(
    values=st.lists(st.integers(0, 5), min_size=1, max_size=8),
    drawn=st.randoms(use_true_random=False),
)
def test_some_row_may_always_be_best_and_its_place_is_possible(values, drawn):
    means = {f"r{i}": float(v) for i, v in enumerate(values)}
    certain = [(a, b) for a in means for b in means if means[a] > means[b] and drawn.random() < 0.5]
    found = places(means, certain)
    best = may_be_best(found)
    assert best
    assert all(row in best for row, p in found.items() if p.place == 1)
    assert all(1 <= p.low <= p.place <= p.high <= len(means) for p in found.values())
    assert not {row for _, row in certain} & set(best)
