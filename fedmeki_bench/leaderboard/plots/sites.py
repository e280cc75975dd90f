"""Strips of sites: every site a dot, the worst one ringed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedmeki_bench.leaderboard.groups import by_name, spread_of
from fedmeki_bench.leaderboard.plots.theme import MUTED, WARN, Picture, as_svg, own, strips, styled

if TYPE_CHECKING:
    from fedmeki_bench.leaderboard.page import Page, Section


def draw(page: Page, section: Section) -> list[Picture]:
    """One picture with a panel per task that has sites to compare."""
    grid = section.grid
    names = [row.algorithm.name for row in section.table.rows]
    tasks = [t for t in grid.tasks if any(spread_of(grid, name, t, "site") for name in names)]
    names = [name for name in names if any(spread_of(grid, name, t, "site") for t in tasks)]
    if not tasks:
        return []
    key, title = f"sites-{section.key}", f"Sites: {section.title}"
    with styled():
        fig, panels = strips(
            {task: page.facts.task_title(task) for task in tasks}, {n: grid.algorithms[n].title for n in names}
        )
        for task, axes in panels.items():
            for y, name in enumerate(names):
                values = [v for v in by_name(grid, name, task, "site") if v.value == v.value]
                found = spread_of(grid, name, task, "site")
                if found is None:
                    continue
                others = [v.value for v in values if v.name != found.worst]
                ends = [found.worst_value, found.best_value]
                drawn = axes.plot(ends, [y, y], color=MUTED, lw=1, alpha=0.4)
                drawn += axes.plot(others, [y] * len(others), "o", ms=5, mew=0, color=MUTED)
                drawn += axes.plot([found.worst_value], [y], "o", ms=5, mew=1.4, mec=WARN, mfc="none")
                for artist in drawn:
                    own(artist, name)
            axes.set_xlabel(page.facts.metric_title(grid.main_metric(task)))
        svg = as_svg(fig, key, title)
    caption = (
        "Main metric per site of the test split; the worst site is ringed and named in the table of sites below. "
        "Sites with too few samples for a value are left out; differences between sites are not tested."
    )
    return [Picture(key, title, caption, svg)]
