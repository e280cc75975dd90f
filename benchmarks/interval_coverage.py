"""How often the 95 % interval of one run's metric holds the truth, in a population whose truth is known.

    python benchmarks/interval_coverage.py [--repetitions 2000] [--control 500] [--metrics auroc recall ...]

Prints Markdown tables: the AUROC's coverage per cell beside that of the percentile bootstrap (the control), then the
lowest coverage of every other metric. A patient is positive with the share given and has 1 to 5 samples; a score is the
class's mean plus a patient's deviation (60 % of the variance) plus the sample's own, all normal, as a probability of a
model that was trained on as many positives as negatives. So the AUROC of a random positive against a random negative
sample is Phi(separation / sqrt 2), and recall and specificity are both Phi(separation / 2).
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import product

import numpy as np
from scipy.special import expit
from scipy.stats import norm

from fedmeki_bench.evaluation.intervals import Estimate, estimate
from fedmeki_bench.evaluation.metrics import AUROC, BUILT_IN, MetricSpec, weighted_mean

PATIENTS, POSITIVE, AREAS = (40, 100, 200), (0.15, 0.5), (0.6, 0.8, 0.95, 0.99)
GRID = tuple(product(PATIENTS, POSITIVE, AREAS))
OF_PATIENT = 0.6
MOST_SAMPLES = 5

CREDIT = MetricSpec(
    name="partial_credit", version=1, title="Partial credit", definition="Mean of values between 0 and 1.",
    direction="higher", range=(0.0, 1.0), kinds=("generation",), needs="score", function=weighted_mean, interval="mean",
)  # fmt: skip
"""What a metric of generated text is to an interval: a third of the answers worth 0 or 1 each, the others between."""

METRICS = {name: m for name, m in BUILT_IN.items() if m.interval != "none" and m.needs != "threshold"}
METRICS[CREDIT.name] = CREDIT

Cell = tuple[int, float, float]
Drawn = tuple[np.ndarray, np.ndarray, np.ndarray]


def separation(area: float) -> float:
    return math.sqrt(2) * float(norm.ppf(area))


def draw(rng: np.random.Generator, cell: Cell, *, credit: bool = False) -> Drawn:
    """Labels, scores and patients of one test split with both classes."""
    patients, share, area = cell
    positive = np.zeros(patients, dtype=bool)
    while positive.all() or not positive.any():
        positive = rng.random(patients) < share
    of = np.repeat(np.arange(patients), rng.integers(1, MOST_SAMPLES + 1, patients))
    labels = positive[of].astype(int)
    own = math.sqrt(1 - OF_PATIENT) * rng.normal(size=len(of))
    latent = math.sqrt(OF_PATIENT) * rng.normal(size=patients)[of] + own
    if credit:
        return labels, credited(latent, area), of
    apart = separation(area)
    return labels, expit(apart * (latent + apart * labels - apart / 2)), of


def credited(latent: np.ndarray, area: float) -> np.ndarray:
    """Values in [0, 1], better the larger ``area``, about a third of them at an end."""
    return np.clip(1.5 * norm.cdf(latent + separation(area) - 1) - 0.25, 0, 1)


def truth(name: str, cell: Cell) -> float:
    """The metric on infinitely many patients."""
    _, share, area = cell
    apart = separation(area)
    right = float(norm.cdf(apart / 2))
    x = np.linspace(-10, 10 + apart, 40_001)
    step = x[1] - x[0]
    of_positive, of_negative = norm.pdf(x - apart) * step, norm.pdf(x) * step
    found, alarms = share * right, (1 - share) * (1 - right)
    score = expit(apart * (x - apart / 2))
    brier = share * float(of_positive @ (1 - score) ** 2) + (1 - share) * float(of_negative @ score**2)
    above, above_negative = share * norm.sf(x - apart), (1 - share) * norm.sf(x)
    flagged = found + alarms
    values = {
        "auroc": area,
        "auprc": float(of_positive @ (above / np.maximum(above + above_negative, 1e-300))),
        "precision": found / flagged,
        "f1": 2 * found / (flagged + share),
        "mcc": (found - flagged * share) / math.sqrt(flagged * (1 - flagged) * share * (1 - share)),
        "brier": brier,
        "brier_skill": 1 - brier / (share * (1 - share)),
        "partial_credit": float(of_negative @ credited(x, area)),
    }
    return values.get(name, right)


def measure(metrics: Sequence[MetricSpec], cell: Cell, repetitions: int, *, resamples: int = 1000) -> np.ndarray:
    """(metrics, 4): per cent covered, per cent that flatters, mean width, per cent without an interval.

    An interval flatters if the truth lies on its worse side: below it, or above it where lower is better. The first
    three are over test splits with an interval.
    """
    patients, share, area = cell
    rng = np.random.default_rng([patients, round(100 * share), round(100 * area)])
    wanted = [truth(m.name, cell) for m in metrics]
    bounds = np.empty((repetitions, len(metrics), 2))
    credit = [m for m in metrics if m.name == CREDIT.name]
    others = [m for m in metrics if m.name != CREDIT.name]
    for repetition in range(repetitions):
        found: dict[str, Estimate] = {}
        for group, kind in ((others, False), (credit, True)):
            if group:
                drawn = draw(rng, cell, credit=kind)
                found |= estimate(*drawn, group, seed=repetition, resamples=resamples)
        bounds[repetition] = [(found[m.name].low, found[m.name].high) for m in metrics]
    rows = []
    for i, metric in enumerate(metrics):
        low, high = bounds[np.isfinite(bounds[:, i]).all(axis=1), i].T
        if not len(low):
            rows.append((math.nan, math.nan, math.nan, 100.0))
            continue
        worse = wanted[i] < low if metric.direction == "higher" else wanted[i] > high
        held = (low <= wanted[i]) & (wanted[i] <= high)
        rows.append((100 * held.mean(), 100 * worse.mean(), (high - low).mean(), 100 * (1 - len(low) / repetitions)))
    return np.array(rows)


def resampled(metric: MetricSpec) -> MetricSpec:
    """The metric with the percentile bootstrap as its interval."""
    return replace(metric, interval="resampled")


def auroc_table(repetitions: int, control: int) -> Iterator[str]:
    yield "| patients | positive | AUROC | held | flatters | width | bootstrap: held | flatters | width |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for cell in GRID:
        ours = measure([AUROC], cell, repetitions)[0]
        theirs = measure([resampled(AUROC)], cell, control)[0]
        numbers = " | ".join(
            f"{held:.1f} | {flatters:.1f} | {width:.3f}" for held, flatters, width, _ in (ours, theirs)
        )
        yield f"| {cell[0]} | {100 * cell[1]:.0f} % | {cell[2]:.2f} | {numbers} |"


def metrics_table(metrics: Sequence[MetricSpec], repetitions: int) -> Iterator[str]:
    """Lowest coverage over the grid, where at least half of the test splits have an interval."""
    found = np.array([measure(metrics, cell, repetitions) for cell in GRID])
    yield "| metric | held, lowest | in | held, median | flatters, most | width, mean | none at 40 patients |"
    yield "|---|---|---|---|---|---|---|"
    for i, metric in enumerate(metrics):
        held, flatters, width, without = found[:, i].T
        enough = without < 50
        lowest = min((h, cell) for h, cell, e in zip(held, GRID, enough, strict=True) if e)
        small = [w for w, cell in zip(without, GRID, strict=True) if cell[0] == min(PATIENTS)]
        patients, share, area = lowest[1]
        yield (
            f"| {metric.name} | {lowest[0]:.1f} | {patients}, {100 * share:.0f} %, {area:.2f} | "
            f"{np.median(held[enough]):.1f} | {flatters[enough].max():.1f} | {width[enough].mean():.3f} | "
            f"{min(small):.0f} to {max(small):.0f} % |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=2000)
    parser.add_argument("--control", type=int, default=500, help="repetitions of the percentile bootstrap")
    parser.add_argument("--metrics", nargs="*", choices=sorted(METRICS), default=list(METRICS))
    options = parser.parse_args()
    tables: list[Callable[[], Iterator[str]]] = []
    if "auroc" in options.metrics:
        tables.append(lambda: auroc_table(options.repetitions, options.control))
    others = [METRICS[name] for name in options.metrics if name != "auroc"]
    if others:
        tables.append(lambda: metrics_table(others, options.repetitions))
    for table in tables:
        for line in table():
            print(line, flush=True)
        print()


if __name__ == "__main__":
    main()
