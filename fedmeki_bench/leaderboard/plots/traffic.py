"""Communication against quality: who gives the most for its bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedmeki_bench.leaderboard.plots.theme import ACCENT, INK, MUTED, Picture, as_svg, bare, figure, own, styled

if TYPE_CHECKING:
    from fedmeki_bench.leaderboard.page import Page, Section

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
        fig = figure(9.6, 4.2)
        axes = fig.add_axes((0.07, 0.13, 0.9, 0.83))
        steps = sorted(points[name] for name in front)
        if steps:
            axes.step([x for x, _ in steps], [y for _, y in steps], where="post", color=ACCENT, lw=1.2, alpha=0.6)
        for name, (x, y) in points.items():
            colour = ACCENT if name in front else MUTED
            dot = axes.plot([x], [y], "o", ms=7, color=colour, alpha=0.9, zorder=4 if name in front else 3)
            own(dot[0], name)
        costs = [x for x, _ in points.values()]
        wide = max(costs) > _WIDE * min(costs)
        if wide:
            axes.set_xscale("log")
        axes.margins(x=0.12, y=0.12)
        for place, name in enumerate(front):  # the other names would cover each other; the highlight tells them
            beside = (7, 5 if place % 2 else -12)
            label = axes.annotate(
                section.grid.algorithms[name].title, points[name], xytext=beside, textcoords="offset points",
                fontsize=8.5, color=INK,
            )  # fmt: skip
            own(label, name)
        axes.set_xlabel("megabytes over all clients, both ways, whole training" + (" (log)" if wide else ""))
        axes.set_ylabel(f"mean {page.facts.metric_title(section.grid.main_metric(section.grid.tasks[0]))}")
        bare(axes, grid="both")
        axes.tick_params(which="minor", length=0)
        svg = as_svg(fig, key, title)
    caption = "Every ranked row; the step joins those that no other beats in both bytes and score (Pareto front)."
    return [Picture(key, title, caption, svg)]
