"""One forest plot over all sections of a page: every row's difference to the reference, a panel per section."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedmeki_bench.leaderboard.plots.differences import READING, forest
from fedmeki_bench.leaderboard.plots.theme import Picture, as_svg, strips, styled

if TYPE_CHECKING:
    from fedmeki_bench.leaderboard.page import Page


def draw(page: Page) -> Picture | None:
    """The picture beside the overview; None where the page has no overview."""
    if page.overview is None:
        return None
    sections = {s.key: s for s in page.sections if any(c.difference is not None for c in s.analysis.primary)}
    judged = {c.algorithm for s in sections.values() for c in s.analysis.primary if c.difference is not None}
    rows = {a.name: a.title for a in page.algorithms if a.name in judged}
    title = "Differences on the mean, in all sections"
    with styled():
        fig, panels = strips({key: s.label for key, s in sections.items()}, rows)
        for key, axes in panels.items():
            forest(
                axes, [c for c in sections[key].analysis.primary if c.difference is not None], list(rows), page.facts
            )
        svg = as_svg(fig, "overview", title, page.algorithms)
    return Picture(
        "overview", title, f"Difference to the section's reference on the mean over its tasks. {READING}", svg
    )
