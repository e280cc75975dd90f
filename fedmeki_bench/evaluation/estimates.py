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
from fedmeki_bench.evaluation.text_metrics import UNPARSED

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fedmeki_bench.kinds.kind import LabelSpec

SCORING_VERSION = 3
"""Raised whenever the same predictions and metrics give other numbers; records then ask for `rescore`.

2: answers of a foundation model are scored by what they say, and groups stand under their keyed hashes.
3: intervals that hold on few patients.
"""

Source = Literal["probability", "answer"]


class NoThreshold(InputError):
    """A metric needs the threshold that `valid` gives, and there is none."""


@dataclass(frozen=True, slots=True)
class Columns:
    """What a metric is computed from.

    Attributes:
        labels: (n,) or (n, K), as the kind has them; zeros for a metric of text, which ignores them.
        scores: (models, n) or (models, n, K), one model unless every client has its own: scores of the kind, answers in
            that form, or the values per sample of a metric of text.
        per_client: whether every client has its own model.
    """

    labels: NDArray[Any]
    scores: NDArray[np.floating[Any]]
    per_client: bool = False


def source(metric: MetricSpec, *, in_words: bool) -> Source:
    """Whether a metric is computed from probabilities or from the answers of a view.

    Args:
        in_words: whether the view answers in words; without words there are only probabilities.
    """
    return "answer" if in_words and metric.needs in ("label", "answer", "text") else "probability"


def columns(predictions: Predictions | TextPredictions, metric: MetricSpec) -> Columns:
    """The labels and scores behind a metric's cell.

    Raises:
        InputError: the metric needs probabilities, labels or text that the predictions do not have.
    """
    import numpy as np

    if isinstance(predictions, Predictions):
        if metric.needs == "text":
            raise InputError(f"metric {metric.name!r} compares texts, and these predictions are probabilities")
        labels, scores = np.asarray(predictions.label), np.asarray(predictions.models, dtype=np.float64)
        if metric.needs == "threshold":
            if predictions.threshold is None:
                raise NoThreshold("no threshold was chosen on the validation split")
            scores = (scores >= predictions.threshold[:, None]).astype(np.float64)
        return Columns(labels, scores, predictions.per_client)
    if metric.needs == "text":
        values = per_sample_values(_gold(predictions), readable(predictions), [metric])[metric.name]
        return Columns(np.zeros(len(values), dtype=np.int64), np.asarray(values, dtype=np.float64)[None])
    if not predictions.labelled:
        raise InputError(f"metric {metric.name!r} needs labels, and these predictions are answers in free text")
    labels, spec = np.asarray(predictions.gold), predictions.labels
    if metric.needs == "threshold":
        raise NoThreshold("answers in words have no threshold")
    if metric.needs in ("label", "answer"):
        return Columns(labels, spec.how.decided(list(predictions.parsed), labels, spec)[None])
    if predictions.score is None:
        raise InputError(f"metric {metric.name!r} needs probabilities, and these predictions have none")
    return Columns(labels, np.asarray(predictions.score, dtype=np.float64)[None])


def score_predictions(
    predictions: Predictions | TextPredictions,
    specs: Sequence[MetricSpec],
    *,
    seed: int,
    kind: str,
    resamples: int = 1000,
) -> dict[str, Estimate]:
    """Each metric with its 95 % interval over groups; answers in words also get the share of unparsed ones.

    Args:
        predictions: as :func:`~fedmeki_bench.evaluation.predictions.read_predictions` or ``read_text_predictions``
            give them.
        specs: the task's metrics, the main one first; the result keeps their order.
        seed: of the resamples, as for :func:`~fedmeki_bench.evaluation.intervals.estimate`.
        kind: of the task.
        resamples: as for :func:`~fedmeki_bench.evaluation.intervals.estimate`.

    Raises:
        InputError: the predictions are not of that kind, or lack what a metric needs.
        RunFailed: a score that is not a finite number.
    """
    wanted = [*specs]
    if isinstance(predictions, TextPredictions):
        own = predictions.labels.kind if predictions.labelled else "generation"
        if len(predictions.sample_id) and own != kind:
            raise InputError(f"the gold answers of these predictions are not those of a {kind} task")
        if UNPARSED.name not in {m.name for m in specs}:
            wanted.append(UNPARSED)
    elif predictions.labels.kind != kind:
        raise InputError(
            f"a {kind} task can't be scored on these predictions, which are scores of a {predictions.labels.kind} task"
        )
    found: dict[str, Estimate] = {}
    for needs in ("score", "label", "answer", "threshold"):
        group = [m for m in wanted if m.needs == needs]
        if group:
            try:
                taken = columns(predictions, group[0])
            except NoThreshold as error:
                nan = float("nan")
                found |= {m.name: Estimate(nan, nan, nan, f"undefined: {error}") for m in group}
                continue
            found |= estimate(
                taken.labels, taken.scores, predictions.group_id, group,
                seed=seed, classes=predictions.labels.classes, resamples=resamples,
            )  # fmt: skip
    texts = [m for m in wanted if m.needs == "text"]
    if texts:
        if isinstance(predictions, Predictions):
            raise InputError(f"metric {texts[0].name!r} compares texts, and these predictions are probabilities")
        gold, said = _gold(predictions), readable(predictions)
        found |= estimate_text(gold, said, predictions.group_id, texts, seed=seed, resamples=resamples)
    return {m.name: found[m.name] for m in wanted}


def value_of(predictions: Predictions | TextPredictions, metric: MetricSpec) -> float:
    """The value behind a metric's cell, without its interval: the mean over clients where each has a model of its own.

    NaN where undefined. Raises as :func:`columns`.
    """
    import numpy as np

    taken = columns(predictions, metric)
    return float(np.mean([metric(taken.labels, row) for row in taken.scores]))


def readable(predictions: TextPredictions) -> list[str | None]:
    """The answers as metrics of text take them: None where the task's parser read nothing."""
    pairs = zip(predictions.answer, predictions.parsed, strict=True)
    return [None if parsed is None else str(answer) for answer, parsed in pairs]


def _gold(predictions: TextPredictions) -> list[str]:
    """The correct answers in words."""
    import numpy as np

    if predictions.labelled:
        return in_words(np.asarray(predictions.gold), predictions.labels)
    return [str(g) for g in predictions.gold]


def in_words(labels: NDArray[Any], spec: LabelSpec) -> list[str]:
    """What labels are called in answers, such as ``yes``."""
    return [spec.how.words(one, spec) for one in spec.how.gold(labels, spec)]


def gold_of(predictions: Predictions | TextPredictions) -> NDArray[Any]:
    """(n,) correct answers as text, whatever the metric: what two sides of a comparison must share."""
    import numpy as np

    if isinstance(predictions, Predictions):
        return np.asarray(in_words(np.asarray(predictions.label), predictions.labels))
    return np.asarray(_gold(predictions))
