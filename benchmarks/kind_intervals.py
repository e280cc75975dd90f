"""How often the 95 % intervals of classes, levels, findings and numbers hold the truth.

    python benchmarks/kind_intervals.py [--repetitions 500]

Prints a Markdown table: per metric the lowest coverage over the grid beside that of the percentile bootstrap on the
same test splits (the control). A patient has 1 to 5 samples with one label; scores are the label's mean plus a
patient's deviation (60 % of the variance) plus the sample's own. The truth is the metric on 200,000 patients.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import numpy as np
from scipy.special import expit, softmax

from fedmeki_bench import registry
from fedmeki_bench.evaluation.intervals import estimate
from fedmeki_bench.evaluation.metric_spec import MetricSpec

PATIENTS, STRENGTHS = (60, 150, 400), (0.8, 1.6, 2.6)
GRID = tuple(product(PATIENTS, STRENGTHS))
SHARES = (0.5, 0.3, 0.2)
FINDINGS = (0.5, 0.3, 0.15)
OF_PATIENT, MOST_SAMPLES, POPULATION = 0.6, 5, 200_000
WANTED = {
    "multiclass": ("auroc_macro", "auprc_macro", "top1", "balanced_accuracy_macro", "f1_macro"),
    "ordinal": ("kappa_quadratic", "level_error"),
    "multilabel": ("auroc_macro", "auprc_macro", "f1_macro", "f1_micro"),
    "regression": ("mae", "rmse", "r2", "pearson"),
}
Drawn = tuple[np.ndarray, np.ndarray, np.ndarray]


def noise(rng: np.random.Generator, of: np.ndarray, patients: int, wide: int) -> np.ndarray:
    """(samples, wide) of unit variance, a part of it shared by the samples of a patient."""
    shared = np.sqrt(OF_PATIENT) * rng.normal(size=(patients, wide))[of]
    return shared + np.sqrt(1 - OF_PATIENT) * rng.normal(size=(len(of), wide))


def draw(kind: str, rng: np.random.Generator, patients: int, strength: float) -> Drawn:
    """Labels, scores and patients of one test split."""
    of = np.repeat(np.arange(patients), rng.integers(1, MOST_SAMPLES + 1, patients))
    if kind == "regression":
        labels = rng.normal(50, 15, patients)[of]
        return labels, labels + 15 / strength * noise(rng, of, patients, 1)[:, 0], of
    if kind == "multilabel":
        labels = (rng.random((patients, len(FINDINGS))) < FINDINGS)[of].astype(float)
        scores = expit(strength * (labels - 0.5) + noise(rng, of, patients, len(FINDINGS)))
        labels[rng.random(labels.shape) < 0.1] = np.nan
        return labels, scores, of
    labels = rng.choice(len(SHARES), patients, p=SHARES)[of]
    if kind == "ordinal":
        place = labels + noise(rng, of, patients, 1)[:, 0] / strength
        return labels, softmax(-2 * strength * (place[:, None] - np.arange(len(SHARES))) ** 2, axis=1), of
    return labels, softmax(strength * np.eye(len(SHARES))[labels] + noise(rng, of, patients, len(SHARES)), axis=1), of


def truth(kind: str, strength: float, metrics: list[MetricSpec]) -> list[float]:
    labels, scores, _ = draw(kind, np.random.default_rng(1), POPULATION, strength)
    return [metric(labels, scores) for metric in metrics]


def rows(kind: str, repetitions: int) -> Iterator[str]:
    metrics = [registry.load("metrics", name) for name in WANTED[kind]]
    plain = [replace(metric, interval="resampled") for metric in metrics]
    held = np.full((len(GRID), 2, len(metrics)), np.nan)
    given = np.full((len(GRID), len(metrics)), np.nan)
    for at, (patients, strength) in enumerate(GRID):
        wanted = truth(kind, strength, metrics)
        rng = np.random.default_rng([patients, round(10 * strength)])
        inside = np.full((repetitions, 2, len(metrics)), np.nan)
        for repetition in range(repetitions):
            labels, scores, of = draw(kind, rng, patients, strength)
            stacked = scores[None]
            for which, specs in enumerate((metrics, plain)):
                found = estimate(labels, stacked, of, specs, seed=repetition, resamples=400)
                for k, metric in enumerate(metrics):
                    one = found[metric.name]
                    if one.low == one.low:
                        inside[repetition, which, k] = one.low <= wanted[k] <= one.high
        given[at] = np.isfinite(inside[:, 0]).mean(axis=0)
        with warnings.catch_warnings():  # a cell without an interval has no share; it stays NaN
            warnings.simplefilter("ignore", RuntimeWarning)
            held[at] = 100 * np.nanmean(inside, axis=0)
    for k, metric in enumerate(metrics):
        enough = given[:, k] >= 0.5
        worst = int(np.nanargmin(np.where(enough, held[:, 0, k], np.nan)))
        ours, theirs = held[enough, 0, k], held[enough, 1, k]
        smallest = [g for g, (n, _) in zip(given[:, k], GRID, strict=True) if n == min(PATIENTS)]
        yield (
            f"| {kind} | {metric.name} | {ours.min():.1f} | {GRID[worst][0]}, {GRID[worst][1]} | "
            f"{np.median(ours):.1f} | {theirs.min():.1f} | {np.median(theirs):.1f} | "
            f"{100 * (1 - max(smallest)):.0f} to {100 * (1 - min(smallest)):.0f} % |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=500)
    parser.add_argument("--kinds", nargs="*", choices=sorted(WANTED), default=list(WANTED))
    options = parser.parse_args()
    print("| kind | metric | held, lowest | in | held, median | bootstrap: lowest | median | none at 60 patients |")
    print("|---|---|---|---|---|---|---|---|")
    for kind in options.kinds:
        for line in rows(kind, options.repetitions):
            print(line, flush=True)


if __name__ == "__main__":
    main()
