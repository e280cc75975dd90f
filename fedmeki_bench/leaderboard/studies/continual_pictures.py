"""Pictures of the analysis ``continual``: scores on `valid` over the rounds, with a band for each phase."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fedmeki_bench.leaderboard.plots.labels import beside
from fedmeki_bench.leaderboard.plots.theme import (
    ACCENT,
    FAINT,
    INK,
    MUTED,
    REFERENCE,
    WARN,
    Picture,
    as_svg,
    bare,
    figure,
    own,
    styled,
    wrapped,
)
from fedmeki_bench.leaderboard.studies.courses import JOINT, SPECIALISED, Course

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fedmeki_bench.leaderboard.page import Page

_ACROSS = 3
_ROOM = 0.4  # share of the axis that names at its end take
_COLOURS = (WARN, ACCENT, REFERENCE, INK)


def draw(page: Page, courses: Sequence[Course]) -> list[Picture]:
    """A picture per order of tasks and value of the other axes: a panel per task, a line per regime of each row."""
    found = []
    with styled():
        for number, (order, rest) in enumerate(dict.fromkeys((c.order, c.rest) for c in courses if c.phased)):
            shown = [c for c in courses if c.rest == rest and (c.order == order if c.phased else c.regime == JOINT)]
            titles = " → ".join(page.facts.task_title(task) for task in order)
            key, title = f"continual-{number + 1}", f"Rounds and phases: {titles}" + (f", {rest}" if rest else "")
            caption = (
                "Main metric on the validation split after each round, mean over seeds; the shaded rounds are those of "
                "the panel's own task. Named: the first row; other rows fainter; trained on all tasks at once, dashed. "
                "The test split is not looked at."
            )
            found.append(Picture(key, title, caption, _figure(page, shown, order, key, title), choice=titles))
    return found


def _figure(page: Page, courses: Sequence[Course], order: tuple[str, ...], key: str, title: str) -> str:
    across = min(_ACROSS, len(order))
    down = -(-len(order) // across)
    fig = figure(9.6, 2.6 * down + 0.1)
    grid = fig.subplots(down, across, squeeze=False)
    fig.subplots_adjust(
        left=0.05, right=0.99, top=1 - 0.45 / (2.6 * down), bottom=0.5 / (2.6 * down), wspace=0.2, hspace=0.5
    )
    regimes = list(dict.fromkeys(c.regime for c in courses if c.phased))
    colours = dict(zip(regimes, _COLOURS * len(regimes), strict=False)) | {JOINT: MUTED, SPECIALISED: MUTED}
    first = next(c.algorithm.name for c in courses if c.phased)
    lengths = _lengths(courses, len(order))
    for index, axes in enumerate(grid.flat):
        if index >= len(order):
            axes.set_visible(False)
            continue
        begin = sum(lengths[:index])
        axes.axvspan(begin + 0.5, begin + lengths[index] + 0.5, color=FAINT, alpha=0.6, lw=0, zorder=0)
        for n in range(1, len(order)):
            axes.axvline(sum(lengths[:n]) + 0.5, color=FAINT, lw=1, zorder=0)
        ends: dict[str, tuple[float, float]] = {}
        for course in courses:
            strong = course.algorithm.name == first
            end = _line(axes, course, order[index], colours[course.regime], strong=strong)
            if strong and end is not None:
                ends[course.regime] = end
        axes.set_title(wrapped(page.facts.task_title(order[index]), 34), pad=5)
        axes.set_xlabel("rounds")
        bare(axes, grid="y")
        axes.set_xlim(0.5, sum(lengths) * (1 + _ROOM))
        axes.set_xticks([sum(lengths[:n]) for n in range(1, len(order) + 1)])
        axes.set_ylim(*axes.get_ylim())
        beside(axes, ends, {name: name.removeprefix("rehearsing ") for name in ends}, size=6.5, near=1.0)
    return as_svg(fig, key, title, [c.algorithm for c in courses])


def _lengths(courses: Sequence[Course], phases: int) -> list[int]:
    """Rounds of each phase, which are shared out evenly, the first ones having one more."""
    rounds = max(len(record.history) for c in courses if c.phased for record in c.records)
    return [rounds // phases + (n < rounds % phases) for n in range(phases)]


def _line(axes: Axes, course: Course, task: str, colour: str, *, strong: bool) -> tuple[float, float] | None:
    """Draw the mean over seeds; returns where it ends, None where nothing was scored."""
    import numpy as np

    records = {record.key: record for record in course.records}.values()
    curves = [[h.valid.get(task) for h in record.history] for record in records]
    known = [[np.nan if v is None else v for v in curve] for curve in curves if any(v is not None for v in curve)]
    if not known:
        return None
    shortest = min(map(len, known))
    ys = np.mean([curve[:shortest] for curve in known], axis=0)
    xs = np.arange(1, shortest + 1)
    line = axes.plot(
        xs, ys, color=colour, lw=1.8 if strong else 1.0, ls=(0, (4, 2)) if course.regime == JOINT else "-",
        alpha=1.0 if strong else 0.35, zorder=4 if strong else 2,
    )  # fmt: skip
    own(line[0], course.algorithm.name)
    return float(xs[-1]), float(ys[-1])
