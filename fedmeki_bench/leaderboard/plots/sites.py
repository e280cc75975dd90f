"""Strips of sites: every site a shape of its own with its name below the panel, the worst one ringed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedmeki_bench.leaderboard.groups import by_name, spread_of
from fedmeki_bench.leaderboard.plots.theme import MUTED, WARN, Picture, as_svg, own, strips, styled, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fedmeki_bench.leaderboard.page import Page
    from fedmeki_bench.leaderboard.section import Section

_SHAPES = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p")
_OTHER = "."  # of sites beyond the shapes that can be told apart
_ABREAST = 4
_LINE = 0.16  # inches per line of names


def draw(page: Page, section: Section) -> list[Picture]:
    """One picture with a panel per task that has sites to compare."""
    grid = section.grid
    names = [row.algorithm.name for row in section.table.rows]
    tasks = [t for t in grid.tasks if any(spread_of(grid, name, t, "site") for name in names)]
    names = [name for name in names if any(spread_of(grid, name, t, "site") for t in tasks)]
    if not tasks:
        return []
    key, title = f"sites-{section.key}", f"Sites: {section.title}"
    sites = {
        t: sorted({v.name for n in names for v in by_name(grid, n, t, "site") if v.value == v.value}) for t in tasks
    }
    foot = 0.05 + _LINE * max(-(-len(found) // _ABREAST) for found in sites.values())
    with styled():
        fig, panels = strips(
            {task: page.facts.task_title(task) for task in tasks}, {n: grid.algorithms[n].title for n in names},
            foot=foot,
        )  # fmt: skip
        for task, axes in panels.items():
            shapes = dict(zip(sites[task], _SHAPES, strict=False))
            for y, name in enumerate(names):
                values = [v for v in by_name(grid, name, task, "site") if v.value == v.value]
                found = spread_of(grid, name, task, "site")
                if found is None:
                    continue
                drawn = axes.plot([found.worst_value, found.best_value], [y, y], color=MUTED, lw=1, alpha=0.4)
                for v in values:
                    drawn += axes.plot([v.value], [y], shapes.get(v.name, _OTHER), ms=4.5, mew=0, color=MUTED)
                drawn += axes.plot([found.worst_value], [y], "o", ms=7.5, mew=1.3, mec=WARN, mfc="none")
                for artist in drawn:
                    own(artist, name)
            axes.set_xlabel(page.facts.metric_title(grid.main_metric(task)))
            _legend(axes, sites[task], shapes)
        svg = as_svg(fig, key, title, grid.algorithms.values())
    caption = (
        "Main metric per site of the test split; the worst site is ringed, and named in the table of sites below. "
        "Sites with too few samples for a value are left out; differences between sites are not tested."
    )
    return [Picture(key, title, caption, svg)]


def _legend(axes: Axes, sites: list[str], shapes: dict[str, str]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], ls="none", marker=shapes.get(site, _OTHER), ms=4.5, mew=0, color=MUTED, label=wrapped(site, 14))
        for site in sites
    ]
    figure = axes.get_figure()
    assert figure is not None
    height = axes.get_position().height * figure.get_figheight()  # type: ignore[union-attr]
    axes.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(-0.03, -0.42 / height), ncols=_ABREAST, fontsize=7,
        frameon=False, handletextpad=0.1, columnspacing=0.8, borderpad=0, borderaxespad=0,
    )  # fmt: skip
