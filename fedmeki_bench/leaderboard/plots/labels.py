"""Names beside dots and lines, moved apart so that none covers another, with a thin line to what they name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from fedmeki_bench.leaderboard.plots.theme import INK, MUTED, own

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_POINTS = 72.0
_LINE = 1.5  # line height in font sizes, with room for sub- and superscripts


def spread(wanted: Sequence[float], gap: float) -> list[float]:
    """The places nearest to the wanted ones, in least squares, that keep their order and a distance of ``gap``.

    Pool adjacent violators: what would overlap becomes a block around the mean of what its members want.
    """
    order = sorted(range(len(wanted)), key=lambda i: (wanted[i], i))
    blocks: list[tuple[float, int]] = []  # sum and number of (wanted less the room below)
    for position, i in enumerate(order):
        total, n = wanted[i] - position * gap, 1
        while blocks and blocks[-1][0] / blocks[-1][1] >= total / n:
            before = blocks.pop()
            total, n = total + before[0], n + before[1]
        blocks.append((total, n))
    placed = [total / n for total, n in blocks for _ in range(n)]
    found = [0.0] * len(wanted)
    for position, i in enumerate(order):
        found[i] = placed[position] + position * gap
    return found


def within(places: Sequence[float], gap: float) -> list[float]:
    """Places moved into the picture, from 0 to 1, in their order and ``gap`` apart as far as there is room."""
    found, n = list(places), len(places)
    for position, i in enumerate(sorted(range(n), key=lambda i: (places[i], i))):
        lowest, highest = gap * (position + 0.5), 1 - gap * (n - position - 0.5)
        found[i] = min(max(found[i], lowest), max(lowest, highest))
    return found


def beside(
    axes: Axes, points: Mapping[str, tuple[float, float]], said: Mapping[str, str], *, size: float, near: float = 0.17
) -> None:
    """Name every point at the right of the points near it; limits and scales must be set.

    Args:
        axes: where the points are.
        points: algorithm -> its place in data.
        said: algorithm -> what it is called.
        size: of the font, in points.
        near: share of the axes' width below which two columns of names would overlap and become one.
    """
    figure = axes.get_figure()
    assert figure is not None
    to_axes = axes.transScale + axes.transLimits
    at = {name: tuple(to_axes.transform(point)) for name, point in points.items()}
    height = axes.get_position().height * figure.get_figheight() * _POINTS  # type: ignore[union-attr]
    gap = _LINE * size / height
    columns: list[list[str]] = []
    for name in sorted(at, key=lambda n: (at[n], n)):
        if columns and at[name][0] - at[columns[-1][-1]][0] < near:
            columns[-1].append(name)
        else:
            columns.append([name])
    for names in columns:
        right = max(at[name][0] for name in names) + 0.025
        places = within(spread([at[name][1] for name in names], gap), gap)
        for name, place in zip(names, places, strict=True):
            x, y = at[name]
            line = axes.plot([x, right - 0.004], [y, place], color=MUTED, lw=0.6, alpha=0.5, zorder=1,
                             transform=axes.transAxes)  # fmt: skip
            own(line[0], name)
            label = axes.text(right, place, said[name], fontsize=size, color=INK, va="center",
                              transform=axes.transAxes)  # fmt: skip
            own(label, name)
