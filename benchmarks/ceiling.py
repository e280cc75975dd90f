"""How far two models may differ in AUROC although both separate a test split's patients without error.

    python benchmarks/ceiling.py [--pairs 400000]

Prints a Markdown table: the standard deviation of the difference of such models' AUROCs beside the formula that a
leaderboard uses for it. AUROCs are drawn from 0.8 to 1; the two models' scores are normal and share 60 % of their
variance; a patient is one sample.
"""

from __future__ import annotations

import argparse
import math

import numpy as np
from scipy.stats import norm

SHARED = 0.6
AT_ONCE = 2000
SPLITS = ((6, 34), (13, 27), (20, 20), (15, 85), (50, 50))


def difference_at_ceiling(positives: int, negatives: int, pairs: int) -> tuple[float, int]:
    """Standard deviation of the difference of their AUROCs, over how many pairs of models that are without error."""
    rng = np.random.default_rng([positives, negatives])
    found: list[float] = []
    for _ in range(max(1, pairs // AT_ONCE)):
        areas = rng.uniform(0.8, 1, (AT_ONCE, 2))
        above, below = (
            math.sqrt(SHARED) * rng.normal(size=(AT_ONCE, 1, n))
            + math.sqrt(1 - SHARED) * rng.normal(size=(AT_ONCE, 2, n))
            for n in (positives, negatives)
        )
        shift = math.sqrt(2) * norm.ppf(areas)
        perfect = (above.min(axis=2) + shift > below.max(axis=2)).all(axis=1)
        found += (areas[perfect, 0] - areas[perfect, 1]).tolist()
    return (float(np.std(found)) if found else math.nan), len(found)


def formula(positives: int, negatives: int) -> float:
    """What a leaderboard takes it for."""
    return (1 / positives + 1 / negatives) / 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=400_000, help="pairs of models that are tried")
    options = parser.parse_args()
    print("| positive patients | negative | SD of the difference | formula | pairs without error |")
    print("|---|---|---|---|---|")
    for split in SPLITS:
        sd, found = difference_at_ceiling(*split, options.pairs)
        print(f"| {split[0]} | {split[1]} | {sd:.4f} | {formula(*split):.4f} | {found} |", flush=True)


if __name__ == "__main__":
    main()
