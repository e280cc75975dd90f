"""Scoring protocols: how stored answers become numbers.

``strict`` is this project's: an answer that cannot be read counts as wrong and is counted as unparsed, and no answer
is guessed. ``published`` follows the scorer behind the FedMEKI tables, rule by rule, so that the published figures can
be computed again from stored answers; docs/metrics.md shows on an example where the two differ.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Literal

from fedmeki_bench import registry
from fedmeki_bench.errors import InputError, nearest
from fedmeki_bench.evaluation import metrics as binary
from fedmeki_bench.evaluation import text_metrics as text
from fedmeki_bench.evaluation.intervals import Estimate, estimate, estimate_text
from fedmeki_bench.evaluation.metrics import MetricSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.floating[Any]]

Kind = Literal["binary", "generation"]
Protocol = Literal["strict", "published"]

READ_BY_PROTOCOLS: tuple[Kind, ...] = ("binary", "generation")
"""The kinds that the papers score; answers of others are read by their kind."""

_ALPHANUMERIC = re.compile(r"[a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Answers:
    """What a file of answers holds, one entry per row.

    Attributes:
        gold: correct answers as text; ``yes`` and ``no`` in binary tasks, except that the published protocol
            reads them itself.
        answer: generated texts, None where nothing was generated; None as a whole in a file of probabilities.
        score: probabilities of yes; None as a whole in a file without them.
        group: the unit that is resampled, one per row.
    """

    gold: list[str]
    answer: list[str | None] | None
    score: list[float] | None
    group: Sequence[Any]


# ------------------------------------------------------------------------------------------- the published scorer


@lru_cache(4096)
def published_yes_no(answer: str) -> int | None:
    """1 if "yes" occurs as a substring at least as often as "no", else 0; None if neither occurs.

    "not", "know" and "normal" all contain "no": that is the published rule.
    """
    lowered = answer.lower()
    yes, no = lowered.count("yes"), lowered.count("no")
    return int(yes >= no) if yes or no else None


def published_pair(gold: str, answer: str) -> tuple[int, int]:
    """The published (label, prediction) of a pair: (0, 1) if either text has neither word."""
    label, prediction = published_yes_no(gold), published_yes_no(answer)
    return (0, 1) if label is None or prediction is None else (label, prediction)


def published_text(answer: str) -> str:
    """What follows the last "Answer:", stripped, lower-cased."""
    return answer.rsplit("Answer:", 1)[-1].strip().lower()


def _bleu1_of_spaced(gold: str, predicted: str | None) -> float:
    return 0.0 if predicted is None else text.bleu(tuple(gold.split()), tuple(predicted.split()), 1)


@lru_cache(4096)
def _stems(answer: str) -> tuple[str, ...]:
    """The words of the rouge-score package: runs of a-z and 0-9, Porter stems of those longer than three letters."""
    stem = text.stemmer().stem
    return tuple(stem(word) if len(word) > 3 else word for word in _ALPHANUMERIC.findall(answer.lower()))


def _rouge1_of_stems(gold: str, predicted: str | None) -> float:
    return 0.0 if predicted is None else text.unigram_f(_stems(gold), _stems(predicted))


@lru_cache(4096)
def _treebank(answer: str) -> tuple[str, ...]:
    from nltk.tokenize import word_tokenize

    # preserve_line: without it NLTK needs its sentence model, which only matters to full stops inside an answer.
    return tuple(word_tokenize(answer, preserve_line=True))


def _meteor_of_treebank(gold: str, predicted: str | None) -> float:
    return math.nan if predicted is None else text.meteor_of_words(_treebank(gold), _treebank(predicted))


def _zero_where_undefined(function: Callable[[Any, Any, Any], Floats]) -> Callable[[Any, Any, Any], Floats]:
    def zero_where_undefined(labels: Any, scores: Any, weights: Any) -> Floats:
        import numpy as np

        return np.nan_to_num(function(labels, scores, weights), nan=0.0)

    return zero_where_undefined


def _published_binary() -> list[MetricSpec]:
    built_in = binary.BUILT_IN
    return [
        replace(built_in[name], function=_zero_where_undefined(built_in[name].function))
        for name in ("accuracy", "precision", "recall", "f1", "mcc")
    ]


def _published_generation() -> list[MetricSpec]:
    return [
        replace(text.BLEU1, per_sample=_bleu1_of_spaced),
        replace(text.ROUGE1, per_sample=_rouge1_of_stems),
        replace(text.METEOR, per_sample=_meteor_of_treebank, undefined="every prediction is empty"),
    ]


# --------------------------------------------------------------------------------------------------------- scoring


@cache
def metrics_of(kind: Kind, protocol: Protocol) -> dict[str, MetricSpec]:
    """The metrics a protocol computes, in the order of its tables.

    A file of yes and no has those of the kind that its rows allow: with text, accuracy and its like and
    ``unparsed``; with probabilities, AUROC and its like as well. A file of free text has all installed ones.
    """
    if protocol == "published":
        chosen = _published_binary() if kind == "binary" else _published_generation()
        return {m.name: m for m in (*chosen, text.UNPARSED)}
    if kind == "generation":
        installed = {
            name: m for name, m in registry.working("metrics").items() if m.needs == "text" and m.applies(kind)
        }
        return text.TEXT | {name: m for name, m in installed.items() if name not in text.TEXT}
    return {**binary.BUILT_IN, "unparsed": text.UNPARSED}


def score_answers(
    answers: Answers,
    *,
    kind: Kind,
    protocol: Protocol = "strict",
    names: Sequence[str] | None = None,
    seed: int = 0,
    resamples: int = 1000,
) -> dict[str, Estimate]:
    """Score stored answers, with 95 % intervals over groups.

    Args:
        answers: what the file holds.
        kind: binary (yes or no) or generation (free text).
        protocol: the rules, see the module.
        names: the metrics to compute; by default all that the rows allow.
        seed: of the bootstrap.
        resamples: number of bootstrap resamples; 0 for no intervals.

    Raises:
        InputError: an unknown metric, or one that the rows do not allow; probabilities for the published protocol.
    """
    known = metrics_of(kind, protocol)
    for name in names or ():
        if name not in known:
            raise InputError(f"the {protocol} {kind} scorer has no metric {name!r}; {nearest(name, known)}")
    if protocol == "published" and answers.answer is None:
        raise InputError("the published protocol reads answers in words, and these rows have only probabilities")
    allowed = [m for m in known.values() if _possible(m, answers, protocol)]
    if names is not None:
        missing = sorted(set(names) - {m.name for m in allowed})
        if missing:
            needs = known[missing[0]].needs
            lacking = {"text": "an answer in words", "threshold": "a validation split"}.get(
                needs, "a probability in every row"
            )
            raise InputError(f"metric {missing[0]!r} needs {lacking}")
        allowed = [m for m in allowed if m.name in names]
    if kind == "generation":
        assert answers.answer is not None
        read = published_text if protocol == "published" else str.strip
        gold = [read(g) for g in answers.gold]
        predicted = [(read(a) or None) if a is not None else None for a in answers.answer]
        return estimate_text(gold, predicted, answers.group, allowed, seed=seed, resamples=resamples)
    return _score_binary(answers, protocol, allowed, seed, resamples)


def _possible(metric: MetricSpec, answers: Answers, protocol: Protocol) -> bool:
    if metric.needs == "threshold":  # the rows are not those of a validation split
        return False
    if metric.needs == "score":
        return answers.score is not None and protocol == "strict"
    return answers.answer is not None or metric.needs != "text"


def _score_binary(
    answers: Answers, protocol: Protocol, metrics: Sequence[MetricSpec], seed: int, resamples: int
) -> dict[str, Estimate]:
    import numpy as np

    labels = np.array([gold == "yes" for gold in answers.gold], dtype=np.int64)
    found: dict[str, Estimate] = {}
    by_score = [m for m in metrics if m.needs == "score" or (m.needs == "label" and answers.answer is None)]
    if by_score:
        assert answers.score is not None
        found |= estimate(labels, answers.score, answers.group, by_score, seed=seed, resamples=resamples)
    if answers.answer is not None:
        said, pairs = _read_all(answers.gold, answers.answer, protocol)
        by_side = [m for m in metrics if m.needs == "label"]
        if by_side:
            found |= estimate(
                pairs[:, 0], pairs[:, 1].astype(np.float64), answers.group, by_side, seed=seed, resamples=resamples
            )
        by_text = [m for m in metrics if m.needs == "text"]
        if by_text:
            found |= estimate_text(answers.gold, said, answers.group, by_text, seed=seed, resamples=resamples)
    return {m.name: found[m.name] for m in metrics}


def _read_all(
    gold: Sequence[str], answers: Sequence[str | None], protocol: Protocol
) -> tuple[list[str | None], NDArray[np.int64]]:
    """What each answer says (None if unparsed), and the (n, 2) labels and predictions that are scored."""
    import numpy as np

    if protocol == "published":
        said: list[str | None] = [a if a is not None and published_yes_no(a) is not None else None for a in answers]
        pairs = [published_pair(g, a or "") for g, a in zip(gold, answers, strict=True)]
        return said, np.array(pairs, dtype=np.int64)
    labels = np.array([g == "yes" for g in gold], dtype=np.int64)
    parsed = [None if a is None else text.parse_yes_no(a) for a in answers]
    said = [None if p is None else "yes" if p else "no" for p in parsed]
    return said, np.stack([labels, strict_predictions(labels, parsed).astype(np.int64)], axis=1)


def strict_predictions(labels: ArrayLike, parsed: Sequence[int | str | None]) -> Floats:
    """Predictions (n,) as 0.0 and 1.0 for :func:`estimate`, where an unparsed answer (None) is the wrong one.

    So it is a miss where the label is yes, a false alarm where it is no, and never happens to be right.
    """
    import numpy as np

    y = np.asarray(labels, dtype=np.float64)
    said = [1 - label if p is None else float(p) for label, p in zip(y.tolist(), parsed, strict=True)]
    return np.array(said, dtype=np.float64)
