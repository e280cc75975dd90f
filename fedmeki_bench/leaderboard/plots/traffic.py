"""Communication against quality: who gives the most for its bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedmeki_bench.leaderboard.plots.labels import beside
from fedmeki_bench.leaderboard.plots.theme import ACCENT, MUTED, Picture, as_svg, bare, figure, own, styled

if TYPE_CHECKING:
    from fedmeki_bench.leaderboard.page import Page
    from fedmeki_bench.leaderboard.section import Section

_WIDE = 20
"""From this ratio of the largest cost to the smallest on, the axis is logarithmic."""


def draw(page: Page, section: Section) -> list[Picture]:
    """One picture where the rows have a mean over tasks, and at least two of them sent something."""
    points = {}
    if not section.grid.scale.metric:
        return []
    for row in section.table.rows:
        cost, score = section.grid.cost(row.algorithm.name), section.grid.overall(row.algorithm.name)
        if row.section == "ranked" and cost is not None and score is not None and cost.megabytes > 0:
            points[row.algorithm.name] = (cost.megabytes, score)
    if len(points) < 2:
        return []
    key, title = f"traffic-{section.key}", f"Communication and quality: {section.title}"
    front = [name for name in section.analysis.front if name in points]
    with styled():
        fig = figure(9.6, max(4.2, 1 + 0.15 * len(points)))
        axes = fig.add_axes((0.07, 0.55 / fig.get_figheight(), 0.92, 1 - 0.75 / fig.get_figheight()))
        steps = sorted(points[name] for name in front)
        if steps:
            axes.step([x for x, _ in steps], [y for _, y in steps], where="post", color=ACCENT, lw=1.2, alpha=0.6)
        for name, (x, y) in points.items():
            colour = ACCENT if name in front else MUTED
            dot = axes.plot([x], [y], "o", ms=6, color=colour, alpha=0.9, zorder=4 if name in front else 3)
            own(dot[0], name)
        costs = [x for x, _ in points.values()]
        wide = max(costs) > _WIDE * min(costs)
        if wide:
            axes.set_xscale("log")
        axes.set_xlim(*_room(costs, wide))
        axes.margins(y=0.1)
        axes.set_ylim(*axes.get_ylim())
        beside(axes, points, {name: section.grid.algorithms[name].title for name in points}, size=8)
        axes.set_xlabel("megabytes over all clients, both ways, whole training" + (" (log)" if wide else ""))
        axes.set_ylabel(f"mean {page.facts.metric_title(section.grid.main_metric(section.grid.tasks[0]))}")
        bare(axes, grid="both")
        axes.tick_params(which="minor", length=0)
        svg = as_svg(fig, key, title, section.grid.algorithms.values())
    caption = (
        "Every ranked row by name; the step joins those that no other beats in both bytes and score (Pareto front)."
    )
    return [Picture(key, title, caption, svg)]


def _room(costs: list[float], wide: bool) -> tuple[float, float]:
    """Limits of the axis, with room for names at the right of the last column of dots."""
    import math

    ends = [math.log10(c) if wide else c for c in (min(costs), max(costs))]
    span = ends[1] - ends[0] or 0.1 * abs(ends[1]) or 1.0
    low, high = ends[0] - 0.06 * span, ends[1] + 0.28 * span
    return (10**low, 10**high) if wide else (low, high)
