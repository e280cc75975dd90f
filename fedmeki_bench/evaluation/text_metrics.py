"""Metrics of generated text: each compares one predicted answer with the gold one, and the values are averaged.

Words, wherever a metric counts them, are what ``\\d+(?:\\.\\d+)+|\\w+`` finds in the lower-cased text: runs of
letters and digits, with decimal numbers kept whole ("2.5 cm" is two words). Punctuation and white space separate.
Exact match and token F1 normalise as SQuAD does instead (:func:`normalise`). No NLTK data is needed.

An answer from which nothing could be read (None) is worth 0 to every metric and is counted by ``unparsed``.
"""

from __future__ import annotations

import math
import os
import re
import string
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Literal

from fedmeki_bench.errors import InputError
from fedmeki_bench.evaluation.metrics import MetricSpec, weighted_mean

_WORD = re.compile(r"\d+(?:\.\d+)+|\w+")
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_NOT_ALPHANUMERIC = re.compile(r"[^a-z0-9]+")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_CACHED_TEXTS = 4096

Words = tuple[str, ...]


@lru_cache(_CACHED_TEXTS)
def words(text: str) -> Words:
    """The words of a text, lower-cased, as the module says."""
    return tuple(_WORD.findall(text.lower()))


@lru_cache(_CACHED_TEXTS)
def normalise(text: str) -> str:
    """Lower-case, without ASCII punctuation, articles and spare white space (Rajpurkar et al. 2016, SQuAD).

    Articles stay where nothing else would be left: the answer "A" of a choice is not an empty answer.
    """
    bare = text.lower().translate(_NO_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", bare).split()) or " ".join(bare.split())


def parse_yes_no(text: str) -> int | None:
    """1 for yes, 0 for no, None unless exactly one of the two words occurs (the rule of ``Task.parse``)."""
    said = {"yes", "no"} & set(_NOT_ALPHANUMERIC.split(text.lower()))
    return int("yes" in said) if len(said) == 1 else None


def exact_match(gold: str, predicted: str | None) -> float:
    """1 if both texts are the same after :func:`normalise`."""
    return float(predicted is not None and normalise(gold) == normalise(predicted))


def token_f1(gold: str, predicted: str | None) -> float:
    """F1 of the words that both texts share, counted with repetition, after :func:`normalise`."""
    if predicted is None:
        return 0.0
    return unigram_f(tuple(normalise(gold).split()), tuple(normalise(predicted).split()))


def closed_accuracy(gold: str, predicted: str | None) -> float:
    """1 if the answer says the gold yes or no, and only that; NaN unless the gold answer is yes or no."""
    wanted = normalise(gold)
    if wanted not in {"yes", "no"}:
        return math.nan
    return float(predicted is not None and parse_yes_no(predicted) == int(wanted == "yes"))


def unparsed(gold: str, predicted: str | None) -> float:
    """1 if nothing could be read from the answer."""
    return float(predicted is None)


def bleu1(gold: str, predicted: str | None) -> float:
    """Clipped unigram precision times the brevity penalty of one pair (Papineni et al. 2002)."""
    return 0.0 if predicted is None else bleu(words(gold), words(predicted), 1)


def bleu4(gold: str, predicted: str | None) -> float:
    """Sentence BLEU with n-grams up to 4, add-one smoothing above unigrams (Lin and Och 2004, BLEU+1).

    A prediction of fewer than four words is scored with the n-grams it has, so that a short exact answer is worth 1.
    """
    return 0.0 if predicted is None else bleu(words(gold), words(predicted), 4)


def rouge1(gold: str, predicted: str | None) -> float:
    """F measure of shared words, counted with repetition (Lin 2004, ROUGE-1), without stemming."""
    return 0.0 if predicted is None else unigram_f(words(gold), words(predicted))


def rouge_l(gold: str, predicted: str | None) -> float:
    """F measure of the longest common subsequence of words (Lin 2004, ROUGE-L), without stemming."""
    if predicted is None:
        return 0.0
    one, other = words(gold), words(predicted)
    return 2 * common_subsequence(one, other) / (len(one) + len(other)) if one and other else 0.0


def meteor(gold: str, predicted: str | None) -> float:
    """METEOR (Banerjee and Lavie 2005) as NLTK computes it: exact words, Porter stems, WordNet synonyms if installed.

    A single matching word is one chunk of one and takes the full penalty: an exact one-word answer is worth 0.5.
    """
    return 0.0 if predicted is None else meteor_of_words(words(gold), words(predicted))


# ---------------------------------------------------------------------------------------------- arithmetic on words


@lru_cache(64)
def _grams(tokens: Words, n: int) -> tuple[Sequence[Any], frozenset[Any]]:
    grams = tokens if n == 1 else tuple(zip(*(tokens[i:] for i in range(n)), strict=False))
    return grams, frozenset(grams)


@lru_cache(16)  # the metrics of one pair share it
def _shared(one: Words, other: Words, n: int) -> int:
    """How many n-grams two lists of words share, counted with repetition."""
    (grams, kinds), (other_grams, other_kinds) = _grams(one, n), _grams(other, n)
    both = kinds & other_kinds
    if not both or len(kinds) == len(grams) or len(other_kinds) == len(other_grams):
        return len(both)  # one of them repeats nothing
    counts, other_counts = Counter(grams), Counter(other_grams)
    return sum(min(counts[gram], other_counts[gram]) for gram in both)


def unigram_f(gold: Words, predicted: Words) -> float:
    """2 x shared / (both lengths), words counted with repetition; 0 if either is empty."""
    if not gold or not predicted:
        return 0.0
    return 2 * _shared(gold, predicted, 1) / (len(gold) + len(predicted))


def bleu(gold: Words, predicted: Words, order: int) -> float:
    """BLEU of one pair up to n-grams of ``order``; orders the prediction is too short for are left out."""
    logs = []
    for n in range(1, min(order, len(predicted)) + 1):
        matched = _shared(gold, predicted, n)
        if n == 1 and not matched:
            return 0.0
        smooth = int(n > 1)
        logs.append(math.log((matched + smooth) / (len(predicted) - n + 1 + smooth)))
    if not logs:
        return 0.0
    brevity = min(0.0, 1 - len(gold) / len(predicted))
    return math.exp(sum(logs) / len(logs) + brevity)


def common_subsequence(one: Words, other: Words) -> int:
    """Length of the longest common subsequence, one machine-word operation per word (Hyyrö 2004)."""
    where: dict[str, int] = {}
    for i, token in enumerate(one):
        where[token] = where.get(token, 0) | 1 << i
    everything = (1 << len(one)) - 1
    unmatched = everything
    for token in other:
        hits = unmatched & where.get(token, 0)
        unmatched = ((unmatched + hits) | (unmatched - hits)) & everything
    return len(one) - unmatched.bit_count()


# ---------------------------------------------------------------------------------------------------------- METEOR


class _NoWordNet:
    """Stands in for WordNet where it is not installed: no word has a synonym."""

    def synsets(self, word: str) -> Sequence[Any]:
        return ()


class _CachedStemmer:
    """Porter's stemmer, which is slow, asked once per word."""

    def __init__(self) -> None:
        from nltk.stem.porter import PorterStemmer

        self.stem: Callable[[str], str] = lru_cache(100_000)(PorterStemmer().stem)


@cache
def stemmer() -> _CachedStemmer:
    """NLTK's Porter stemmer with a memory."""
    return _CachedStemmer()


@cache
def wordnet_folder() -> Path | None:
    """The ``nltk_data`` folder that holds WordNet, found where NLTK would look, without importing NLTK."""
    prefixes = [Path(sys.prefix) / "nltk_data", Path(sys.prefix, "share/nltk_data"), Path(sys.prefix, "lib/nltk_data")]
    system = [Path(p) / "nltk_data" for p in ("/usr/share", "/usr/local/share", "/usr/lib", "/usr/local/lib")]
    named = [Path(p) for p in os.environ.get("NLTK_DATA", "").split(os.pathsep) if p]
    for folder in (*named, Path.home() / "nltk_data", *prefixes, *system):
        if (folder / "corpora" / "wordnet.zip").is_file() or (folder / "corpora" / "wordnet").is_dir():
            return folder
    return None


@cache
def _wordnet() -> Any:
    folder = wordnet_folder()
    if folder is None:
        return _NoWordNet()
    import nltk
    from nltk.corpus import wordnet

    if str(folder) not in nltk.data.path:
        nltk.data.path.append(str(folder))
    try:
        wordnet.ensure_loaded()
    except (LookupError, OSError) as error:
        first = next(iter(str(error).split("\n")), "")
        raise InputError(f"{folder}: WordNet is there and cannot be read: {first}") from error
    return wordnet


def meteor_of_words(gold: Words, predicted: Words) -> float:
    """NLTK's METEOR of two lists of words (alpha 0.9, beta 3, gamma 0.5); 0 if either is empty."""
    if not gold or not predicted:
        return 0.0
    from nltk.translate.meteor_score import single_meteor_score

    return float(single_meteor_score(gold, predicted, stemmer=stemmer(), wordnet=_wordnet()))


# ----------------------------------------------------------------------------------------------------------- specs


def _spec(
    name: str,
    title: str,
    per_sample: Callable[[str, str | None], float],
    definition: str,
    *,
    version: int = 1,
    direction: Literal["higher", "lower"] = "higher",
    kinds: tuple[str, ...] = ("generation",),
    undefined: str = "there are no samples",
    note: str = "",
    interval: str = "mean",
) -> MetricSpec:
    return MetricSpec(
        name=name,
        version=version,
        title=title,
        definition=definition,
        direction=direction,
        range=(0.0, 1.0),
        kinds=kinds,
        needs="text",
        function=weighted_mean,
        undefined=undefined,
        per_sample=per_sample,
        note=note,
        interval=interval,
    )


EXACT_MATCH = _spec(
    "exact_match",
    "Exact match",
    exact_match,
    "Share of answers equal to the gold answer once case, punctuation, articles and spare spaces are dropped.",
    interval="share",
)
TOKEN_F1 = _spec(
    "token_f1",
    "Token F1",
    token_f1,
    "F1 of the words shared by answer and gold answer, without case, punctuation and articles; mean over answers.",
)
BLEU1 = _spec(
    "bleu1",
    "BLEU-1",
    bleu1,
    "Share of the answer's words found in the gold answer, times a penalty for answers that are too short; mean over "
    "answers.",
)
BLEU4 = _spec(
    "bleu4",
    "BLEU-4",
    bleu4,
    "Geometric mean of the precision of 1- to 4-word sequences (add-one smoothing above single words), times a penalty "
    "for answers that are too short; mean over answers.",
)
ROUGE1 = _spec(
    "rouge1",
    "ROUGE-1",
    rouge1,
    "F measure of the words shared by answer and gold answer; mean over answers.",
)
ROUGE_L = _spec(
    "rougeL",
    "ROUGE-L",
    rouge_l,
    "F measure of the longest sequence of words, gaps allowed, that answer and gold answer share; mean over answers.",
)
# Synonyms change the values, so that the two are versions apart: boards never mix versions.
METEOR = _spec(
    "meteor",
    "METEOR" if wordnet_folder() else "METEOR (no WordNet)",
    meteor,
    "Recall-weighted F measure of matching words and stems"
    + (" and WordNet synonyms" if wordnet_folder() else " (no synonyms: WordNet is not installed)")
    + ", less a penalty for scattered matches; mean over answers.",
    version=2 if wordnet_folder() else 1,
    note="" if wordnet_folder() else "METEOR (no WordNet): exact words and stems only",
)
CLOSED_ACCURACY = _spec(
    "closed_accuracy",
    "Closed accuracy",
    closed_accuracy,
    "Share of the questions whose gold answer is yes or no that are answered with that word and not the other.",
    undefined="no question has the gold answer yes or no",
    interval="share",
)
UNPARSED = _spec(
    "unparsed",
    "Unparsed",
    unparsed,
    "Share of answers from which nothing could be read; they count as wrong everywhere else; lower is better.",
    direction="lower",
    kinds=(),
    interval="share",
)

TEXT: dict[str, MetricSpec] = {
    m.name: m
    for m in (EXACT_MATCH, TOKEN_F1, BLEU1, BLEU4, ROUGE1, ROUGE_L, METEOR, CLOSED_ACCURACY, UNPARSED)
}  # fmt: skip
"""The metrics of this module by name, in the usual order of tables."""
