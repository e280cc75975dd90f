"""Forest plot: every algorithm's paired difference to the reference, task by task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedmeki_bench.leaderboard.plots.theme import (
    ACCENT,
    INK,
    MUTED,
    PAPER,
    Picture,
    as_svg,
    bare,
    figure,
    own,
    styled,
    wrapped,
)

if TYPE_CHECKING:
    from fedmeki_bench.leaderboard.page import Page, Section

_ACROSS = 4


def draw(page: Page, section: Section) -> list[Picture]:
    """One picture with a panel per task, or none without differences."""
    reference = section.analysis.reference
    found = [c for c in section.analysis.comparisons if c.difference is not None]
    if not found or reference is None:
        return []
    names = [row.algorithm.name for row in section.table.rows if any(c.algorithm == row.algorithm.name for c in found)]
    tasks = [task for task in section.grid.tasks if any(c.task == task for c in found)]
    key, title = f"differences-{section.key}", f"Differences to {reference.title}: {section.title}"
    across = min(_ACROSS, len(tasks))
    down = -(-len(tasks) // across)
    with styled():
        panel = 0.215 * len(names) + 1.0
        fig = figure(9.6, down * panel + 0.1)
        left, gap = 0.17, 0.035
        each = (0.985 - left - gap * (across - 1)) / across
        for index, task in enumerate(tasks):
            line, place = divmod(index, across)
            bottom = ((down - 1 - line) * panel + 0.45) / fig.get_figheight()
            axes = fig.add_axes((left + place * (each + gap), bottom, each, (panel - 1.0) / fig.get_figheight()))
            for y, name in enumerate(names):
                one = next((c for c in found if c.algorithm == name and c.task == task), None)
                if place == 0:
                    label = axes.text(
                        -0.04, y, section.grid.algorithms[name].title, transform=axes.get_yaxis_transform(),
                        ha="right", va="center", fontsize=8, color=INK,
                    )  # fmt: skip
                    own(label, name)
                if one is None or one.difference is None:
                    continue
                colour = ACCENT if one.separated else MUTED
                low = one.difference if one.low is None else one.low
                high = one.difference if one.high is None else one.high
                bar = axes.plot([low, high], [y, y], color=colour, lw=1.8, alpha=0.7, solid_capstyle="round")
                dot = axes.plot(
                    [one.difference], [y], "o", ms=5, mec=colour, mew=1.2, mfc=colour if one.separated else PAPER
                )
                for artist in (*bar, *dot):
                    own(artist, name)
            axes.axvline(0, color=INK, lw=0.9)
            axes.set_ylim(len(names) - 0.4, -0.6)
            axes.set_yticks([])
            axes.locator_params(axis="x", nbins=4)
            axes.set_title(wrapped(page.facts.task_title(task)), pad=5)
            axes.set_xlabel(f"Δ {page.facts.metric_title(section.grid.main_metric(task))}")
            bare(axes)
        svg = as_svg(fig, key, title)
    n = len([c for c in found if c.adjusted is not None])
    caption = (
        f"Difference to {reference.title} on the same seeds and patients with its 95 % interval. Filled and coloured: "
        f"significant at 0.05 after Holm over all {n} tests of this figure as one family."
    )
    return [Picture(key, title, caption, svg)]
