"""Places: a dot for where a row stands on these tasks and a bar for where it may stand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedmeki_bench.leaderboard.plots.theme import ACCENT, INK, MUTED, Picture, as_svg, bare, figure, own, styled

if TYPE_CHECKING:
    from fedmeki_bench.leaderboard.page import Page
    from fedmeki_bench.leaderboard.section import Section


def draw(page: Page, section: Section) -> list[Picture]:
    """One picture, or none with fewer than two ranked rows."""
    places = section.analysis.places
    if len(places) < 2:
        return []
    names = [row.algorithm.name for row in section.table.rows if row.algorithm.name in places]
    key, title = f"places-{section.key}", f"Places on these tasks: {section.title}"
    from matplotlib.ticker import MaxNLocator

    with styled():
        fig = figure(9.6, 0.75 + 0.235 * len(names))
        axes = fig.add_axes((0.2, 0.5 / fig.get_figheight(), 0.77, 1 - 0.75 / fig.get_figheight()))
        first = set(section.analysis.best)
        for y, name in enumerate(names):
            found = places[name]
            colour = ACCENT if name in first else MUTED
            bar = axes.plot([found.low, found.high], [y, y], color=colour, lw=4, alpha=0.4, solid_capstyle="round")
            dot = axes.plot([found.place], [y], "o", ms=6.5, color=colour)
            for artist in (*bar, *dot):
                own(artist, name)
            label = axes.text(
                -0.015, y, section.grid.algorithms[name].title, transform=axes.get_yaxis_transform(), ha="right",
                va="center", fontsize=8.5, color=INK,
            )  # fmt: skip
            own(label, name)
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_xlim(0.5, len(names) + 0.5)
        axes.set_yticks([])
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("place among ranked rows (1 is best)")
        bare(axes)
        svg = as_svg(fig, key, title, section.grid.algorithms.values())
    caption = (
        "Dot: place by the mean over tasks. Bar: the places that are possible, all of them together. Coloured: rows "
        "that may be the best."
    )
    return [Picture(key, title, caption, svg)]
