"""Two AUROCs on the same patients compared without resampling."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.floating[Any]]

_ZERO = 1e-28
"""A variance below this is rounding: one changed pair among 10^12 gives more."""


@dataclass(frozen=True, slots=True)
class DeLong:
    """Two correlated AUROCs and their difference.

    Attributes:
        auc_a: area under the curve of the first scores.
        auc_b: of the second.
        difference: ``auc_a - auc_b``.
        se: standard error of the difference; NaN where it is not determined.
        z: ``difference / se``.
        p: two-sided p under the normal distribution.
        low: lower end of the interval of the difference.
        high: its upper end.
    """

    auc_a: float
    auc_b: float
    difference: float
    se: float
    z: float
    p: float
    low: float
    high: float


def delong(
    labels: ArrayLike, a: ArrayLike, b: ArrayLike, groups: ArrayLike | None = None, level: float = 0.95
) -> DeLong:
    """DeLong's test of two AUROCs on the same samples (DeLong et al. 1988), by midranks (Sun and Xu 2014, Algorithm 2).

    With ``groups`` the samples of a patient may depend on each other (Obuchowski 1997, section 2); one sample
    per patient gives DeLong's variance again. It speaks of these two trained models and other patients, not of other
    seeds.

    No variance is left where all components agree. Equal areas then have z = 0, p = 1 and an interval of width 0;
    unequal ones (one model separates the classes, the other reverses them) have NaN for z, p and interval, because the
    normal approximation says nothing there. So have samples with a single positive or negative (or, with ``groups``,
    only one patient that has one), whose ``se`` is NaN too.

    Args:
        labels: (n,) of 0 and 1.
        a: (n,) scores of the first model, any scale.
        b: (n,) scores of the second.
        groups: (n,) patient of each sample.
        level: mass of the interval.

    Raises:
        ValueError: shapes that do not fit, labels other than 0 and 1, one class only, scores that are not finite.
    """
    import numpy as np
    from scipy.stats import norm

    y = np.asarray(labels)
    scores = [np.asarray(s, dtype=np.float64) for s in (a, b)]
    ids = np.arange(len(y)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    if any(array.shape != (len(y),) for array in (*scores, ids)):
        raise ValueError("labels, both scores and groups must be of one length")
    if not np.isin(y, (0, 1)).all():
        raise ValueError("labels must be 0 or 1")
    if not all(np.isfinite(s).all() for s in scores):
        raise ValueError("scores must be finite")
    positive = y == 1
    if positive.all() or not positive.any():
        raise ValueError("an AUROC needs samples of both classes")
    of_a, of_b = (_placements(s, positive) for s in scores)
    auc_a, auc_b = float(of_a[positive].mean()), float(of_b[positive].mean())
    difference = auc_a - auc_b
    variance = _variance((of_a - auc_a) - (of_b - auc_b), positive, ids)
    if math.isnan(variance):
        se = z = p = half = math.nan
    elif variance > _ZERO:
        se = math.sqrt(variance)
        z = difference / se
        p = float(2 * norm.sf(abs(z)))
        half = float(norm.ppf((1 + level) / 2)) * se
    else:
        same = abs(difference) < math.sqrt(_ZERO)
        se, z, p, half = (0.0, 0.0, 1.0, 0.0) if same else (0.0, math.nan, math.nan, math.nan)
    return DeLong(auc_a, auc_b, difference, se, z, p, difference - half, difference + half)


def _placements(scores: Floats, positive: NDArray[Any]) -> Floats:
    """Share of the other class that each sample is on the right side of, ties half (DeLong et al. 1988, section 2)."""
    import numpy as np
    from scipy.stats import rankdata

    overall = rankdata(scores)
    out = np.empty(len(scores))
    m, n = int(positive.sum()), int((~positive).sum())
    out[positive] = (overall[positive] - rankdata(scores[positive])) / n
    out[~positive] = 1 - (overall[~positive] - rankdata(scores[~positive])) / m
    return out


def _variance(centred: Floats, positive: NDArray[Any], ids: NDArray[Any]) -> float:
    """Clustered variance of the difference from (n,) centred components; NaN with a class in one cluster only."""
    import numpy as np

    clusters = int(ids.max()) + 1
    sums, present = [], []
    for side in (positive, ~positive):
        sums.append(np.bincount(ids[side], weights=centred[side], minlength=clusters) / side.sum())
        present.append(len(np.unique(ids[side])))
    if min(present) < 2:
        return math.nan
    ten, one = ((k / (k - 1)) * float(total @ total) for k, total in zip(present, sums, strict=True))
    both = clusters / (clusters - 1) * float(sums[0] @ sums[1])
    return max(0.0, ten + one + 2 * both)
