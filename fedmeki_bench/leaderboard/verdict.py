"""What a section found and what it did not, in sentences for a reader who knows no statistics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fedmeki_bench.leaderboard.differences import margin_text, statistic

if TYPE_CHECKING:
    from fedmeki_bench.leaderboard.analysis import Analysis
    from fedmeki_bench.leaderboard.grid import Grid

_SPELT = 6
"""Rows that a sentence names before it counts the rest."""


def verdict(grid: Grid, analysis: Analysis) -> tuple[str, ...]:
    """Sentences for the top of the page; none where nothing was compared."""
    found = [c for c in analysis.primary if c.difference is not None]
    if analysis.reference is None or not found:
        return ()
    reference = analysis.reference.title
    by_word: dict[str, list[str]] = {}
    for c in found:
        by_word.setdefault(c.word, []).append(c.algorithm)
    said = []
    if len(grid.board.seeds) == 1:
        said.append(
            "Each row was trained once: what follows holds for these trained models and says nothing of the algorithms."
        )
    what = statistic(grid)
    parts = []
    for word, text in (
        ("better", f"better than {reference}"),
        ("worse", f"worse than {reference}"),
        ("equivalent", f"equivalent to it (within {margin_text(grid)})"),
    ):
        if by_word.get(word):
            parts.append(f"{text}: {_names(grid, by_word[word])}")
    open_ = len(by_word.get("undecided", ()))
    if parts:
        rest = f"; undecided: {'the other ' * (open_ > 0)}{open_ or 'none'}" if open_ else ""
        said.append(f"On {what}, {'; '.join(parts)}{rest}.")
    elif open_:
        said.append(
            f"On {what}, no row could be told from {reference}: "
            f"{'the one other row is' if open_ == 1 else f'all {open_} others are'} undecided."
        )
    if by_word.get("identical"):
        said.append(f"The same predictions as {reference}: {_names(grid, by_word['identical'])}.")
    said += _best(grid, analysis)
    said += _bounds(grid, analysis)
    said += [analysis.resolution] if analysis.resolution else []
    return tuple(said)


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
            claim, denial = f"better than {title}", "not better"
        else:
            claim, denial = f"not worse than {title} by more than {margin_text(grid)}", "worse by more"
        yes, no = (sum(a.answer == answer for a in asked) for answer in ("yes", "no"))
        parts.append(f"{claim}: {yes or 'none'} of {len(asked)}" + f" ({no} certainly {denial})" * (no > 0))
    return [f"Against the bounds, {'; '.join(parts)}."] if parts else []


def _names(grid: Grid, names: Sequence[str]) -> str:
    titles = [grid.algorithms[name].title for name in names]
    if len(titles) > _SPELT:
        return f"{', '.join(titles[: _SPELT - 1])} and {len(titles) - _SPELT + 1} more"
    return titles[0] if len(titles) == 1 else f"{', '.join(titles[:-1])} and {titles[-1]}"
