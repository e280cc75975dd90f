from __future__ import annotations

import math
import shutil
import subprocess

import numpy as np
import pytest
from asah_data import ASAH

from fedmeki_bench.evaluation.metrics import AUROC, accuracy, auprc, auroc, brier_skill, f1, mcc
from fedmeki_bench.statistics import influence
from fedmeki_bench.statistics.influence import (
    auprc_influence,
    auroc_influence,
    brier_skill_influence,
    jackknife,
    mean_influence,
)


def sample(patients=30, mixed=False, seed=0, each=4):
    """Labels, two models' scores (with ties) and patients of 1 to ``each`` samples."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(patients), rng.integers(1, each + 1, patients))
    y = rng.integers(0, 2, len(group)) if mixed else (np.arange(patients) % 3 == 0).astype(int)[group]
    shared = rng.normal(size=patients)[group]
    a, b = (np.round(shared + m * y + rng.normal(size=len(y)), 1) for m in (1.0, 0.7))
    order = rng.permutation(len(y))
    return y[order], a[order], b[order], group[order]


def by_pairs(y, s, group):
    """The clustered variance of an AUROC from all pairs, as Obuchowski (1997) writes it, and its cross term."""
    positive, negative = np.flatnonzero(y == 1), np.flatnonzero(y == 0)
    wins = np.array([[float(s[i] > s[j]) + 0.5 * float(s[i] == s[j]) for j in negative] for i in positive])
    area = wins.mean()
    totals = []
    for rows, placements in ((positive, wins.mean(axis=1)), (negative, wins.mean(axis=0))):
        per_patient = {}
        for row, place in zip(rows, placements, strict=True):
            per_patient[group[row]] = per_patient.get(group[row], 0.0) + (place - area) / len(rows)
        totals.append(per_patient)
    ten, one = (len(t) / (len(t) - 1) * sum(v * v for v in t.values()) for t in totals)
    both = sum(totals[0][p] * totals[1][p] for p in totals[0].keys() & totals[1].keys())
    return ten + one, both


def test_an_auroc_has_the_variance_of_all_pairs():
    y, s, _, group = sample()
    u = auroc_influence(y, s, group, 30)
    apart, both = by_pairs(y, s, group)
    assert both == 0  # a patient has one label here
    assert u @ u == pytest.approx(apart, rel=1e-12)


def test_patients_with_both_labels_count_the_covariance():
    y, s, _, group = sample(mixed=True)
    u = auroc_influence(y, s, group, 30)
    apart, both = by_pairs(y, s, group)
    assert abs(both) > 0.1 * apart
    assert u @ u == pytest.approx(apart + 2 * both * 30 / 29, rel=0.02)
    assert u @ u != pytest.approx(apart, rel=0.05)


def test_the_worked_example_of_proc():
    # pROC, documentation of roc.test on aSAH, outcome ~ wfns against outcome ~ s100b, method delong, paired.
    y, a, b = np.array(ASAH).T
    each = np.arange(len(y))
    u = auroc_influence(y, a, each, len(y)) - auroc_influence(y, b, each, len(y))
    assert (AUROC(y, a) - AUROC(y, b)) / math.sqrt(u @ u) == pytest.approx(2.209, abs=5e-4)


def test_ungrouped_is_not_the_same():
    y, s, _, group = sample(60)
    alone = auroc_influence(y, s, np.arange(len(y)), len(y))
    u = auroc_influence(y, s, group, 60)
    assert u @ u > 1.3 * (alone @ alone)


@pytest.mark.skipif(shutil.which("Rscript") is None, reason="R is not installed")
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_variances_are_those_of_proc(tmp_path, seed):
    y, a, b, _ = sample(80, seed=seed, each=1)
    np.savetxt(tmp_path / "scores.csv", np.column_stack([y, a, b]), delimiter=",")
    script = """
        suppressMessages(if (!require(pROC, quietly = TRUE)) quit(status = 77))
        d <- read.csv("scores.csv", header = FALSE)
        a <- roc(d$V1, d$V2, direction = "<", quiet = TRUE); b <- roc(d$V1, d$V3, direction = "<", quiet = TRUE)
        z <- roc.test(a, b, paired = TRUE, method = "delong")$statistic
        cat(sprintf("%.17g", c(var(a), as.numeric(auc(a)) - as.numeric(auc(b)), z)))
    """
    (tmp_path / "oracle.R").write_text(script)
    done = subprocess.run(
        ["Rscript", "--vanilla", "oracle.R"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    if done.returncode == 77:
        pytest.skip("R has no package pROC")
    assert done.returncode == 0, done.stderr
    variance, difference, z = map(float, done.stdout.split())
    one, other = (auroc_influence(y, s, np.arange(80), 80) for s in (a, b))
    assert one @ one == pytest.approx(variance, abs=1e-8, rel=1e-8)
    apart = one - other
    assert difference / math.sqrt(apart @ apart) == pytest.approx(z, rel=1e-8)


def test_a_mean_by_hand():
    values, group = np.array([1.0, 0.0, 1.0, math.nan, 0.5]), np.array([0, 0, 1, 1, 2])
    # Mean 0.625 of four values; patients' sums of deviations -0.25, 0.375, -0.125; three patients.
    expected = math.sqrt(3 / 2) * np.array([-0.25, 0.375, -0.125]) / 4
    assert mean_influence(np.zeros(5), values, group, 3) == pytest.approx(expected)
    one_each = np.array([0.2, 0.9, 0.4, 0.7])
    u = mean_influence(np.zeros(4), one_each, np.arange(4), 4)
    assert u @ u == pytest.approx(one_each.var(ddof=1) / 4)


@pytest.mark.parametrize("chunk", [500_000, 7])
@pytest.mark.parametrize("metric", [f1, mcc, accuracy, auroc])
def test_the_jackknife_by_hand(metric, chunk, monkeypatch):
    monkeypatch.setattr(influence, "CHUNK_ELEMENTS", chunk)
    y, s, _, group = sample(mixed=True)
    s = np.clip(s / 6 + 0.5, 0, 1)
    without = np.array(
        [metric(y[group != p], s[group != p], np.ones((1, int((group != p).sum()))))[0] for p in range(30)]
    )
    expected = math.sqrt(29 / 30) * (without.mean() - without)
    assert jackknife(metric, y, s, group, 30) == pytest.approx(expected, abs=1e-13)


@pytest.mark.parametrize(("metric", "found"), [(auprc, auprc_influence), (brier_skill, brier_skill_influence)])
def test_influences_are_the_derivatives_of_the_metric(metric, found):
    y, s, _, group = sample(mixed=True)
    s = np.clip(s / 6 + 0.5, 0, 1)
    step = 1e-5
    up, down = (np.ones((30, len(y))) + sign * step * (group == np.arange(30)[:, None]) for sign in (1, -1))
    slope = (metric(y, s, up) - metric(y, s, down)) / (2 * step)
    assert found(y, s, group, 30) == pytest.approx(math.sqrt(30 / 29) * slope, abs=1e-9)
    by_leaving_out = jackknife(metric, y, s, group, 30)
    assert np.corrcoef(by_leaving_out, found(y, s, group, 30))[0, 1] > 0.98


def test_undefined_is_nan_and_absent_patients_have_no_influence():
    y, s, group = np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.3, 0.9]), np.array([0, 1, 2, 2])
    nothing = [
        auroc_influence(y, s, group, 3),  # one patient has all the positives
        auroc_influence(np.ones(4), s, group, 3),
        auprc_influence(np.zeros(4), s, group, 3),
        auprc_influence(y, s, np.zeros(4, int), 1),
        brier_skill_influence(np.ones(4), s, group, 3),
        mean_influence(y, s, np.zeros(4, int), 1),
        jackknife(f1, y, s, group, 3),  # without that patient there is no positive
    ]
    for u in nothing:
        assert np.isnan(u).all()
    u = mean_influence(y, s, np.array([0, 2, 4, 4]), 6)
    assert (u[[1, 3, 5]] == 0).all()
    assert np.isfinite(u).all()
