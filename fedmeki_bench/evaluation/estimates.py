"""From stored predictions to every number that is reported about them: one function, pure, without torch.

A model that answers in words is judged by its words: metrics of the answer (accuracy, F1, ...) take what was read from
it, an unreadable answer being the wrong one, and metrics of the probability (AUROC, Brier score, ...) take the
likelihood of yes against no. Cells, their intervals, groups and paired differences all take the same columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from fedmeki_bench.errors import InputError
from fedmeki_bench.evaluation.intervals import Estimate, estimate, estimate_text, per_sample_values
from fedmeki_bench.evaluation.metrics import MetricSpec
from fedmeki_bench.evaluation.predictions import Predictions, TextPredictions
from fedmeki_bench.evaluation.protocols import strict_predictions
from fedmeki_bench.evaluation.text_metrics import UNPARSED

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SCORING_VERSION = 3
"""Raised whenever the same predictions and metrics give other numbers; records then ask for `rescore`.

2: answers of a foundation model are scored by what they say, and groups stand under their keyed hashes.
3: intervals that hold on few patients.
"""

Kind = Literal["classification", "generation"]
Source = Literal["probability", "answer"]


class NoThreshold(InputError):
    """A metric needs the threshold that `valid` gives, and there is none."""


@dataclass(frozen=True, slots=True)
class Columns:
    """What a metric is computed from.

    Attributes:
        labels: (n,) of 0 and 1; zeros for a metric of text, which ignores them.
        scores: (n,), or (clients, n) where every client has its own model: probabilities, answers as 0 and 1, or the
            values per sample of a metric of text.
    """

    labels: NDArray[np.int64]
    scores: NDArray[np.float64]


def source(metric: MetricSpec, *, in_words: bool) -> Source:
    """Whether a metric is computed from probabilities or from the answers of a view.

    Args:
        in_words: whether the view answers in words; without words there are only probabilities.
    """
    return "answer" if in_words and metric.needs in ("label", "text") else "probability"


def columns(predictions: Predictions | TextPredictions, metric: MetricSpec) -> Columns:
    """The labels and scores behind a metric's cell.

    Raises:
        InputError: the metric needs probabilities, labels or text that the predictions do not have.
    """
    import numpy as np

    if isinstance(predictions, Predictions):
        if metric.needs == "text":
            raise InputError(f"metric {metric.name!r} compares texts, and these predictions are probabilities")
        labels, scores = np.asarray(predictions.label, dtype=np.int64), np.asarray(predictions.score, dtype=np.float64)
        if metric.needs != "threshold":
            return Columns(labels, scores)
        if predictions.threshold is None:
            raise NoThreshold("no threshold was chosen on the validation split")
        limits = predictions.threshold if scores.ndim == 1 else predictions.threshold[:, None]
        return Columns(labels, (scores >= limits).astype(np.float64))
    if metric.needs == "text":
        values = per_sample_values(_gold(predictions), readable(predictions), [metric])[metric.name]
        return Columns(np.zeros(len(values), dtype=np.int64), np.asarray(values, dtype=np.float64))
    if not _has_labels(predictions):
        raise InputError(f"metric {metric.name!r} needs labels, and these predictions are answers in free text")
    labels = np.asarray(predictions.gold, dtype=np.int64)
    if metric.needs == "threshold":
        raise NoThreshold("answers in words have no threshold")
    if metric.needs == "label":
        answers = strict_predictions(labels, list(predictions.parsed))
        return Columns(labels, np.asarray(answers, dtype=np.float64))
    if predictions.score is None:
        raise InputError(f"metric {metric.name!r} needs probabilities, and these predictions have none")
    return Columns(labels, np.asarray(predictions.score, dtype=np.float64))


def score_predictions(
    predictions: Predictions | TextPredictions, specs: Sequence[MetricSpec], *, seed: int, kind: Kind
) -> dict[str, Estimate]:
    """Each metric with its 95 % interval over groups; answers in words also get the share of unparsed ones.

    Args:
        predictions: as :func:`~fedmeki_bench.evaluation.predictions.read_predictions` or ``read_text_predictions``
            give them.
        specs: the task's metrics, the main one first; the result keeps their order.
        seed: of the resamples, as for :func:`~fedmeki_bench.evaluation.intervals.estimate`.
        kind: of the task.

    Raises:
        InputError: the predictions are not of that kind, or lack what a metric needs.
        RunFailed: a score that is not a finite number.
    """
    wanted = [*specs]
    if isinstance(predictions, TextPredictions):
        if len(predictions.sample_id) and _has_labels(predictions) != (kind == "classification"):
            raise InputError(f"the gold answers of these predictions are not those of a {kind} task")
        if UNPARSED.name not in {m.name for m in specs}:
            wanted.append(UNPARSED)
    elif kind == "generation":
        raise InputError("a task of free text is scored on answers in words, and these predictions are probabilities")
    found: dict[str, Estimate] = {}
    for needs in ("score", "label", "threshold"):
        group = [m for m in wanted if m.needs == needs]
        if group:
            try:
                taken = columns(predictions, group[0])
            except NoThreshold as error:
                nan = float("nan")
                found |= {m.name: Estimate(nan, nan, nan, f"undefined: {error}") for m in group}
                continue
            found |= estimate(taken.labels, taken.scores, predictions.group_id, group, seed=seed)
    texts = [m for m in wanted if m.needs == "text"]
    if texts:
        if isinstance(predictions, Predictions):
            raise InputError(f"metric {texts[0].name!r} compares texts, and these predictions are probabilities")
        gold, said = _gold(predictions), readable(predictions)
        found |= estimate_text(gold, said, predictions.group_id, texts, seed=seed)
    return {m.name: found[m.name] for m in wanted}


def value_of(predictions: Predictions | TextPredictions, metric: MetricSpec) -> float:
    """The value behind a metric's cell, without its interval: the mean over clients where each has a model of its own.

    NaN where undefined. Raises as :func:`columns`.
    """
    import numpy as np

    taken = columns(predictions, metric)
    return float(np.mean([metric(taken.labels, row) for row in np.atleast_2d(taken.scores)]))


def readable(predictions: TextPredictions) -> list[str | None]:
    """The answers as metrics of text take them: None where the task's parser read nothing."""
    pairs = zip(predictions.answer, predictions.parsed, strict=True)
    return [None if parsed is None else str(answer) for answer, parsed in pairs]


def _has_labels(predictions: TextPredictions) -> bool:
    return len(predictions.gold) > 0 and not isinstance(predictions.gold[0], str)


def _gold(predictions: TextPredictions) -> list[str]:
    """The correct answers in words; labels are yes and no."""
    if _has_labels(predictions):
        return ["yes" if label else "no" for label in predictions.gold]
    return [str(g) for g in predictions.gold]


def gold_of(predictions: Predictions | TextPredictions) -> NDArray[Any]:
    """(n,) correct answers as text, whatever the metric: what two sides of a comparison must share."""
    import numpy as np

    if isinstance(predictions, Predictions):
        return np.asarray(["yes" if label else "no" for label in predictions.label])
    return np.asarray(_gold(predictions))
