"""What the best constant answer would score: the figure that every score of answers in words stands beside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from fedmeki_bench.evaluation.predictions import TextPredictions

if TYPE_CHECKING:
    from typing import Any

CONSTANT = "constant_answer"
"""The view of an evaluation that holds it."""

_CANDIDATES = 20
"""So many of the most frequent gold answers are tried, beside yes and no."""


def best_constant(predictions: TextPredictions, value: Callable[[TextPredictions], float]) -> tuple[str, str]:
    """The one answer that scores best when it is given to every question, and in words why this one.

    It is chosen on the very answers it is scored on: no method could do so, and one that is not better has not shown
    that it looks at the data. Of equally good answers the most frequent one, of equally frequent the first by alphabet.

    Args:
        predictions: any answers to the questions; their gold answers count.
        value: a score of predictions, the larger the better.
    """
    gold = [("yes" if g else "no") if not isinstance(g, str) else g.strip().lower() for g in list(predictions.gold)]
    often = Counter(g for g in gold if g)
    frequent = sorted(often, key=lambda answer: (-often[answer], answer))
    candidates = list(dict.fromkeys([*frequent[:_CANDIDATES], "yes", "no"]))
    scored = {answer: value(constantly(predictions, answer)) for answer in candidates}
    best = max(candidates, key=lambda answer: scored[answer] if scored[answer] == scored[answer] else float("-inf"))
    return best, f"always answers {best!r}, of all constant answers the best on these very samples"


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
