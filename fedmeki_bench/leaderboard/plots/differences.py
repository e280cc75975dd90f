"""Forest plot: every algorithm's difference to the reference, on the mean over tasks and task by task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedmeki_bench.leaderboard.plots.theme import ACCENT, FAINT, INK, MUTED, PAPER, Picture, as_svg, own, strips, styled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from fedmeki_bench.leaderboard.grid import Facts
    from fedmeki_bench.leaderboard.judging import Comparison
    from fedmeki_bench.leaderboard.page import Page
    from fedmeki_bench.leaderboard.section import Section

READING = (
    "Bar: the interval; intervals of a family hold together. Shaded: the margin below which a difference does not "
    "matter. Coloured: better or worse; filled grey: equivalent or identical; hollow: undecided or not tested."
)
"""How a forest plot is read."""


def draw(page: Page, section: Section) -> list[Picture]:
    """One picture with a panel for the mean and one per task, or none without differences."""
    analysis, grid = section.analysis, section.grid
    reference = analysis.reference
    found = [c for c in (*analysis.primary, *analysis.per_task) if c.difference is not None]
    if not found or reference is None:
        return []
    names = [row.algorithm.name for row in section.table.rows if any(c.algorithm == row.algorithm.name for c in found)]
    tasks = list(dict.fromkeys(c.task for c in found))
    titles = {task: page.facts.task_title(task) if task else f"Mean over {len(grid.tasks)} tasks" for task in tasks}
    key, title = f"differences-{section.key}", f"Differences to {reference.title}: {section.title}"
    with styled():
        fig, panels = strips(titles, {n: grid.algorithms[n].title for n in names})
        for task, axes in panels.items():
            forest(axes, [c for c in found if c.task == task], names, page.facts)
        svg = as_svg(fig, key, title, grid.algorithms.values())
    lost = len(analysis.uncompared)
    without = f" {lost} more have no number." if lost else ""
    caption = f"Difference to {reference.title} on the same seeds and patients. {READING}{without}"
    return [Picture(key, title, caption, svg)]


def forest(axes: Axes, shown: Sequence[Comparison], names: Sequence[str], facts: Facts) -> None:
    """A line and a dot per difference, in the rows of ``names``; all differences have a number and one metric."""
    axes.axvspan(-shown[0].margin, shown[0].margin, color=FAINT, alpha=0.6, lw=0)
    for one in shown:
        assert one.difference is not None
        y, middle = names.index(one.algorithm), one.difference
        colour = ACCENT if one.decided else MUTED
        ends = [middle if one.low is None else one.low, middle if one.high is None else one.high]
        drawn = axes.plot(ends, [y, y], color=colour, lw=1.8, alpha=0.7, solid_capstyle="round")
        fill = PAPER if one.word in ("undecided", "not tested") else colour
        drawn += axes.plot([middle], [y], "o", ms=5, mec=colour, mew=1.2, mfc=fill)
        for artist in drawn:
            own(artist, one.algorithm)
    axes.axvline(0, color=INK, lw=0.9)
    metric = shown[0].metric
    axes.set_xlabel(f"Δ {facts.metric_title(metric)}" if metric else "Δ in margins")
