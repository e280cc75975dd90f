"""Words of a text as lexicons compare them: without case, plural, articles, "of" and forms of "be"."""

from __future__ import annotations

import re
from functools import lru_cache

Words = tuple[str, ...]

COMMA = ","
"""Stands between words where the text has a comma: nothing is named across it, but a denial may reach over it."""

_SENTENCE_ENDS = re.compile(r"[;:!?\n]|\.(?![0-9])")
_PIECE = re.compile(r"[a-z0-9]+|,")
_LONGEST = 200
_ARTICLES = frozenset(("a", "an", "the"))
BE = frozenset(("is", "are", "was", "were", "be", "been", "being"))
SKIPPED = BE | {"of"}
"""Left out of what is compared, and kept in :func:`sentences`, where they tell what is denied."""


def sentences(text: str) -> list[list[str]]:
    """The words of each sentence, in the form of :func:`singular`, without articles; commas are words of their own.

    A full stop, colon, semicolon, question or exclamation mark and a line's end close a sentence; the point of a
    decimal number does not. What has more than 200 words is no sentence and is cut there.
    """
    found = []
    for sentence in _SENTENCE_ENDS.split(text.lower().replace("'s ", " ")):
        words = [singular(piece) for piece in _PIECE.findall(sentence) if piece not in _ARTICLES]
        found += [words[at : at + _LONGEST] for at in range(0, len(words), _LONGEST)]
    return found


def compared(text: str) -> Words:
    """The words of a lexicon's name, as they are looked up; empty where there are none."""
    found = (singular(piece) for piece in _PIECE.findall(text.lower().replace("'s ", " ")) if piece != COMMA)
    return tuple(word for word in found if word not in _ARTICLES and word not in SKIPPED)


@lru_cache(16_384)
def singular(word: str) -> str:
    """The word without the commonest English plural endings; both sides of a comparison pass through it.

    A rule and no dictionary: "opacities" and "opacity" meet, "lens" becomes "len", "metastases" stays apart from
    "metastasis".
    """
    if len(word) < 4 or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "xes", "ches", "shes")):
        return word[:-2]
    return word[:-1]
