"""The threshold that the validation split gives, for metrics that compare models at one specificity."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

SPECIFICITY_WANTED = 0.9
"""Share of the negatives of `valid` that must lie below the threshold of metrics that need one."""


def threshold_at(labels: ArrayLike, scores: ArrayLike, specificity: float = SPECIFICITY_WANTED) -> float | None:
    """The lowest threshold below which at least this share of the negatives lies; None without a negative.

    A score at or above it is a prediction of yes. Chosen on `valid`: on the test split it would flatter.

    Args:
        labels: (n,) of 0 and 1.
        scores: (n,) probabilities.
        specificity: the share wanted.
    """
    import numpy as np

    negative = np.sort(np.asarray(scores, dtype=np.float64)[np.asarray(labels) == 0])[::-1]
    if not len(negative):
        return None
    passed = math.floor((1 - specificity) * len(negative) + 1e-9)
    return float(np.nextafter(negative[passed], np.inf))
