"""Which experts carry which task: the gate's vector per task as a heat map."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedmeki_bench.evaluation.view import in_words
from fedmeki_bench.leaderboard.plots.theme import (
    ACCENT,
    FAINT,
    INK,
    MUTED,
    Picture,
    as_svg,
    bare,
    figure,
    styled,
    wrapped,
)

if TYPE_CHECKING:
    from fedmeki_bench.leaderboard.page import Page
    from fedmeki_bench.leaderboard.section import Section
    from fedmeki_bench.records.record import GateFacts, Record


def draw(page: Page, section: Section) -> list[Picture]:
    """A picture per algorithm with more than one expert (first seed), in the section of trained tasks only."""
    if section.zero_shot:
        return []
    pictures: list[Picture] = []
    for name, algorithm in section.grid.algorithms.items():
        if not in_words(algorithm.view):
            continue
        records = [o.record for o in section.grid.of(name) if o.status == "ok" and o.record and o.record.foundation]
        record = next(
            (r for r in records if r.foundation and any(len(v) > 1 for v in r.foundation.routing.values())), None
        )
        if record is not None:
            key = f"routing-{section.key}-{len(pictures)}"
            title = f"Expert routing: {algorithm.title}, seed {record.seed}"
            pictures.append(Picture(key, title, _caption(record), _svg(page, record, key, title)))
    return pictures


def _caption(record: Record) -> str:
    assert record.foundation is not None
    vectors = list(record.foundation.routing.values())
    spread = max(max(column) - min(column) for column in zip(*vectors, strict=True))
    experts = len(vectors[0])
    said = f"{spread:.4f}" if spread >= 0.0001 else "0.0001"
    return (
        f"The gate's weight on each of {experts} experts per task; a uniform gate gives {1 / experts:.3f} everywhere. "
        f"Between tasks, no expert's weight differs by more than {said}"
        + (": the gate does not tell these tasks apart." if spread < 0.01 else ".")
        + (f" {_summed_up(record.foundation.gate)}" if record.foundation.gate else "")
    )


def _summed_up(gate: GateFacts) -> str:
    return (
        f"Two tasks' gates lie {gate.distance:.3f} apart in the mean and {gate.largest_distance:.3f} at most (L1, 2 is "
        f"the most possible), so that {100 * gate.overlap:.0f} % of their weight falls on the same experts. Over all "
        f"tasks the load is that of {gate.experts:.1f} equally used experts."
    )


def _svg(page: Page, record: Record, key: str, title: str) -> str:
    from matplotlib.patches import Rectangle

    assert record.foundation is not None
    routing = record.foundation.routing
    experts = len(next(iter(routing.values())))
    top = max(max(v) for v in routing.values())
    with styled():
        fig = figure(9.6, 0.55 + 0.3 * len(routing))
        axes = fig.add_axes((0.23, 0.05, 0.75, 1 - 0.4 / fig.get_figheight()))
        for y, (task, vector) in enumerate(routing.items()):
            for x, weight in enumerate(vector):
                axes.add_patch(
                    Rectangle((x, y), 1, 1, facecolor=ACCENT, alpha=0.08 + 0.5 * weight / top, edgecolor=FAINT)
                )
                axes.text(x + 0.5, y + 0.5, f"{weight:.3f}", ha="center", va="center", fontsize=7.5, color=INK)
            axes.text(
                -0.1, y + 0.5, wrapped(page.facts.task_title(task), 34), ha="right", va="center", fontsize=8, color=INK
            )
        for x in range(experts):
            axes.text(x + 0.5, -0.12, str(x + 1), ha="center", va="bottom", fontsize=8, color=MUTED)
        axes.set_xlim(0, experts)
        axes.set_ylim(len(routing), 0)
        axes.set_xticks([])
        axes.set_yticks([])
        bare(axes, grid="")
        return as_svg(fig, key, title)
