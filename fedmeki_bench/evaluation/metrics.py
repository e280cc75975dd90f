"""Metrics of binary classification, computed for many weightings of the same samples at once.

A bootstrap resample is a weighting: how often each sample was drawn. So every metric takes a (B, n) matrix of
weights and answers with B values, and a thousand resamples cost a few matrix products instead of a thousand
calls. With one row of ones the value is the plain metric, equal to scikit-learn's.

An undefined value is NaN, never 0: a test split without a positive sample has no recall.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]
    Labels = NDArray[Any]

THRESHOLD = 0.5
"""A probability at or above this counts as a prediction of the positive class."""


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """A metric and everything a table must say about it.

    Attributes:
        name: identifier in records and on the command line.
        version: raised whenever the formula changes a value.
        title: column header.
        definition: one sentence, printed below every table that shows the metric.
        direction: whether ``higher`` or ``lower`` is better.
        range: smallest and largest possible value.
        kind: the kind of task it applies to.
        needs: ``score`` if the probability itself matters, ``label`` if only its side of the threshold does.
        function: ``(labels, scores, weights) -> values`` with shapes (n,), (n,), (B, n) and (B,).
        undefined: why the value may be NaN, in words that fit behind "undefined:".
    """

    name: str
    version: int
    title: str
    definition: str
    direction: Literal["higher", "lower"]
    range: tuple[float, float]
    kind: Literal["classification", "generation"]
    needs: Literal["score", "label"]
    function: Callable[[Labels, Floats, Floats], Floats]
    undefined: str = "the samples do not determine it"

    def __call__(self, labels: Labels, scores: Floats) -> float:
        """The metric of (n,) labels and (n,) scores, every sample counted once; NaN where undefined."""
        import numpy as np

        return float(self.function(labels, scores, np.ones((1, len(labels))))[0])


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
    """Weights of positive and negative samples per distinct score, highest score first: two (B, k) arrays."""
    import numpy as np

    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    first = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    sorted_weights = weights[:, order]
    positive = sorted_weights * (labels[order] == 1)
    negative = sorted_weights - positive
    if len(first) == len(ranked):  # no ties: every sample is its own block
        return positive, negative
    return np.add.reduceat(positive, first, axis=1), np.add.reduceat(negative, first, axis=1)


def auroc(labels: Labels, scores: Floats, weights: Floats) -> Floats:
    """Probability that a positive outranks a negative, ties counted half; NaN with one class of labels."""
    positive, negative = _by_score(labels, scores, weights)
    total_positive, total_negative = positive.sum(axis=1), negative.sum(axis=1)
    # Each block of positives beats every negative below it and half of the negatives tied with it.
    below = total_negative[:, None] - negative.cumsum(axis=1)
    wins = (positive * (below + negative / 2)).sum(axis=1)
    return _ratio(wins, total_positive * total_negative, (total_positive > 0) & (total_negative > 0))


def auprc(labels: Labels, scores: Floats, weights: Floats) -> Floats:
    """Average precision, sum of (R_k - R_(k-1)) P_k over distinct scores; NaN with one class of labels."""
    import numpy as np

    positive, negative = _by_score(labels, scores, weights)
    true_positive, false_positive = positive.cumsum(axis=1), negative.cumsum(axis=1)
    flagged = true_positive + false_positive
    at = np.zeros_like(flagged)
    np.divide(true_positive, flagged, out=at, where=flagged > 0)
    total, total_negative = true_positive[:, -1], false_positive[:, -1]
    return _ratio((positive * at).sum(axis=1), total, (total > 0) & (total_negative > 0))


_ONE_CLASS = "all samples have the same label"
_NO_POSITIVE = "no sample is positive"


def _spec(
    title: str,
    function: Callable[[Labels, Floats, Floats], Floats],
    definition: str,
    undefined: str,
    *,
    needs: Literal["score", "label"] = "label",
    low: float = 0.0,
) -> MetricSpec:
    return MetricSpec(
        name=function.__name__,
        version=1,
        title=title,
        definition=definition,
        direction="higher",
        range=(low, 1.0),
        kind="classification",
        needs=needs,
        function=function,
        undefined=undefined,
    )


ACCURACY = _spec(
    "Accuracy",
    accuracy,
    "Share of samples whose predicted probability lies on the right side of 0.5.",
    "there are no samples",
)
PRECISION = _spec(
    "Precision",
    precision,
    "Share of the samples predicted positive (probability ≥ 0.5) that are positive.",
    "no sample is positive or none is predicted positive",
)
RECALL = _spec(
    "Recall",
    recall,
    "Share of the positive samples that are predicted positive (probability ≥ 0.5).",
    _NO_POSITIVE,
)
F1 = _spec(
    "F1",
    f1,
    "Harmonic mean of precision and recall at probability 0.5.",
    _NO_POSITIVE,
)
MCC = _spec(
    "MCC",
    mcc,
    "Correlation between label and prediction at probability 0.5 (Matthews): 1 perfect, 0 no better than a "
    "constant, -1 always wrong.",
    _ONE_CLASS,
    low=-1.0,
)
AUROC = _spec(
    "AUROC",
    auroc,
    "Probability that a random positive sample scores higher than a random negative one, ties counted half.",
    _ONE_CLASS,
    needs="score",
)
AUPRC = _spec(
    "AUPRC",
    auprc,
    "Average precision: precision averaged over recall as the threshold falls; a constant predictor scores "
    "the share of positives.",
    _ONE_CLASS,
    needs="score",
)

BUILT_IN: dict[str, MetricSpec] = {m.name: m for m in (AUROC, AUPRC, ACCURACY, PRECISION, RECALL, F1, MCC)}
"""The metrics of this module by name, in the usual order of tables."""
