"""Stability: planted effects are found, ties are ties, and the axis that turns a claim is named."""

import numpy as np
import pytest

from fedmeki_bench.statistics.perturbation import (
    World,
    judge_best,
    judge_pair,
    mean_ranks,
    moves,
    orders,
    perturbation_interval,
    turns,
)

AXES = {"partition": ("iid", "skewed"), "lr": ("0.001", "0.002"), "seed": tuple(map(str, range(10)))}


def factorial() -> list[World]:
    """All combinations of three axes."""
    return [
        World(f"{p}, {lr}, {s}", {"partition": p, "lr": lr, "seed": s})
        for p in AXES["partition"]
        for lr in AXES["lr"]
        for s in AXES["seed"]
    ]


def planted(effect, noise: float = 0.01, seed: int = 0) -> tuple[list[float], list[float], list[World]]:
    """Values of A and B in every world: B is noise, A is noise and what ``effect(world)`` adds, in its sd."""
    rng, worlds = np.random.default_rng(seed), factorial()
    b = 0.8 + noise * rng.normal(size=len(worlds))
    a = 0.8 + noise * rng.normal(size=len(worlds)) + noise * np.sqrt(2) * np.array([effect(w) for w in worlds])
    return list(map(float, a)), list(map(float, b)), worlds


def held(effect, draws: int = 100) -> float:
    """The share of worlds in which A > B holds, over many draws."""
    found = [planted(effect, seed=k)[:2] for k in range(draws)]
    words = [judge_pair(x, y) for a, b in found for x, y in zip(a, b, strict=True)]
    return words.count("held") / len(words)


def test_planted_effects_are_found():
    """A better by 3 sd holds in 99 % of worlds, A like B in half of them; the control with the sign turned fails."""
    assert held(lambda w: 3.0) >= 0.99
    assert held(lambda w: 0.0) == pytest.approx(0.5, abs=0.1)
    assert held(lambda w: -3.0) <= 0.01


def test_the_axis_that_turns_a_claim_is_named():
    """A better under one partition and worse under the other: that axis has the largest range in 99 % of draws."""
    named = []
    for seed in range(100):
        a, b, worlds = planted(lambda w: 3.0 if w.place["partition"] == "iid" else -3.0, seed=seed)
        found = turns([judge_pair(x, y) for x, y in zip(a, b, strict=True)], worlds)
        named.append(max(("partition", "lr"), key=lambda axis: found[axis].range))
        assert found["partition"].held["iid"][0] >= 18
        assert found["partition"].held["skewed"][0] <= 2
    assert named.count("partition") >= 99


def test_equal_values_are_tied_whatever_is_claimed():
    """As AUROC of 1.0 on both sides; a tolerance makes them held, a lacking number undefined."""
    assert judge_pair(1.0, 1.0) == judge_pair(1.0, 1.0, strict=False) == "tied"
    assert judge_pair(1.0, 1.0, -0.02, strict=False) == "held"
    assert judge_pair(0.90, 0.95, -0.02, strict=False) == "failed"
    assert judge_pair(None, 0.5) == "undefined"
    assert judge_best("a", {"a": 1.5, "b": 1.5, "c": 3.0}) == "tied"
    assert judge_best("a", {"a": 1.5, "b": 1.0}) == "failed"
    assert judge_best("x", {"a": 1.5, "b": 1.0}) == "undefined"


def test_mean_ranks_share_ties_and_leave_out_incomplete_rows():
    """As scipy's average ranks, over the rows that have every value."""
    from scipy.stats import rankdata

    values = {"a": [0.9, 0.5], "b": [0.8, 0.7], "c": [0.8, 0.6], "d": [0.99, None]}
    found = mean_ranks(values)
    whole = np.array([values[row] for row in "abc"], dtype=float)
    expected = rankdata(-whole, axis=0).mean(axis=1)
    assert found == pytest.approx(dict(zip("abc", expected, strict=True)))
    assert mean_ranks({}) == {}


def test_what_moves_a_number_is_its_share_of_variance():
    """A number made of two axes' effects: the shares are those of an analysis of variance, and the third has none."""
    worlds = factorial()
    effect = {"iid": 0.03, "skewed": 0.0, "0.001": 0.01, "0.002": 0.0}
    found = moves([0.7 + effect[w.place["partition"]] + effect[w.place["lr"]] for w in worlds], worlds)
    assert found["partition"].range == pytest.approx(0.03)
    assert found["partition"].share == pytest.approx(0.9)
    assert found["lr"].share == pytest.approx(0.1)
    assert found["seed"].share == pytest.approx(0.0, abs=1e-12)
    assert moves([0.7] * len(worlds), worlds)["lr"].share is None


def test_one_axis_at_a_time_is_read_at_the_base_of_the_others():
    """Worlds that move another axis do not enter an axis's values, whatever happens there."""
    worlds = [
        World("base", {"lr": "1", "seed": "0"}),
        World("lr 2", {"lr": "2", "seed": "0"}, ("lr",)),
        World("seed 1", {"lr": "1", "seed": "1"}, ("seed",)),
    ]
    found = moves([0.8, 0.7, 0.1], worlds)
    assert found["lr"].range == pytest.approx(0.1)
    assert found["lr"].share == pytest.approx(0.05**2 / (0.05**2 + 0.35**2))
    assert turns(["held", "failed", "failed"], worlds)["lr"].held == {"1": (1, 1), "2": (0, 1)}


def test_pairs_that_never_turn_keep_their_order_in_every_cell():
    """And equal cells are counted as ties; the interval is that of the values over worlds."""
    found = orders({"a": [3.0, 3.0, 3.0], "b": [2.0, 2.0, 3.0], "c": [1.0, 4.0, None]})
    assert found.kept == (0.5, 0.5, 1.0)
    assert found.tied == pytest.approx(1 / 7)
    assert found.median == 0.5
    assert perturbation_interval([0.0, 1.0, None]) == pytest.approx((0.05, 0.95))
    assert perturbation_interval([0.5]) is None
