"""Before and after injection: what the foundation model could say in words alone, and what it says afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedmeki_bench.evaluation.view import in_words
from fedmeki_bench.leaderboard.plots.labels import beside
from fedmeki_bench.leaderboard.plots.theme import ACCENT, MUTED, Picture, as_svg, bare, figure, own, styled, wrapped

if TYPE_CHECKING:
    from fedmeki_bench.leaderboard.collect import Outcome
    from fedmeki_bench.leaderboard.page import Page
    from fedmeki_bench.leaderboard.section import Section

BEFORE = "foundation_before"
_ACROSS = 4
_LINE = 0.15  # inches per name


def before(outcome: Outcome, metric: str) -> float | None:
    """The metric of the foundation model before injection, on the same test samples; None if unknown."""
    if outcome.record is None:
        return None
    for e in outcome.record.evaluations:
        if e.view == BEFORE and e.task == outcome.cell.task and metric in e.metrics:
            return e.metrics[metric].value
    return None


def change(section: Section, algorithm: str, task: str) -> tuple[float, float] | None:
    """Mean over seeds before and after injection; None unless every seed has both."""
    metric = section.grid.main_metric(task)
    outcomes = [o for o in section.grid.outcomes.get((algorithm, task), []) if o.status == "ok"]
    starts = [before(o, metric) for o in outcomes]
    end = section.grid.mean(algorithm, task, metric)
    known = [s for s in starts if s is not None]
    if not known or len(known) < len(starts) or end is None:
        return None
    return sum(known) / len(known), end


def draw(page: Page, section: Section) -> list[Picture]:
    """One picture with a panel per task: a line per foundation view."""
    foundation = [n for n, a in section.grid.algorithms.items() if in_words(a.view)]
    tasks = [t for t in section.grid.tasks if any(change(section, n, t) for n in foundation)]
    if not tasks:
        return []
    key = f"injection-{section.key}"
    title = f"Before and after injection: {section.title}"
    across = min(_ACROSS, len(tasks))
    down = -(-len(tasks) // across)
    tall = max(2.2, 1.0 + _LINE * len(foundation))  # inches per panel, of which one for title and axis
    best = next((r.algorithm.name for r in section.table.rows if r.algorithm.name in foundation), "")
    with styled():
        fig = figure(9.6, tall * down + 0.1)
        panels = fig.subplots(down, across, squeeze=False)
        fig.subplots_adjust(
            left=0.05, right=0.985, top=1 - 0.45 / (tall * down), bottom=0.32 / (tall * down), wspace=0.25, hspace=0.45
        )
        for index, axes in enumerate(panels.flat):
            if index >= len(tasks):
                axes.set_visible(False)
                continue
            ends = {}
            for name in foundation:
                found = change(section, name, tasks[index])
                if found is not None:
                    strong = name == best
                    line = axes.plot([0, 1], found, "-o", ms=4, lw=2 if strong else 1.1,
                                     color=ACCENT if strong else MUTED, alpha=1.0 if strong else 0.45,
                                     zorder=3 if strong else 2)  # fmt: skip
                    own(line[0], name)
                    ends[name] = (1.0, found[1])
            axes.set_xlim(-0.15, 1.75)
            axes.set_xticks([0, 1], ["before", "after"])
            axes.locator_params(axis="y", nbins=4)
            metric = page.facts.metric_title(section.grid.main_metric(tasks[index]))
            axes.set_title(wrapped(f"{page.facts.task_title(tasks[index])}, {metric}", 30), pad=5, fontsize=8.5)
            bare(axes, grid="y")
            axes.set_ylim(*axes.get_ylim())
            beside(axes, ends, {name: section.grid.algorithms[name].title for name in ends}, size=6.5, near=1.0)
        svg = as_svg(fig, key, title, section.grid.algorithms.values())
    seen = "tasks it was never trained on" if section.zero_shot else "tasks it was trained on"
    caption = (
        f"Main metric of the foundation model on {seen}: left, as it was, asked in words without the data; right, "
        "after injection with the data. Every line is a foundation view; blue is the first in the table. The start is "
        "no control where all questions of a task are alike, as in classification: AUROC is 0.5 there by construction."
    )
    return [Picture(key, title, caption, svg)]
