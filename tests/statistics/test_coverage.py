"""How often the 95 % intervals hold the truth, in a population whose truth is known.

100 patients of two samples each, half of the patients positive; scores of the two algorithms share the patient's
difficulty (sd 0.7) and the sample's (0.5), differ by patient (0.4), by seed (``between``: the advantage of the first
algorithm varies) and by seed and sample (``noise``). The first algorithm separates the classes by 1.0 on average, the
second by 0.7. The figures of ``docs/statistics.md`` are those of the slow tests.
"""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

from fedmeki_bench.evaluation.metrics import AUROC, auroc, weighted_mean
from fedmeki_bench.statistics import Paired, delong, paired_difference

_spec = importlib.util.spec_from_file_location(
    "interval_coverage", Path(__file__).parents[2] / "benchmarks" / "interval_coverage.py"
)
single = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(single)

PATIENTS = 100
GROUPS = np.repeat(np.arange(PATIENTS), 2)
LABELS = GROUPS % 2


def draw(rng, seeds, between, noise):
    """One paired record per seed."""
    n = len(LABELS)
    shared = 0.7 * rng.normal(size=PATIENTS)[GROUPS] + 0.5 * rng.normal(size=n)
    apart = 0.4 * rng.normal(size=PATIENTS)[GROUPS] / 2
    records = []
    for advantage in 1.0 + between * rng.normal(size=seeds):
        a, b = (shared + sign * apart + noise * rng.normal(size=n) for sign in (1, -1))
        records.append(Paired(LABELS, GROUPS, a + advantage * LABELS, b + 0.7 * LABELS))
    return records


def truth(metric, between, noise):
    """Expected difference: AUROC of normal scores is Phi(separation / (sqrt 2 sd)), averaged over seeds."""
    if metric is weighted_mean:
        return 0.15
    variance = 0.7**2 + 0.5**2 + 0.2**2 + noise**2
    return norm.cdf(1 / math.sqrt(2 * variance + between**2)) - norm.cdf(0.7 / math.sqrt(2 * variance))


def coverage(metric, seeds, between, noise, repetitions):
    rng = np.random.default_rng([seeds, round(100 * between), round(100 * noise)])
    expected, hits = truth(metric, between, noise), 0
    for repetition in range(repetitions):
        found = paired_difference(metric, draw(rng, seeds, between, noise), seed=repetition, resamples=600)
        hits += found.low <= expected <= found.high
    return hits / repetitions


def coverage_of_delong(repetitions):
    rng = np.random.default_rng(0)
    expected, hits = truth(auroc, 0.0, 0.3), 0
    for _ in range(repetitions):
        (one,) = draw(rng, 1, 0.0, 0.3)
        found = delong(LABELS, one.a, one.b, groups=GROUPS)
        hits += found.low <= expected <= found.high
    return hits / repetitions


@pytest.mark.parametrize(("seeds", "between", "noise"), [(1, 0.0, 0.3), (5, 0.3, 0.3), (3, 1.0, 0.3)])
def test_intervals_of_differences_cover(seeds, between, noise):
    share = coverage(weighted_mean, seeds, between, noise, 200)
    assert share > 0.896  # binomial: 0.95 - 3 x 0.0178


@pytest.mark.parametrize("cell", [(40, 0.15, 0.8), (40, 0.5, 0.95), (100, 0.15, 0.95)])
def test_intervals_of_one_run_cover_where_the_bootstrap_does_not(cell):
    held, flatters, width, _ = single.measure([AUROC], cell, 300)[0]
    assert held > 93
    assert flatters < 4
    control, flattering, narrow, _ = single.measure([single.resampled(AUROC)], cell, 150, resamples=200)[0]
    assert control < 93
    assert flattering > 7
    assert narrow < width < 2.2 * narrow


def test_the_population_of_one_run_has_the_truth_that_is_claimed():
    rng = np.random.default_rng(0)
    cell = (60_000, 0.15, 0.8)
    drawn, credit = single.draw(rng, cell), single.draw(rng, cell, credit=True)
    for name, metric in single.METRICS.items():
        found = metric(*(credit if name == "partial_credit" else drawn)[:2])
        assert found == pytest.approx(single.truth(name, cell), abs=0.012), name


def test_intervals_of_delong_cover():
    assert 0.896 < coverage_of_delong(150) < 0.99


# seeds, between, noise, and the band that the settings promise: with two or three seeds whose spread is about as large
# as the patients', adding the two parts is known to be on the safe side (Behrens and Fisher).
SETTINGS = [
    (1, 0.0, 0.0, 0.93, 0.97),
    (1, 0.0, 0.3, 0.93, 0.97),
    (5, 0.0, 0.3, 0.93, 0.985),
    (5, 0.0, 1.0, 0.93, 0.985),
    (5, 0.3, 0.3, 0.93, 0.985),
    (5, 1.0, 0.3, 0.895, 0.97),
    (3, 0.0, 1.0, 0.93, 1.0),
    (3, 0.3, 0.3, 0.93, 1.0),
    (3, 1.0, 0.3, 0.895, 0.97),
    (2, 0.3, 0.3, 0.93, 1.0),
]


@pytest.mark.slow
@pytest.mark.parametrize("metric", [auroc, weighted_mean])
@pytest.mark.parametrize(("seeds", "between", "noise", "low", "high"), SETTINGS)
def test_coverage_of_differences(metric, seeds, between, noise, low, high):
    share = coverage(metric, seeds, between, noise, 1000 if metric is auroc else 2000)
    print(metric.__name__, seeds, between, noise, share)  # noqa: T201
    assert low <= share <= high


@pytest.mark.slow
def test_coverage_of_delong():
    share = coverage_of_delong(2000)
    print(share)  # noqa: T201
    assert 0.93 <= share <= 0.97


@pytest.mark.slow
@pytest.mark.parametrize("cell", single.GRID)
def test_coverage_of_one_auroc(cell):
    held, flatters, width, without = single.measure([AUROC], cell, 1500)[0]
    print(cell, held, flatters, width, without)  # noqa: T201
    assert held >= 93
    assert flatters <= 4
    assert without < 3  # one positive patient in 40 happens


@pytest.mark.slow
@pytest.mark.parametrize("cell", [c for c in single.GRID if c[0] <= 100 and c[2] >= 0.95])
def test_the_bootstrap_fails_where_few_pairs_are_wrong(cell):
    held, flatters, _, _ = single.measure([single.resampled(AUROC)], cell, 500)[0]
    print(cell, held, flatters)  # noqa: T201
    assert held < 92.5
    assert flatters > 5


@pytest.mark.slow
@pytest.mark.parametrize("patients", single.PATIENTS)
@pytest.mark.parametrize(("share", "area"), [(s, a) for s in single.POSITIVE for a in single.AREAS])
def test_coverage_of_the_other_metrics(patients, share, area):
    metrics = [m for name, m in single.METRICS.items() if name != "auroc"]
    for metric, row in zip(metrics, single.measure(metrics, (patients, share, area), 1500), strict=True):
        held, _, _, without = row
        print(metric.name, patients, share, area, *row)  # noqa: T201
        if without < 50:
            assert held >= 92.5, metric.name  # 93.5 and more but for the error of the simulation, 0.7
