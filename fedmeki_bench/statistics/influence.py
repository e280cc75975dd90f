"""What each patient contributes to a metric: the one basis of every interval and every test over patients.

An influence is a (patients,) vector whose sum of squares is the variance of the metric over patients. Influences of
several models on the same patients add and subtract: that of a difference is the difference of two, that of a mean over
tasks the mean, so no draw has to be repeated for every pair.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from fedmeki_bench.statistics.resampling import CHUNK_ELEMENTS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fedmeki_bench.statistics.resampling import Metric

    Floats = NDArray[np.floating[Any]]


def auroc_influence(labels: NDArray[Any], scores: Floats, group: NDArray[Any], n_groups: int) -> Floats:
    """(patients,) influences of an AUROC, from placements by midranks (DeLong et al. 1988; Sun and Xu 2014).

    The placements of a patient's samples are added up (Obuchowski 1997), so samples of a patient may depend on each
    other. With one sample per patient the sum of squares is DeLong's variance. NaN where one class has fewer than two
    patients: one patient tells nothing of the spread between patients.

    Args:
        labels: (n,) of 0 and 1.
        scores: (n,).
        group: (n,) index of each sample's patient.
        n_groups: number of patients.
    """
    import numpy as np
    from scipy.stats import rankdata

    positive = labels == 1
    m, n = int(positive.sum()), int((~positive).sum())
    out = np.zeros(n_groups)
    if not m or not n:
        return np.full(n_groups, math.nan)
    overall = rankdata(scores)
    for side, others in ((positive, n), (~positive, m)):
        place = (overall[side] - rankdata(scores[side])) / others
        patients = len(np.unique(group[side]))
        if patients < 2:
            return np.full(n_groups, math.nan)
        sign = 1.0 if side is positive else -1.0
        centred = sign * (place - place.mean()) / side.sum()
        out += math.sqrt(patients / (patients - 1)) * np.bincount(group[side], centred, n_groups)
    return out


def mean_influence(labels: NDArray[Any], values: Floats, group: NDArray[Any], n_groups: int) -> Floats:
    """(patients,) influences of the mean of (n,) values; NaN values do not count."""
    import numpy as np

    counted = np.isfinite(values)
    patients = len(np.unique(group[counted]))
    if patients < 2:
        return np.full(n_groups, math.nan)
    centred = np.where(counted, values - values[counted].mean(), 0.0) / counted.sum()
    return math.sqrt(patients / (patients - 1)) * np.bincount(group, centred, n_groups)


def auprc_influence(labels: NDArray[Any], scores: Floats, group: NDArray[Any], n_groups: int) -> Floats:
    """(patients,) influences of average precision: its derivatives by the samples' weights, added up per patient.

    With T_k true positives among F_k samples down to score k, and p_k positives at it, the metric is the sum of
    p_k T_k / F_k over the positives. A sample adds to T and F at its own score and all below. NaN with one class or one
    patient.
    """
    import numpy as np

    positive = labels == 1
    total = int(positive.sum())
    patients = len(np.unique(group))
    if not 0 < total < len(labels) or patients < 2:
        return np.full(n_groups, math.nan)
    _, block = np.unique(-scores, return_inverse=True)
    p = np.bincount(block, positive)
    true, flagged = p.cumsum(), np.bincount(block).cumsum()

    def from_here_down(values: Floats) -> Floats:
        return values[::-1].cumsum()[::-1]

    of_all = -from_here_down(p * true / flagged**2)
    of_positive = true / flagged + from_here_down(p / flagged) - float(np.sum(p * true / flagged)) / total
    own = (of_all[block] + np.where(positive, of_positive[block], 0.0)) / total
    return math.sqrt(patients / (patients - 1)) * np.bincount(group, own, n_groups)


def brier_skill_influence(labels: NDArray[Any], scores: Floats, group: NDArray[Any], n_groups: int) -> Floats:
    """(patients,) influences of the Brier skill 1 - B / (s (1 - s)), from its derivatives by B and s.

    B is the Brier score, s the share of positives. NaN with one class or one patient.
    """
    import numpy as np

    error, share = (scores - labels) ** 2, float(np.mean(labels == 1))
    patients, reference = len(np.unique(group)), share * (1 - share)
    if reference <= 0 or patients < 2:
        return np.full(n_groups, math.nan)
    score = float(error.mean())
    own = -(error - score) / reference + score * (1 - 2 * share) * (labels - share) / reference**2
    return math.sqrt(patients / (patients - 1)) * np.bincount(group, own / len(labels), n_groups)


def jackknife(metric: Metric, labels: NDArray[Any], scores: Floats, group: NDArray[Any], n_groups: int) -> Floats:
    """(patients,) influences of any metric, leaving out one patient at a time (Efron and Tibshirani 1993, ch. 11).

    NaN where the metric is undefined without some patient. Samples that share label and score are weighed together,
    so a metric of predictions costs as much as there are patients.

    Args:
        metric: ``(labels, scores, weights) -> values`` with shapes (n,), (n,), (B, n), (B,).
        labels: (n,), or (n, K) with several findings.
        scores: (n,), or (n, K).
        group: (n,) index of each sample's patient.
        n_groups: number of patients.
    """
    import numpy as np

    present = np.unique(group)
    if scores.ndim > 1:
        kind_labels, kind_scores, kind, width = labels, scores, np.arange(len(labels)), len(labels)
    else:
        kind_labels, kind_scores, kind, width = _alike(labels, scores)
    total = np.bincount(kind, minlength=width).astype(np.float64)
    rows = max(1, CHUNK_ELEMENTS // width)
    place = np.searchsorted(present, group)
    without = np.empty(len(present))
    for start in range(0, len(present), rows):
        here = (place >= start) & (place < start + rows)
        count = min(rows, len(present) - start)
        flat = (place[here] - start) * width + kind[here]
        own = np.bincount(flat, minlength=count * width).reshape(count, width)
        without[start : start + count] = metric(kind_labels, kind_scores, total - own)
    out = np.zeros(n_groups)
    if len(present) < 2 or not np.isfinite(without).all():
        return np.full(n_groups, math.nan)
    out[present] = math.sqrt((len(present) - 1) / len(present)) * (without.mean() - without)
    return out


def _alike(labels: NDArray[Any], scores: Floats) -> tuple[NDArray[Any], Floats, NDArray[Any], int]:
    """Label and score of each kind of sample, highest score first, each sample's kind, and how many kinds there are."""
    import numpy as np

    falling, place_of_score = np.unique(-scores, return_inverse=True)
    classes, place_of_label = np.unique(labels, return_inverse=True)
    code, kind = np.unique(place_of_score.reshape(-1) * len(classes) + place_of_label.reshape(-1), return_inverse=True)
    return classes[code % len(classes)], -falling[code // len(classes)], kind.reshape(-1), len(code)
