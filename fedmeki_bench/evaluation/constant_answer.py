"""What the best constant answer would score: the figure that every score of answers in words stands beside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from fedmeki_bench.evaluation.estimates import in_words
from fedmeki_bench.evaluation.predictions import TextPredictions

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    from fedmeki_bench.kinds.kind import LabelSpec

CONSTANT = "constant_answer"
"""The view of an evaluation that holds it."""

_CANDIDATES = 20
"""So many of the most frequent gold answers are tried, beside the answers that the kind of task offers."""


def best_constant(predictions: TextPredictions, value: Callable[[TextPredictions], float]) -> tuple[str, str]:
    """The one answer that scores best when it is given to every question, and in words why this one.

    It is chosen on the very answers it is scored on: no method could do so, and one that is not better has not shown
    that it looks at the data. Of equally good answers the most frequent one, of equally frequent the first by alphabet.

    Args:
        predictions: any answers to the questions; their gold answers count.
        value: a score of predictions, the larger the better.
    """
    import numpy as np

    spec = predictions.labels
    if predictions.labelled:
        gold = in_words(np.asarray(predictions.gold), spec)
        others = [*_typical(np.asarray(predictions.gold), spec), *spec.how.candidates(spec)]
    else:
        gold, others = [str(g).strip().lower() for g in predictions.gold], ["yes", "no"]
    often = Counter(g for g in gold if g)
    frequent = sorted(often, key=lambda answer: (-often[answer], answer))
    candidates = list(dict.fromkeys([*frequent[:_CANDIDATES], *others]))
    scored = {answer: value(constantly(predictions, answer)) for answer in candidates}
    best = max(candidates, key=lambda answer: scored[answer] if scored[answer] == scored[answer] else float("-inf"))
    return best, f"always answers {best!r}, of all constant answers the best on these very samples"


def constantly(predictions: TextPredictions, answer: str) -> TextPredictions:
    """The same questions, each answered by ``answer``; labels get the scores of somebody who is sure of it."""
    import numpy as np

    n, spec = len(predictions.sample_id), predictions.labels
    labels = n > 0 and predictions.labelled
    said: Any = spec.how.parse(answer, spec) if labels else answer
    texts, parsed = np.empty(n, dtype=object), np.empty(n, dtype=object)
    texts[:], parsed[:] = answer, [said] * n
    score = spec.how.decided([said] * n, np.asarray(predictions.gold), spec) if labels else None
    return replace(predictions, answer=texts, parsed=parsed, score=score)


def _typical(labels: NDArray[Any], spec: LabelSpec) -> list[str]:
    """The constant that scores best where no list of answers holds it, in words: the mean number."""
    import numpy as np

    constant = np.asarray(spec.how.constant(np.nanmean(spec.how.summands(labels, spec), axis=0), spec))
    return [spec.how.words(float(constant), spec)] if constant.ndim == 0 and not spec.how.candidates(spec) else []
