"""Strips of sites: every site a dot, the worst one ringed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedmeki_bench.leaderboard.groups import by_name, spread_of
from fedmeki_bench.leaderboard.plots.theme import INK, MUTED, WARN, Picture, as_svg, bare, figure, own, styled, wrapped

if TYPE_CHECKING:
    from fedmeki_bench.leaderboard.page import Page, Section

_ACROSS = 4


def draw(page: Page, section: Section) -> list[Picture]:
    """One picture with a panel per task that has sites to compare."""
    grid = section.grid
    names = [row.algorithm.name for row in section.table.rows]
    tasks = [t for t in grid.tasks if any(spread_of(grid, name, t, "site") for name in names)]
    names = [name for name in names if any(spread_of(grid, name, t, "site") for t in tasks)]
    if not tasks:
        return []
    key, title = f"sites-{section.key}", f"Sites: {section.title}"
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
                if place == 0:
                    label = axes.text(
                        -0.04, y, grid.algorithms[name].title, transform=axes.get_yaxis_transform(), ha="right",
                        va="center", fontsize=8, color=INK,
                    )  # fmt: skip
                    own(label, name)
                values = [v for v in by_name(grid, name, task, "site") if v.value == v.value]
                found = spread_of(grid, name, task, "site")
                if found is None:
                    continue
                line2d = axes.plot([min(v.value for v in values), max(v.value for v in values)], [y, y], color=MUTED,
                                   lw=1, alpha=0.4)  # fmt: skip
                own(line2d[0], name)
                worst = next(v.value for v in values if v.name == found.worst)
                others = [v.value for v in values if v.name != found.worst]
                dots = axes.plot(others, [y] * len(others), "o", ms=5, mew=0, color=MUTED)
                dots += axes.plot([worst], [y], "o", ms=5, mew=1.4, mec=WARN, mfc="none")
                for dot in dots:
                    own(dot, name)
            axes.set_ylim(len(names) - 0.4, -0.6)
            axes.set_yticks([])
            axes.locator_params(axis="x", nbins=4)
            axes.set_title(wrapped(page.facts.task_title(task)), pad=5)
            axes.set_xlabel(page.facts.metric_title(grid.main_metric(task)))
            bare(axes)
        svg = as_svg(fig, key, title)
    caption = (
        "Main metric per site of the test split; the worst site is ringed and named in the table of sites below. "
        "Sites with too few samples for a value are left out; differences between sites are not tested."
    )
    return [Picture(key, title, caption, svg)]
