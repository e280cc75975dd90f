"""Which concepts a text names, and whether it says that they are there.

Names are found from left to right, the longest first; what lies within a name that was found counts no more. A denied
concept is another than the affirmed one. What is denied follows rules in the manner of NegEx (Chapman et al. 2001),
worded anew and fewer, within one sentence:

*Before*: ``no``, ``not``, ``without``, ``nor``, ``neither``, ``never``, ``denies``, ``absence``, ``negative for``,
``free of``, ``clear of`` and ``excludes`` deny what follows, until ``but`` or a word like it, or until a new clause: a
comma or ``and`` that stands behind a verb, or before words with a verb ("no effusion, the heart is enlarged").

*After*: ``absent``, ``excluded``, ``resolved``, ``ruled out``, and ``not seen`` or the like deny what stands before
them in their clause ("effusion is not seen").

*Nothing*: ``no change``, ``no increase`` and the like speak of something that is there; ``not excluded`` and ``not
ruled out`` leave open, and a concept that is left open counts as affirmed, as one that is likely.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from fedmeki_bench.lexicon.lexicons import NEVER_DENIED, Lexicon, Term, open_lexicon
from fedmeki_bench.lexicon.words import BE, COMMA, SKIPPED, sentences

_DENY_NEXT = frozenset(
    ("no", "not", "without", "nor", "neither", "never", "deny", "denied", "absence", "exclude")
)  # fmt: skip
_DENY_WITH = {"negative": ("for",), "free": ("of", "from"), "clear": ("of", "from")}
_ENDS = frozenset(
    ("but", "however", "although", "though", "except", "yet", "while", "whereas", "nevertheless", "otherwise")
)
_VERBS = BE | {"has", "have", "had", "show", "remain", "appear", "demonstrate", "suggest"}
_SEEN = frozenset(
    (
        "seen", "present", "identified", "visible", "visualized", "visualised", "evident", "detected", "demonstrated",
        "noted", "found", "appreciated", "observed", "apparent", "shown",
    )
)  # fmt: skip
_GONE = frozenset(("absent", "resolved", "excluded"))
_CHANGES = frozenset(("change", "increase", "decrease", "progression", "improvement", "worsening"))
_OF_CHANGES = frozenset(("significant", "interval", "substantial", "relevant", "appreciable", "further", "definite"))


class Mention(NamedTuple):
    """A concept that a text names, and whether the text says that it is not there."""

    concept: str
    denied: bool


@dataclass(slots=True)
class _Named:
    """Something named in a sentence: words ``start`` to before ``end``."""

    start: int
    end: int
    term: Term


@lru_cache(4096)
def mentions(text: str, lexicon: Lexicon) -> frozenset[Mention]:
    """Every concept of the lexicon that the text names, as the module says; both ways where it says both."""
    return frozenset(mention for mention, _ in _mentions(text, lexicon))


def concepts(text: str, *, denied: bool = False, sort: str = "") -> frozenset[str]:
    """The concepts of the open lexicon that a text affirms, by name; for labels made from reports.

    It looks at no UMLS, so that the same text has the same concepts everywhere.

    Args:
        text: a report, an answer.
        denied: those that the text says are not there, instead.
        sort: only ``finding``, ``device``, ``organ`` or ``modality``; all by default.
    """
    found = _mentions(text, open_lexicon())
    return frozenset(m.concept for m, of in found if m.denied == denied and sort in ("", of))


def _mentions(text: str, lexicon: Lexicon) -> Iterator[tuple[Mention, str]]:
    for sentence in sentences(text):
        named = list(_named(sentence, lexicon))
        shut = _denied(sentence, named)
        for one in named:
            denied = one.term.absent or (one.term.sort not in NEVER_DENIED and one.start in shut)
            yield Mention(one.term.concept, denied), one.term.sort


def _named(sentence: Sequence[str], lexicon: Lexicon) -> Iterator[_Named]:
    """Names from left to right, the longest first; "of" and forms of "be" are skipped."""
    kept = [at for at, word in enumerate(sentence) if word not in SKIPPED]
    k = 0
    while k < len(kept):
        for length in range(min(lexicon.longest, len(kept) - k), 0, -1):
            words = tuple(sentence[at] for at in kept[k : k + length])
            if COMMA not in words and (term := lexicon.get(words)) is not None:
                yield _Named(kept[k], kept[k + length - 1] + 1, term)
                k += length
                break
        else:
            k += 1


def _denied(sentence: Sequence[str], named: Sequence[_Named]) -> set[int]:
    """The positions that a denial reaches."""
    within = {at for one in named for at in range(one.start, one.end)}
    shut: set[int] = set()
    for at in range(len(sentence)):
        if at in within:
            continue
        if _denies_next(sentence, at):
            shut |= set(range(at + 1, _scope_end(sentence, at + 1)))
        if _denies_before(sentence, at):
            shut |= set(range(_scope_start(sentence, at), at))
    return shut


def _denies_next(sentence: Sequence[str], at: int) -> bool:
    word, after = sentence[at], [w for w in sentence[at + 1 : at + 5] if w not in BE]
    if word in _DENY_WITH:
        return bool(after) and after[0] in _DENY_WITH[word]
    if word not in _DENY_NEXT:
        return False
    if word == "not" and (after[:1] in (["excluded"], ["only"]) or after[:2] == ["ruled", "out"]):
        return False
    while after and after[0] in _OF_CHANGES:
        after = after[1:]
    return not (after and after[0] in _CHANGES)


def _denies_before(sentence: Sequence[str], at: int) -> bool:
    word, before = sentence[at], [w for w in sentence[max(at - 4, 0) : at] if w not in BE]
    negated = before[-1:] in (["not"], ["cannot"])
    if word in _GONE or (word == "ruled" and sentence[at + 1 : at + 2] == ["out"]):
        return not negated
    return word in _SEEN and (negated or before[-2:] == ["no", "longer"])


def _scope_end(sentence: Sequence[str], start: int) -> int:
    """Where what is denied from ``start`` on ends."""
    verb = False
    for at in range(start, len(sentence)):
        word = sentence[at]
        if word in _ENDS or (word in (COMMA, "and") and (verb or _new_clause(sentence, at + 1))):
            return at
        verb = verb or word in _VERBS
    return len(sentence)


def _new_clause(sentence: Sequence[str], start: int) -> bool:
    """Whether the words up to the next comma have a verb of their own and do not continue a list."""
    for at in range(start, len(sentence)):
        word = sentence[at]
        if word == COMMA or word in _ENDS or (at == start and word in ("or", "nor")):
            return False
        if word in _VERBS:
            return True
    return False


def _scope_start(sentence: Sequence[str], end: int) -> int:
    """Where the clause begins that ends at ``end``: after ``but`` and the like, or a comma or "and" behind a verb."""
    for at in range(end - 1, -1, -1):
        word = sentence[at]
        if word in _ENDS or (word in (COMMA, "and") and any(earlier in _VERBS for earlier in sentence[:at])):
            return at + 1
    return 0
