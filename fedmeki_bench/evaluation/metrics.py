"""Metrics of binary classification, computed for many weightings of the same samples at once.

A bootstrap resample is a weighting: how often each sample was drawn. So every metric takes a (B, n) matrix of
weights and answers with B values, and a thousand resamples cost a few matrix products instead of a thousand
calls. With one row of ones the value is the plain metric, equal to scikit-learn's.

An undefined value is NaN, never 0: a test split without a positive sample has no recall.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from fedmeki_bench.evaluation.metric_spec import THRESHOLD as THRESHOLD
from fedmeki_bench.evaluation.metric_spec import MetricSpec as MetricSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]
    Labels = NDArray[Any]

CALIBRATION_BINS = 15


def _ratio(numerator: Floats, denominator: Floats, defined: Any) -> Floats:
    import numpy as np

    out = np.full(numerator.shape, np.nan)
    np.divide(numerator, denominator, out=out, where=defined)
    return out


def _confusion(labels: Labels, scores: Floats, weights: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Weighted counts (tp, fp, fn, tn), each of shape (B,)."""
    import numpy as np

    positive = labels == 1
    predicted = scores >= THRESHOLD
    kinds = np.stack(
        [predicted & positive, predicted & ~positive, ~predicted & positive, ~predicted & ~positive], axis=1
    )
    tp, fp, fn, tn = (weights @ kinds.astype(weights.dtype)).T
    return tp, fp, fn, tn


def accuracy(labels: Labels, scores: Floats, weights: Floats) -> Floats:
    """Share of samples on the right side of the threshold, per row of ``weights``."""
    tp, fp, fn, tn = _confusion(labels, scores, weights)
    total = tp + fp + fn + tn
    return _ratio(tp + tn, total, total > 0)


def precision(labels: Labels, scores: Floats, weights: Floats) -> Floats:
    """tp / (tp + fp); NaN without a positive sample or without a positive prediction."""
    tp, fp, fn, _ = _confusion(labels, scores, weights)
    return _ratio(tp, tp + fp, (tp + fn > 0) & (tp + fp > 0))


def recall(labels: Labels, scores: Floats, weights: Floats) -> Floats:
    """tp / (tp + fn); NaN without a positive sample."""
    tp, _, fn, _ = _confusion(labels, scores, weights)
    return _ratio(tp, tp + fn, tp + fn > 0)


def f1(labels: Labels, scores: Floats, weights: Floats) -> Floats:
    """2 tp / (2 tp + fp + fn); NaN without a positive sample, 0 if there are some and none is found."""
    tp, fp, fn, _ = _confusion(labels, scores, weights)
    return _ratio(2 * tp, 2 * tp + fp + fn, tp + fn > 0)


def specificity(labels: Labels, scores: Floats, weights: Floats) -> Floats:
    """tn / (tn + fp); NaN without a negative sample."""
    _, fp, _, tn = _confusion(labels, scores, weights)
    return _ratio(tn, tn + fp, tn + fp > 0)


def balanced_accuracy(labels: Labels, scores: Floats, weights: Floats) -> Floats:
    """Mean of recall and specificity (Brodersen et al. 2010); NaN with one class of labels."""
    return (recall(labels, scores, weights) + specificity(labels, scores, weights)) / 2


def mcc(labels: Labels, scores: Floats, weights: Floats) -> Floats:
    """Matthews' correlation (Matthews 1975); NaN with one class of labels.

    Constant predictions on two classes score 0, the value of a coin (the convention of scikit-learn).
    """
    import numpy as np

    tp, fp, fn, tn = _confusion(labels, scores, weights)
    both = (tp + fn > 0) & (tn + fp > 0)
    varied = (tp + fp > 0) & (tn + fn > 0)
    # One square root per margin: the product of four margins overflows nothing and loses no digits this way.
    scale = np.sqrt(tp + fp) * np.sqrt(tp + fn) * np.sqrt(tn + fp) * np.sqrt(tn + fn)
    out = _ratio(tp * tn - fp * fn, scale, both & varied)
    out[both & ~varied] = 0.0
    return np.clip(out, -1.0, 1.0)


def _by_score(labels: Labels, scores: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Weights of positive and of all samples per distinct score, highest score first: two (B, k) arrays."""
    import numpy as np

    ranked, of_all, positives = scores, weights, labels == 1
    if not (scores[1:] <= scores[:-1]).all():
        order = np.argsort(-scores, kind="stable")
        ranked, of_all, positives = scores[order], weights[:, order], positives[order]
    first = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    positive = of_all * positives
    if len(first) == len(ranked):  # no ties: every sample is its own block
        return positive, of_all
    return np.add.reduceat(positive, first, axis=1), np.add.reduceat(of_all, first, axis=1)


def auroc(labels: Labels, scores: Floats, weights: Floats) -> Floats:
    """Probability that a positive outranks a negative, ties counted half; NaN with one class of labels."""
    import numpy as np

    positive, of_all = _by_score(labels, scores, weights)
    # Each positive beats all samples below its block and half of the block, itself included; of these wins, those
    # over positives are half of all pairs of positives. Sums of counts and halves are exact, whatever their order;
    # fractional weights round, so that what is left of an absent class is told from a class by its size.
    above = of_all.cumsum(axis=1)
    total, total_positive = above[:, -1], np.einsum("bk->b", positive)
    beaten = (
        total_positive * total - np.einsum("bk,bk->b", positive, above) + np.einsum("bk,bk->b", positive, of_all) / 2
    )
    total_negative = total - total_positive
    rounding = 1e-9 * total
    defined = (total_positive > rounding) & (total_negative > rounding)
    return np.clip(_ratio(beaten - total_positive**2 / 2, total_positive * total_negative, defined), 0.0, 1.0)


def auprc(labels: Labels, scores: Floats, weights: Floats) -> Floats:
    """Average precision, sum of (R_k - R_(k-1)) P_k over distinct scores; NaN with one class of labels."""
    import numpy as np

    positive, of_all = _by_score(labels, scores, weights)
    true_positive, flagged = positive.cumsum(axis=1), of_all.cumsum(axis=1)
    total, total_negative = true_positive[:, -1].copy(), flagged[:, -1] - true_positive[:, -1]
    np.maximum(flagged, np.finfo(np.float64).tiny, out=flagged)  # 0 / 0 becomes 0
    np.divide(true_positive, flagged, out=true_positive)
    np.multiply(true_positive, positive, out=true_positive)
    return _ratio(true_positive.sum(axis=1), total, (total > 0) & (total_negative > 0))


def weighted_means(values: Floats, weights: Floats) -> Floats:
    """Means of (n, m) values per row of (B, n) weights, (B, m); NaN values do not count, NaN where none counts."""
    import numpy as np

    counts = np.isfinite(values)
    if counts.all():
        total: Floats = np.repeat(weights @ np.ones((len(values), 1)), values.shape[1], axis=1)
        return _ratio(weights @ values, total, total > 0)
    total = weights @ counts.astype(weights.dtype)
    return _ratio(weights @ np.where(counts, values, 0.0), total, total > 0)


def weighted_mean(labels: Labels, values: Floats, weights: Floats) -> Floats:
    """Mean of (n,) values per row of ``weights``, (B,); the ``function`` of a metric that averages over samples."""
    return weighted_means(values[:, None], weights)[:, 0]


def brier(labels: Labels, scores: Floats, weights: Floats) -> Floats:
    """Mean squared difference between probability and label (Brier 1950); 0 perfect, 0.25 for a constant 0.5."""
    return weighted_mean(labels, (scores - labels) ** 2, weights)


def brier_skill(labels: Labels, scores: Floats, weights: Floats) -> Floats:
    """1 - Brier score / that of a constant at the share of positives (Murphy 1973); NaN with one class of labels.

    0 is the constant, 1 perfect, below 0 worse than knowing nothing but the share.
    """
    share = weighted_mean(labels, labels.astype(weights.dtype), weights)
    reference = share * (1 - share)
    return 1 - _ratio(brier(labels, scores, weights), reference, reference > 0)


def ece(labels: Labels, scores: Floats, weights: Floats) -> Floats:
    """Expected calibration error (Naeini et al. 2015) less :func:`ece_null`; may be negative.

    The error alone measures the size of the test split, too: a calibrated model has 0.19 on 40 samples (Bröcker 2012).
    """
    import numpy as np

    total = weights @ np.ones(len(labels))
    gaps = np.abs(_per_bin(scores, weights * (labels - scores))).sum(axis=1)
    return _ratio(gaps, total, total > 0) - ece_null(labels, scores, weights)


def ece_null(labels: Labels, scores: Floats, weights: Floats) -> Floats:
    """Expected calibration error that a perfectly calibrated model with these probabilities would show by chance.

    The sum of (label - p) in a bin is then about normal with mean 0 and variance sum of p (1 - p).
    """
    import numpy as np

    total = weights @ np.ones(len(labels))
    chance = np.sqrt(2 / np.pi * _per_bin(scores, weights**2 * (scores * (1 - scores)))).sum(axis=1)
    return _ratio(chance, total, total > 0)


def _per_bin(scores: Floats, values: Floats) -> Floats:
    """Sums of (B, n) values over the bins of the scores, [0, 1/15), ..., [14/15, 1]; empty bins are left out."""
    import numpy as np

    bins = np.minimum((scores * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    if (bins[1:] > bins[:-1]).any():  # samples that come sorted by score are already together
        order = np.argsort(bins, kind="stable")
        bins, values = bins[order], values[:, order]
    return np.add.reduceat(values, np.flatnonzero(np.diff(bins, prepend=-1)), axis=1)


def sensitivity_at_90(labels: Labels, scores: Floats, weights: Floats) -> Floats:
    """Share of the positives at or above the threshold that was chosen on `valid`, given as scores of 1 and 0."""
    return recall(labels, scores, weights)


_NO_SAMPLES = "there are no samples"
_ONE_CLASS = "all samples have the same label"
_NO_POSITIVE = "no sample is positive"


def _spec(
    title: str,
    function: Callable[[Labels, Floats, Floats], Floats],
    definition: str,
    undefined: str,
    *,
    needs: Literal["score", "label", "threshold"] = "label",
    version: int = 1,
    low: float = 0.0,
    direction: Literal["higher", "lower"] = "higher",
    interval: str = "resampled",
) -> MetricSpec:
    return MetricSpec(
        name=function.__name__,
        version=version,
        title=title,
        definition=definition,
        direction=direction,
        range=(low, 1.0),
        kinds=("binary",),
        needs=needs,
        function=function,
        undefined=undefined,
        interval=interval,
    )


ACCURACY = _spec(
    "Accuracy",
    accuracy,
    "Share of samples whose predicted probability lies on the right side of 0.5.",
    _NO_SAMPLES,
    interval="accuracy",
)
PRECISION = _spec(
    "Precision",
    precision,
    "Share of the samples predicted positive (probability ≥ 0.5) that are positive.",
    "no sample is positive or none is predicted positive",
    interval="precision",
)
RECALL = _spec(
    "Recall",
    recall,
    "Share of the positive samples that are predicted positive (probability ≥ 0.5).",
    _NO_POSITIVE,
    interval="recall",
)
F1 = _spec(
    "F1",
    f1,
    "Harmonic mean of precision and recall at probability 0.5.",
    _NO_POSITIVE,
    interval="jackknife_logit",
)
MCC = _spec(
    "MCC",
    mcc,
    "Correlation between label and prediction at probability 0.5 (Matthews): 1 perfect, 0 no better than a "
    "constant, -1 always wrong.",
    _ONE_CLASS,
    low=-1.0,
    interval="jackknife_fisher",
)
AUROC = _spec(
    "AUROC",
    auroc,
    "Probability that a random positive sample scores higher than a random negative one, ties counted half.",
    _ONE_CLASS,
    needs="score",
    interval="auroc",
)
AUPRC = _spec(
    "AUPRC",
    auprc,
    "Average precision: precision averaged over recall as the threshold falls; a constant predictor scores "
    "the share of positives.",
    _ONE_CLASS,
    needs="score",
    interval="auprc",
)

SPECIFICITY = _spec(
    "Specificity",
    specificity,
    "Share of the negative samples that are predicted negative (probability < 0.5).",
    "no sample is negative",
    interval="specificity",
)
BALANCED_ACCURACY = _spec(
    "Balanced accuracy",
    balanced_accuracy,
    "Mean of recall and specificity at probability 0.5; a constant predictor scores 0.5.",
    _ONE_CLASS,
    interval="balanced_accuracy",
)
BRIER = _spec(
    "Brier score",
    brier,
    "Mean squared difference between predicted probability and label; lower is better, 0 is perfect.",
    _NO_SAMPLES, needs="score", direction="lower", interval="squared_error",
)  # fmt: skip
BRIER_SKILL = _spec(
    "Brier skill",
    brier_skill,
    "1 − Brier score / that of a constant at the share of positives: 1 perfect, 0 no better than the constant, below 0 "
    "worse.",
    _ONE_CLASS,
    needs="score",
    low=-float("inf"),
    interval="brier_skill",
)
ECE = _spec(
    "ECE",
    ece,
    "Calibration error (the gap between predicted probability and share of positives, averaged over 15 bins of equal "
    "width) less what a perfectly calibrated model would show by chance on as many samples; 0 is calibrated, lower is "
    "better.",
    _NO_SAMPLES,
    needs="score",
    version=2,
    low=-1.0,
    direction="lower",
    interval="none",
)
ECE_NULL = _spec(
    "ECE by chance",
    ece_null,
    "Calibration error that a perfectly calibrated model with these probabilities would show by chance.",
    _NO_SAMPLES, needs="score", direction="lower", interval="none",
)  # fmt: skip
SENSITIVITY_AT_90 = _spec(
    "Sensitivity at 90 %",
    sensitivity_at_90,
    "Share of the positive samples found at the threshold below which 90 % of the validation split's negatives lie.",
    _NO_POSITIVE,
    needs="threshold",
    interval="recall",
)

BUILT_IN: dict[str, MetricSpec] = {
    m.name: m
    for m in (
        AUROC, AUPRC, ACCURACY, BALANCED_ACCURACY, PRECISION, RECALL, SPECIFICITY, F1, MCC, SENSITIVITY_AT_90,
        BRIER, BRIER_SKILL, ECE, ECE_NULL,
    )
}  # fmt: skip
"""The metrics of this module by name, in the usual order of tables."""
