"""Metrics of several classes, levels or findings, for many weightings of the same samples at once.

Labels are (n,) numbers of classes, or (n, K) of 1, 0 and NaN (not annotated) per finding; scores are (n, K). A mean
over classes ("macro") leaves out classes that these samples can't tell anything of, and says which.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

from fedmeki_bench.evaluation.metric_spec import THRESHOLD, MetricSpec
from fedmeki_bench.evaluation.metrics import CALIBRATION_BINS, auprc, auroc, weighted_mean

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]
    Labels = NDArray[Any]
    OfOne = Callable[[Labels, Floats, Floats], Floats]


def one_against_rest(labels: Labels, scores: Floats) -> Iterator[tuple[int, NDArray[Any], Labels, Floats]]:
    """Of every class that some samples have and others don't: its number, samples, their labels 1 or 0, their scores.

    The samples are an index: of a finding, those where it is annotated.
    """
    import numpy as np

    for k in range(scores.shape[1]):
        here = labels == k if labels.ndim == 1 else labels[:, k]
        told = np.flatnonzero(~np.isnan(here)) if labels.ndim == 2 else np.arange(len(labels))
        binary = here[told].astype(np.int64)
        if 0 < binary.sum() < len(binary):
            yield k, told, binary, scores[told, k]


def left_out(labels: Labels, classes: Sequence[str]) -> str:
    """Which classes a mean over classes leaves out, in words; empty if none."""
    import numpy as np

    count = labels.shape[1] if labels.ndim == 2 else max(len(classes), int(labels.max(initial=0)) + 1)
    named = list(classes) or [str(k) for k in range(count)]
    kept = {k for k, *_ in one_against_rest(labels, np.zeros((len(labels), len(named))))}
    gone = [name for k, name in enumerate(named) if k not in kept]
    return f"without {', '.join(gone)}: all or none of these samples" if gone else ""


def _macro(of_one: OfOne, labels: Labels, scores: Floats, weights: Floats) -> Floats:
    import numpy as np

    each = [of_one(own, column, weights[:, told]) for _, told, own, column in one_against_rest(labels, scores)]
    return np.mean(each, axis=0) if each else np.full(len(weights), np.nan)


def auroc_macro(labels: Labels, scores: Floats, weights: Floats) -> Floats:
    """Mean over classes of the AUROC of each against the rest."""
    return _macro(auroc, labels, scores, weights)


def auprc_macro(labels: Labels, scores: Floats, weights: Floats) -> Floats:
    """Mean over classes of the average precision of each against the rest."""
    return _macro(auprc, labels, scores, weights)


def chosen(scores: Floats) -> NDArray[Any]:
    """(n,) the likeliest class, the first of equally likely ones; -1 where an answer named none."""
    import numpy as np

    return np.where(scores.max(axis=1) > 0, scores.argmax(axis=1), -1)


def top1(labels: Labels, scores: Floats, weights: Floats) -> Floats:
    """Share of samples whose likeliest class is theirs."""
    return weighted_mean(labels, (chosen(scores) == labels).astype(float), weights)


def balanced_accuracy_macro(labels: Labels, scores: Floats, weights: Floats) -> Floats:
    """Mean over the classes that are there of the share of their samples that are found."""
    import numpy as np

    right = chosen(scores) == labels
    each = []
    for k in np.unique(labels):
        own = labels == k
        total = weights[:, own].sum(axis=1)
        each.append(np.divide(weights[:, own] @ right[own], total, out=np.full(len(weights), np.nan), where=total > 0))
    return np.mean(each, axis=0)


def _decisions(labels: Labels, scores: Floats) -> Iterator[tuple[Labels, NDArray[Any], NDArray[Any]]]:
    """Per class with a sample or a decision: samples that say so, whether they have it, whether it was decided."""
    import numpy as np

    single = chosen(scores) if labels.ndim == 1 else None
    for k in range(scores.shape[1]):
        here = labels == k if labels.ndim == 1 else labels[:, k]
        told = np.flatnonzero(~np.isnan(here)) if labels.ndim == 2 else np.arange(len(labels))
        said = (single == k if single is not None else scores[:, k] >= THRESHOLD)[told]
        yield told, here[told] == 1, said


def _counts(told: Labels, own: NDArray[Any], said: NDArray[Any], weights: Floats) -> tuple[Floats, Floats, Floats]:
    import numpy as np

    kinds = np.stack([own & said, ~own & said, own & ~said], axis=1).astype(weights.dtype)
    tp, fp, fn = (weights[:, told] @ kinds).T
    return tp, fp, fn


def f1_macro(labels: Labels, scores: Floats, weights: Floats) -> Floats:
    """Mean of the F1 of the classes that some of these samples have; 0 for one that is never found."""
    import numpy as np

    each = []
    for told, own, said in _decisions(labels, scores):
        if own.any():
            tp, fp, fn = _counts(told, own, said, weights)
            each.append(np.divide(2 * tp, 2 * tp + fp + fn, out=np.full(len(weights), np.nan), where=tp + fn > 0))
    return np.mean(each, axis=0) if each else np.full(len(weights), np.nan)


def f1_micro(labels: Labels, scores: Floats, weights: Floats) -> Floats:
    """F1 of all decisions on all findings together; NaN without any finding."""
    import numpy as np

    tp, fp, fn = np.sum([_counts(*one, weights) for one in _decisions(labels, scores)], axis=0)
    found: Floats = np.divide(2 * tp, 2 * tp + fp + fn, out=np.full(len(weights), np.nan), where=tp + fn > 0)
    return found


def kappa_quadratic(labels: Labels, scores: Floats, weights: Floats) -> Floats:
    """Cohen's kappa with squared distances of levels (Cohen 1968); NaN where all labels and answers are one level.

    An answer that names no level counts as the level furthest from the true one.
    """
    import numpy as np

    levels = scores.shape[1]
    worst = np.where(labels < (levels - 1) / 2, levels - 1, 0)
    said = np.where(chosen(scores) < 0, worst, chosen(scores))
    distance = (np.subtract.outer(np.arange(levels), np.arange(levels)) / max(1, levels - 1)) ** 2
    total = weights.sum(axis=1)
    observed = weights @ distance[labels, said]
    rows = weights @ np.eye(levels)[labels]
    columns = weights @ np.eye(levels)[said]
    expected = np.einsum("bi,ij,bj->b", rows, distance, columns)
    out = np.full(len(weights), np.nan)
    np.divide(observed * total, expected, out=out, where=expected > 1e-12 * np.maximum(total, 1) ** 2)
    found: Floats = 1 - out
    return found


def level_error(labels: Labels, scores: Floats, weights: Floats) -> Floats:
    """Mean distance, in levels, of the likeliest level from the true one; of no level the furthest."""
    import numpy as np

    levels = scores.shape[1]
    said = chosen(scores)
    distance = np.where(said < 0, np.maximum(labels, levels - 1 - labels), np.abs(said - labels))
    return weighted_mean(labels, distance.astype(float), weights)


def ece_top1(labels: Labels, scores: Floats, weights: Floats) -> Floats:
    """Gap between the likeliest class's probability and how often it is right, over 15 bins (Guo et al. 2017)."""
    import numpy as np

    sure, right = scores.max(axis=1), chosen(scores) == labels
    bins = np.minimum((sure * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    member = np.eye(CALIBRATION_BINS)[bins]
    total = weights.sum(axis=1)
    gaps = np.abs((weights * (right - sure)) @ member).sum(axis=1)
    return np.divide(gaps, total, out=np.full(len(weights), np.nan), where=total > 0)


_CLASSES, _ALL = ("multiclass", "ordinal"), ("multiclass", "ordinal", "multilabel")


def _spec(
    title: str, function: Callable[[Labels, Floats, Floats], Floats], definition: str, kinds: tuple[str, ...], *,
    needs: Literal["score", "answer"] = "answer", ends: tuple[float, float] = (0.0, 1.0),
    direction: Literal["higher", "lower"] = "higher", interval: str = "resampled", undefined: str = "",
    macro: bool = False, margin: float = 0.01, version: int = 1,
) -> MetricSpec:  # fmt: skip
    return MetricSpec(
        name=function.__name__, version=version, title=title, definition=definition, direction=direction, range=ends,
        kinds=kinds, needs=needs, function=function, interval=interval, remark=left_out if macro else None,
        undefined=undefined or "no class has samples with and without it", margin=margin,
    )  # fmt: skip


AUROC_MACRO = _spec(
    "AUROC (macro)", auroc_macro,
    "Probability that a sample of a class scores higher for it than a sample of the others, ties counted half; mean "
    "over classes or findings.",
    _ALL, needs="score", interval="auroc_macro", macro=True, version=2,
)  # fmt: skip
AUPRC_MACRO = _spec(
    "AUPRC (macro)", auprc_macro,
    "Average precision of each class or finding against the rest, mean over them; a constant scores the mean share.",
    _ALL, needs="score", interval="jackknife_classes", macro=True,
)  # fmt: skip
TOP1 = _spec(
    "Top-1 accuracy", top1, "Share of samples whose likeliest class is theirs.", _CLASSES, interval="top1",
    undefined="there are no samples",
)  # fmt: skip
BALANCED_ACCURACY_MACRO = _spec(
    "Balanced accuracy", balanced_accuracy_macro,
    "Share of the samples of a class that are found, mean over classes; a constant scores 1 / number of classes.",
    _CLASSES, interval="jackknife_classes", undefined="there are no samples",
)  # fmt: skip
F1_MACRO = _spec(
    "F1 (macro)", f1_macro,
    "Harmonic mean of precision and recall (likeliest class, or probability ≥ 0.5 of a finding), mean over the classes "
    "or findings that some sample has.",
    _ALL, interval="jackknife_classes", undefined="no sample has any",
)  # fmt: skip
F1_MICRO = _spec(
    "F1 (micro)", f1_micro, "Harmonic mean of precision and recall over all findings together, at probability 0.5.",
    ("multilabel",), interval="jackknife_classes", undefined="no sample has any finding",
)  # fmt: skip
KAPPA_QUADRATIC = _spec(
    "Kappa (quadratic)", kappa_quadratic,
    "Agreement of the likeliest level with the true one beyond chance, errors weighed by their squared distance: 1 "
    "perfect, 0 no better than chance.",
    ("ordinal",), ends=(-1.0, 1.0), interval="jackknife_correlation",
    undefined="labels and answers are all of one level",
)  # fmt: skip
LEVEL_ERROR = _spec(
    "Error in levels", level_error, "Mean distance between the likeliest level and the true one, in levels.",
    ("ordinal",), ends=(0.0, float("inf")), direction="lower", interval="jackknife_error", margin=0.05,
    undefined="there are no samples",
)  # fmt: skip
ECE_TOP1 = _spec(
    "ECE (top-1)", ece_top1,
    "Gap between the probability of the likeliest class and how often it is right, averaged over 15 bins; not less "
    "what a calibrated model would show by chance.",
    _CLASSES, needs="score", direction="lower", interval="none", undefined="there are no samples",
)  # fmt: skip
