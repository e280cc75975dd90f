"""Pictures of the analysis ``scaling``: errors over sizes on logarithmic axes, with the laws and their bands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from fedmeki_bench.leaderboard.plots.theme import (
    ACCENT,
    INK,
    MUTED,
    REFERENCE,
    WARN,
    Picture,
    as_svg,
    bare,
    figure,
    styled,
    wrapped,
)
from fedmeki_bench.leaderboard.studies.curves import words

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fedmeki_bench.leaderboard.studies.curves import Measured

_ABREAST, _PANELS, _CURVES = 3, 12, 4
_COLOURS, _MARKS = (INK, ACCENT, WARN, REFERENCE), ("o", "s", "^", "D")


def draw(curves: Sequence[Measured], titles: Mapping[str, str], budget: str) -> list[Picture]:
    """One picture for each kind of size."""
    drawn = [curve for curve in curves if any(error > 0 for error in curve.errors)]  # the axes are logarithmic
    with styled():
        found = [_picture(over, drawn, titles, budget) for over in dict.fromkeys(curve.over for curve in drawn)]
    return [picture for picture in found if picture is not None]


def _picture(over: str, curves: Sequence[Measured], titles: Mapping[str, str], budget: str) -> Picture | None:
    """A panel per task and choice of all but the last axis, a curve per value of that one."""
    panels: dict[tuple[str, str], list[Measured]] = {}
    for curve in (c for c in curves if c.over == over):
        others = words(dict(list(curve.place.items())[:-1]))
        heading = ", ".join(filter(None, [titles[curve.task], others]))
        panels.setdefault((curve.row, heading), []).append(curve)
    shown = list(panels.items())[:_PANELS]
    if not shown:
        return None
    across = min(_ABREAST, len(shown))
    down = -(-len(shown) // across)
    high = 3.0
    fig = figure(9.6, down * high + 0.1)
    gap, left = 0.075, 0.065
    each = (0.985 - left - gap * (across - 1)) / across
    errors = [e for _, mine in shown for curve in mine for e in curve.errors if e > 0]
    for number, ((_, heading), mine) in enumerate(shown):
        line, place = divmod(number, across)
        bottom = ((down - 1 - line) * high + 1.0) / fig.get_figheight()
        axes = fig.add_axes((left + place * (each + gap), bottom, each, (high - 1.5) / fig.get_figheight()))
        _panel(axes, mine[:_CURVES], over, 0.8 * min(errors), min(1.0, 1.25 * max(errors)))
        axes.set_title(wrapped(heading, 40), pad=5, fontsize=8.5)
    key, title = f"scaling-{over.split()[-1]}", f"Error over {over}"
    caption = (
        f"1 less the main metric over {over}, both on logarithmic axes: what is measured, with its 95 % interval over "
        "patients and seeds, the law that fits it, and the band of laws that other patients and seeds would give. A "
        f"straight fall is a power law, a bend to the right the floor that remains. {budget}"
    )
    return Picture(key, title, caption.strip(), as_svg(fig, key, title))


def _panel(axes: Axes, curves: Sequence[Measured], over: str, low: float, high: float) -> None:
    from matplotlib.ticker import FuncFormatter, NullLocator

    axes.set_xscale("log")
    axes.set_yscale("log")
    for number, curve in enumerate(curves):
        colour, mark = _COLOURS[number], _MARKS[number]
        if curve.law is not None:
            inside = [max(v, low / 2) for v in curve.law.low], [min(v, 1.0) for v in curve.law.high]
            axes.fill_between(curve.law.at, *inside, color=colour, alpha=0.12, lw=0)
            axes.plot(curve.law.at, [curve.law.error(x) for x in curve.law.at], color=colour, lw=1.4)
        else:
            axes.plot(curve.sizes, curve.errors, color=colour, lw=0.8, ls=":")
        for x, (below, above) in zip(curve.sizes, curve.bars, strict=False):
            axes.plot([x, x], [max(below, low / 2), min(above, 1.0)], color=colour, lw=0.8)
        said = list(curve.place.values())[-1] if curve.place else "measured"
        if curve.law is not None:
            said += f" (alpha {curve.law.exponent:.2f})"
        axes.plot(curve.sizes, curve.errors, mark, ms=4, mew=0, color=colour, label=wrapped(said, 44))
    axes.set_ylim(low, high)
    bare(axes, grid="y")
    ticks = sorted({x for curve in curves for x in curve.sizes})
    axes.set_xticks(ticks, [_short(x) for x in ticks])
    levels = [v for v in (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0) if low <= v <= high]
    axes.set_yticks(levels)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(over)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.3), frameon=False, fontsize=7, labelcolor=MUTED)


def _short(x: float) -> str:
    return f"{x / 1e6:.1f} M" if x >= 1e6 else f"{x / 1e3:.0f} k" if x >= 1e4 else f"{x:,.0f}"
