"""Measures of continual learning, by hand and by simulation."""

from __future__ import annotations

import numpy as np
import pytest

from fedmeki_bench.statistics.continual import (
    differences,
    estimates,
    measured,
    measures,
    placed,
    weights_of,
)
from fedmeki_bench.statistics.crossed import Crossed
from fedmeki_bench.statistics.influence import mean_influence

R = np.array([
    [0.50, 0.40, 0.60],  # untrained
    [0.90, 0.45, 0.55],
    [0.70, 0.80, 0.65],
    [0.60, 0.85, 0.95],
])  # fmt: skip


def test_the_measures_of_three_tasks_by_hand():
    found = measures(R)
    assert found["accuracy"] == pytest.approx((0.60 + 0.85 + 0.95) / 3)
    assert found["forgetting"] == pytest.approx(((0.90 - 0.60) + (0.80 - 0.85)) / 2)
    assert found["backward"] == pytest.approx(((0.60 - 0.90) + (0.85 - 0.80)) / 2)
    assert found["forward"] == pytest.approx(((0.45 - 0.40) + (0.65 - 0.60)) / 2)


def test_forgetting_is_from_the_best_phase_and_not_from_the_task_s_own():
    later = R.copy()
    later[2, 0] = 0.95  # the second phase helped the first task
    assert measures(later)["forgetting"] - measures(R)["forgetting"] == pytest.approx(0.05 / 2)
    assert measures(later)["backward"] == measures(R)["backward"]


def test_a_single_task_has_nothing_to_forget():
    assert measures(np.array([[0.5], [0.9]])) == {"accuracy": 0.9, "forgetting": 0, "backward": 0, "forward": 0}


def test_weights_stand_where_the_states_are():
    found = placed(weights_of(R), [4, 0, 1, 3], 5)
    cells = np.zeros((5, 3))
    cells[[4, 0, 1, 3]] = R
    assert {name: float((w * cells.T).sum()) for name, w in found.items()} == pytest.approx(measures(R))


def simulated(rng, *, patients, seeds, seed_sd, shared=0.0):
    """Two tasks, three states each under ``seeds`` seeds: values of a mean over patients, and their influences.

    A patient is hard or easy in all states alike, by ``shared`` of the variance.
    """
    truth = np.array([[0.5, 0.9, 0.6], [0.4, 0.5, 0.9]])  # task, state
    tables, names = [], []
    for j in range(2):
        common = rng.normal(size=patients) * np.sqrt(shared)
        values, influences = np.empty((3, seeds)), np.empty((3, seeds, patients))
        for k in range(3):
            own = rng.normal(size=patients) * np.sqrt(1 - shared)  # of the state, the same under every seed
            for s in range(seeds):
                x = truth[j, k] + 0.3 * (common + own) + rng.normal(0, seed_sd)
                values[k, s] = x.mean()
                influences[k, s] = mean_influence(np.zeros(patients), x, np.arange(patients), patients)
        tables.append(Crossed(values, influences, np.zeros(patients, dtype=int), np.zeros(3)))
        names.append([f"{j} {p}" for p in range(patients)])
    return truth, tables, names


@pytest.mark.parametrize(("seeds", "seed_sd"), [(1, 0.0), (3, 0.0), (3, 0.05)])
@pytest.mark.parametrize("shared", [0.0, 0.8])
def test_intervals_hold_the_truth_as_often_as_they_say(seeds, seed_sd, shared):
    rng, held, n = np.random.default_rng(0), {}, 400
    for _ in range(n):
        truth, tables, names = simulated(rng, patients=40, seeds=seeds, seed_sd=seed_sd, shared=shared)
        true = measures(truth.T)
        every = [placed(weights_of(np.array([t.values[:, s] for t in tables]).T), [0, 1, 2], 3) for s in range(seeds)]
        weights = {name: np.stack([one[name] for one in every], axis=2) for name in true}
        data = measured(tables, names, list(weights.values()))
        for name, found in zip(weights, estimates(data), strict=True):
            held[name] = held.get(name, 0) + (found.low <= true[name] <= found.high)
        (gap,) = differences(data, [(0, 1)])
        assert gap.value == pytest.approx(data.values[0].mean() - data.values[1].mean())
    least = 0.92 if seed_sd == 0.0 else 0.91
    assert all(least * n <= count for count in held.values()), held
    if seed_sd == 0.0:
        assert all(count <= 0.98 * n for count in held.values()), held


def test_the_control_patients_that_are_not_paired_make_intervals_too_wide():
    """A patient who is hard before and after says nothing of forgetting; drawn apart, the two would."""
    rng = np.random.default_rng(1)
    truth, tables, names = simulated(rng, patients=60, seeds=1, seed_sd=0.0, shared=0.9)
    weights = placed(weights_of(truth.T), [0, 1, 2], 3)["forgetting"][:, :, None]
    (paired,) = estimates(measured(tables, names, [weights]))
    tables[0].influences[1] = np.roll(tables[0].influences[1], 1, axis=-1)
    (apart,) = estimates(measured(tables, names, [weights]))
    assert apart.value == paired.value
    assert apart.high - apart.low > 2 * (paired.high - paired.low)


def test_a_patient_of_both_tasks_counts_once():
    rng = np.random.default_rng(2)
    _, tables, names = simulated(rng, patients=50, seeds=1, seed_sd=0.0)
    same = [tables[0], tables[0]]
    weights = np.zeros((2, 3, 1))
    weights[:, 2] = 0.5  # the accuracy
    (once,) = estimates(measured(same, [names[0], names[0]], [weights]))
    (twice,) = estimates(measured(same, names, [weights]))
    assert once.high - once.low == pytest.approx(np.sqrt(2) * (twice.high - twice.low), rel=0.05)
