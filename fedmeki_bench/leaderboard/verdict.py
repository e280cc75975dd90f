"""What a section found and what it did not, in sentences for a reader who knows no statistics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fedmeki_bench.leaderboard.differences import margin_text, statistic
from fedmeki_bench.leaderboard.planning import resolution

if TYPE_CHECKING:
    from fedmeki_bench.leaderboard.analysis import Analysis
    from fedmeki_bench.leaderboard.grid import Grid

WORDS = ("better", "equivalent", "undecided", "worse", "identical")
"""Words of a difference, in the order in which they are counted."""

_ALWAYS = ("better", "undecided", "worse")
_SPELT = 6
"""Rows that a sentence names before it counts the rest."""


def verdict(grid: Grid, analysis: Analysis) -> tuple[str, ...]:
    """Sentences for the top of the page; none where nothing was compared."""
    found = [c for c in analysis.primary if c.difference is not None]
    if analysis.reference is None or not (found or analysis.questions):
        return ()
    reference = analysis.reference.title
    by_word: dict[str, list[str]] = {}
    for c in found:
        by_word.setdefault(c.word, []).append(c.algorithm)
    what = statistic(grid)
    among = "Of these models, trained once each, " if analysis.seeds == 1 else ""
    parts = [
        f"{text}: {_names(grid, by_word[word])}"
        for word, text in (
            ("better", f"better than {reference}"),
            ("worse", f"worse than {reference}"),
            ("equivalent", f"equivalent to {reference} (within {margin_text(grid)})"),
        )
        if word in by_word
    ]
    undecided = len(by_word.get("undecided", ()))
    said = []
    if parts:
        rest = f"; {'the other ' if undecided > 1 else ''}{undecided} undecided" if undecided else ""
        said.append(_sentence(f"{among}on {what} these are {'; '.join(parts)}{rest}."))
    elif undecided:
        others = "the one other is" if undecided == 1 else f"all {undecided} others are"
        shown = f"none is shown to differ from {reference} on {what}"
        said.append(_sentence(f"{among}{shown}: {others} undecided, which does not mean equal."))
    said += _on_tasks(grid, analysis)
    if "identical" in by_word:
        names = by_word["identical"]
        said.append(
            f"{_names(grid, names)} {'has' if len(names) == 1 else 'have'} the same predictions as {reference}."
        )
    said += _best(grid, analysis)
    said += _bounds(grid, analysis)
    able = resolution(grid, analysis)
    said += [able] if able else []
    return tuple(said)


def tally(analysis: Analysis) -> dict[str, tuple[str, ...]]:
    """Word -> the rows that it was said of on the section's first comparison; empty where nothing was compared."""
    found = [c for c in analysis.primary if c.difference is not None]
    if not found:
        return {}
    words = [word for word in WORDS if word in _ALWAYS or any(c.word == word for c in found)]
    return {word: tuple(c.algorithm for c in found if c.word == word) for word in words}


def _on_tasks(grid: Grid, analysis: Analysis) -> list[str]:
    """On which tasks a row is better or worse; only rows whose mean is decided are tested there."""
    parts = []
    for task in grid.tasks:
        by_word = [
            f"{word}: {_names(grid, names)}"
            for word in ("better", "worse")
            if (names := [c.algorithm for c in analysis.per_task if c.task == task and c.word == word])
        ]
        if by_word:
            parts.append(f"{grid.facts.task_title(task)} {', '.join(by_word)}")
    return [f"On single tasks: {'; '.join(parts)}."] if parts else []


def _best(grid: Grid, analysis: Analysis) -> list[str]:
    if not analysis.places:
        return []
    n, best = len(analysis.places), analysis.best
    if len(best) == n:
        return [f"Any of the {n} ranked rows may be the best."]
    if len(best) == 1:
        return [f"The best of the {n} ranked rows is {grid.algorithms[best[0]].title}."]
    return [f"The best of the {n} ranked rows is one of {len(best)}: {_names(grid, best)}."]


def _bounds(grid: Grid, analysis: Analysis) -> list[str]:
    parts = []
    for bound in dict.fromkeys(asked.found.against for asked in analysis.questions):
        asked = [a for a in analysis.questions if a.found.against == bound and a.found.difference is not None]
        if not asked:
            continue
        title = grid.algorithms[bound].title
        if asked[0].question == "better":
            claim, denial = f"better than {title}", "worse"
        else:
            claim, denial = f"within {margin_text(grid)} of {title} or better", "worse by more"
        yes, no = (sum(a.answer == answer for a in asked) for answer in ("yes", "no"))
        shown = f"{yes or 'none'} of {len(asked)} {'is' if yes <= 1 else 'are'} shown to be {claim}"
        parts.append(shown + f", and {no} to be {denial}" * (no > 0))
    return [_sentence(f"{'; '.join(parts)}.")] if parts else []


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def _names(grid: Grid, names: Sequence[str]) -> str:
    titles = [grid.algorithms[name].title for name in names]
    if len(titles) > _SPELT:
        return f"{', '.join(titles[: _SPELT - 1])} and {len(titles) - _SPELT + 1} more"
    return titles[0] if len(titles) == 1 else f"{', '.join(titles[:-1])} and {titles[-1]}"
