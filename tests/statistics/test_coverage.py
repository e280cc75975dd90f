"""How often the 95 % intervals of one run hold the truth, in a population whose truth is known."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from fedmeki_bench.evaluation.metrics import AUROC

_spec = importlib.util.spec_from_file_location(
    "interval_coverage", Path(__file__).parents[2] / "benchmarks" / "interval_coverage.py"
)
single = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(single)


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
