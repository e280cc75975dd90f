"""Forest plot: every algorithm's paired difference to the reference, task by task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedmeki_bench.leaderboard.analysis import certain
from fedmeki_bench.leaderboard.plots.theme import ACCENT, INK, MUTED, PAPER, Picture, as_svg, own, strips, styled

if TYPE_CHECKING:
    from fedmeki_bench.leaderboard.page import Page, Section


def draw(page: Page, section: Section) -> list[Picture]:
    """One picture with a panel per task, or none without differences."""
    reference = section.analysis.reference
    found = [c for c in section.analysis.comparisons if c.difference is not None]
    if not found or reference is None:
        return []
    names = [row.algorithm.name for row in section.table.rows if any(c.algorithm == row.algorithm.name for c in found)]
    tasks = [task for task in section.grid.tasks if any(c.task == task for c in found)]
    key, title = f"differences-{section.key}", f"Differences to {reference.title}: {section.title}"
    grid = section.grid
    with styled():
        fig, panels = strips(
            {task: page.facts.task_title(task) for task in tasks}, {n: grid.algorithms[n].title for n in names}
        )
        for task, axes in panels.items():
            for one in (c for c in found if c.task == task):
                assert one.difference is not None
                y, middle = names.index(one.algorithm), one.difference
                colour = ACCENT if one.separated else MUTED
                ends = [middle if one.low is None else one.low, middle if one.high is None else one.high]
                drawn = axes.plot(ends, [y, y], color=colour, lw=1.8, alpha=0.7, solid_capstyle="round")
                fill = colour if one.separated else PAPER
                drawn += axes.plot([middle], [y], "o", ms=5, mec=colour, mew=1.2, mfc=fill)
                for artist in drawn:
                    own(artist, one.algorithm)
            axes.axvline(0, color=INK, lw=0.9)
            axes.set_xlabel(f"Δ {page.facts.metric_title(grid.main_metric(task))}")
        svg = as_svg(fig, key, title)
    n, untested = len([c for c in found if c.adjusted is not None]), len(section.analysis.uncompared)
    without = f" {untested} more could not be tested." if untested else ""
    caption = (
        f"Difference to {reference.title} on the same seeds and patients with its 95 % interval. Filled and coloured: "
        f"separated, that is, of the {n} differences of this figure, {certain(len(page.board.seeds))}.{without}"
    )
    return [Picture(key, title, caption, svg)]
