"""Names of classes and findings in an answer: found as whole words, longer names first."""

from __future__ import annotations

import re
from collections.abc import Sequence

_WORD = re.compile(r"[a-z0-9]+")
_DENIALS = frozenset(("no", "not", "nor", "without", "neither", "never"))


def plain_words(text: str) -> list[str]:
    """The words of a text: runs of letters and digits, without case."""
    return _WORD.findall(text.lower())


def named(text: str, names: Sequence[str]) -> frozenset[int] | None:
    """Which of the names a text states; None where it also denies, so that what it says of a name is unclear.

    A name within a longer one that is stated does not count: "ct angiography" is not "ct".
    """
    words = plain_words(text)
    by_length = sorted(range(len(names)), key=lambda k: -len(plain_words(names[k])))
    found: set[int] = set()
    for k in by_length:
        wanted = plain_words(names[k])
        at = 0
        while wanted and at + len(wanted) <= len(words):
            if words[at : at + len(wanted)] == wanted:
                words[at : at + len(wanted)] = [""]
                found.add(k)
            at += 1
    return None if _DENIALS & set(words) else frozenset(found)


def position(text: str, names: Sequence[str]) -> int:
    """Where a name stands among the names, whatever its case and the blanks around it.

    Raises:
        ValueError: it is none of them; says which there are.
    """
    lowered = [name.strip().lower() for name in names]
    wanted = " ".join(text.split()).lower()
    if wanted not in lowered:
        raise ValueError(f"one of {', '.join(names)}")
    return lowered.index(wanted)
