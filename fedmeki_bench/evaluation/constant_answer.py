"""What a model that always says the same would score: the figure every score of answers in words stands beside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from fedmeki_bench.evaluation.predictions import TextPredictions

if TYPE_CHECKING:
    from typing import Any

CONSTANT = "constant_answer"
"""The view of an evaluation that holds it."""

WITHOUT_TRAINING = "yes"
"""What is answered where a task has no training answers: fixed beforehand, so that no test answer decides."""


def usual_answer(training: Sequence[str] | Mapping[str, int]) -> tuple[str, str]:
    """The answer that a constant gives, and in words why this one.

    Args:
        training: the task's training answers, or how often each occurs; of equally frequent ones the first by
            alphabet. Case and outer spaces do not matter.
    """
    counts: Counter[str] = Counter()
    listed = training.items() if isinstance(training, Mapping) else ((answer, 1) for answer in training)
    for answer, n in listed:
        if n and answer.strip():
            counts[answer.strip().lower()] += n
    if not counts:
        return WITHOUT_TRAINING, f"always answers {WITHOUT_TRAINING!r}: the task has no training answers"
    chosen = min(counts, key=lambda answer: (-counts[answer], answer))
    return chosen, f"always answers {chosen!r}, the most frequent training answer"


def constantly(predictions: TextPredictions, answer: str) -> TextPredictions:
    """The same questions, each answered by ``answer``; where the answers are labels, with probability 1 or 0 of yes."""
    import numpy as np

    n = len(predictions.sample_id)
    labels = n > 0 and not isinstance(predictions.gold[0], str)
    said: Any = int(answer == "yes") if labels else answer
    texts, parsed = np.empty(n, dtype=object), np.empty(n, dtype=object)
    texts[:], parsed[:] = answer, said
    score = np.full(n, float(said)) if labels else None
    return replace(predictions, answer=texts, parsed=parsed, score=score)
