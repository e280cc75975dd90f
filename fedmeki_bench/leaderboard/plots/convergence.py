"""Validation score against rounds, megabytes or seconds: small multiples, one line per training."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fedmeki_bench.evaluation.view import in_words
from fedmeki_bench.leaderboard.plots.labels import beside
from fedmeki_bench.leaderboard.plots.theme import (
    ACCENT,
    MUTED,
    REFERENCE,
    Picture,
    as_svg,
    bare,
    figure,
    own,
    styled,
    wrapped,
)
from fedmeki_bench.leaderboard.targets import valid_curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fedmeki_bench.leaderboard.page import Page
    from fedmeki_bench.leaderboard.section import Section
    from fedmeki_bench.records.record import Record, RoundRecord

_ACROSS = 4
_ROOM = 0.3  # share of the axis that names at its end take
_AXES: dict[str, Callable[[RoundRecord], float]] = {
    "rounds": lambda r: 1.0,
    "megabytes": lambda r: (r.bytes_up + r.bytes_down) / 1e6,
    "seconds": lambda r: r.seconds,
}


def draw(page: Page, section: Section) -> list[Picture]:
    """Three pictures, one per horizontal axis; none for zero-shot tasks, which have no validation curve."""
    tasks = [t for t in section.grid.tasks if any(_lines(section, t))]
    if not tasks:
        return []
    title = f"Convergence: {section.title}"
    caption = (
        "Main metric on the validation split after each round, mean over seeds; band: smallest to largest seed. "
        "Named: the reference (orange), the best ranked row (blue), bounds (dashed). Curves are of the "
        "model after aggregation: rows that share a training share a line, foundation views have none of their own. A "
        "row over all tasks counts the traffic and time of all of them in every panel. The test split is not looked at."
    )
    pictures = []
    for axis, step in _AXES.items():
        key = f"convergence-{section.key}-{axis}"
        with styled():
            svg = _figure(page, section, tasks, axis, step, key, f"{title}, by {axis}")
        pictures.append(Picture(key, title, caption, svg, choice=axis))
    return pictures


def _lines(section: Section, task: str) -> list[tuple[str, list[Record]]]:
    """Algorithm -> its finished runs with a curve, each training once."""
    found, seen = [], set()
    # the reference first, so that a line it shares is its own; what is never validated last, so that it owns none
    reference = section.analysis.reference.name if section.analysis.reference else ""
    rows = sorted(section.table.rows, key=lambda r: (r.algorithm.name != reference, in_words(r.algorithm.view)))
    for row in rows:
        outcomes = section.grid.outcomes.get((row.algorithm.name, task), [])
        runs = [o.record for o in outcomes if o.record is not None and len(valid_curve(o, task)) > 1]
        keys = tuple(r.key for r in runs)
        if runs and keys not in seen:
            seen.add(keys)
            found.append((row.algorithm.name, runs))
    return found


Step = Callable[["RoundRecord"], float]
"""How far a round moves along the axis."""


def _figure(
    page: Page,
    section: Section,
    tasks: list[str],
    axis: str,
    step: Step,
    key: str,
    title: str,
) -> str:
    from matplotlib.ticker import MaxNLocator

    across = min(_ACROSS, len(tasks))
    down = -(-len(tasks) // across)
    fig = figure(9.6, 2.35 * down + 0.1)
    grid = fig.subplots(down, across, squeeze=False)
    fig.subplots_adjust(
        left=0.05, right=0.99, top=1 - 0.45 / (2.35 * down), bottom=0.5 / (2.35 * down), wspace=0.22, hspace=0.5
    )
    ranked = (r.algorithm for r in section.table.rows if r.section == "ranked")
    best = next((a.name for a in ranked if not in_words(a.view)), "")
    reference = section.analysis.reference.name if section.analysis.reference else ""
    for index, axes in enumerate(grid.flat):
        if index >= len(tasks):
            axes.set_visible(False)
            continue
        task, ends = tasks[index], {}
        for name, runs in _lines(section, task):
            bound = section.grid.algorithms[name].bound
            colour = REFERENCE if name == reference else ACCENT if name == best else MUTED
            if axis == "megabytes" and section.grid.algorithms[name].pooled:
                continue  # pooling sends data, not models
            strong = name in (reference, best)
            end = _line(axes, name, runs, task, step, colour, bound, strong=strong)
            if strong or bound:
                ends[name] = end
        axes.set_title(wrapped(page.facts.task_title(task), 30), pad=5)
        axes.set_xlabel(axis)
        axes.locator_params(axis="y", nbins=5)
        bare(axes, grid="y")
        low, high = axes.get_xlim()
        ticks = MaxNLocator(4, integer=axis == "rounds").tick_values(low, high)
        axes.set_xticks([tick for tick in ticks if low <= tick <= high])
        axes.set_xlim(low, high + _ROOM * (high - low))
        axes.set_ylim(*axes.get_ylim())
        beside(axes, ends, {name: section.grid.algorithms[name].title for name in ends}, size=6.5, near=1.0)
    return as_svg(fig, key, title, section.grid.algorithms.values())


def _line(
    axes: Axes, name: str, runs: list[Record], task: str, step: Step, colour: str, bound: bool,
    *, strong: bool,
) -> tuple[float, float]:  # fmt: skip
    """Draw the runs of a row as one line; returns where it ends."""
    import numpy as np

    shortest = min(len(r.history) for r in runs)
    xs = np.mean([np.cumsum([step(h) for h in r.history[:shortest]]) for r in runs], axis=0)
    ys = np.array([[h.valid[task] for h in r.history[:shortest]] for r in runs], dtype=float)
    style = (0, (4, 2)) if bound else "-"
    alpha = 1.0 if strong else 0.75 if bound else 0.35
    line = axes.plot(xs, ys.mean(axis=0), color=colour, lw=2 if strong else 1.1, ls=style, alpha=alpha,
                     zorder=4 if strong else 2)  # fmt: skip
    own(line[0], name)
    if len(runs) > 1 and strong:
        band = axes.fill_between(xs, ys.min(axis=0), ys.max(axis=0), color=colour, alpha=0.15, lw=0, zorder=1)
        own(band, name)
    return float(xs[-1]), float(ys.mean(axis=0)[-1])
