"""Pictures of the analysis ``stability``: claims by world, rows over patients and worlds, what moves the numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from fedmeki_bench.leaderboard.plots.theme import (
    ACCENT,
    FAINT,
    INK,
    MUTED,
    PAPER,
    WARN,
    Picture,
    as_svg,
    bare,
    figure,
    own,
    strips,
    styled,
    wrapped,
)
from fedmeki_bench.leaderboard.studies.judged import base_ranks
from fedmeki_bench.statistics.perturbation import perturbation_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fedmeki_bench.leaderboard.studies.judged import Judged
    from fedmeki_bench.leaderboard.studies.worlds import Worlds

_ROWS = 20
_PANELS = 8
_NAMED = 40
"""Worlds that are named below their column; of more only the groups are."""

_GAP = 0.5
_LEFT = 0.27
_LETTER, _WIDEST = 0.27, 16
"""Room that a letter of a heading takes, in columns of marks, and the letters on a line of it."""
_WORDS = {"held": "holds", "tied": "tied", "failed": "fails", "undefined": "no number", "left out": "no signal"}


def draw(
    worlds: Worlds, judged: Sequence[Judged], moved: Mapping[tuple[str, str], tuple[float, float | None]]
) -> list[Picture]:
    """Those that have something to show, the claims first."""
    with styled():
        found = [_claims(worlds, judged), _rows(worlds), _moves(worlds, moved)]
    return [picture for picture in found if picture is not None]


def _groups(worlds: Worlds) -> list[tuple[str, list[int]]]:
    """Heading -> worlds: by the axis that is moved, or, where all are combined, by the first axis's value."""
    by: dict[str, list[int]] = {}
    axes = list(dict.fromkeys(axis for world in worlds.worlds for axis in world.place))
    moving = any(world.moved for world in worlds.worlds)
    for i, world in enumerate(worlds.worlds):
        if moving:
            heading = " and ".join(world.moved) if world.moved else "base"
        else:
            heading = world.place.get(axes[0], "") if axes else ""
        by.setdefault(heading, []).append(i)
    return list(by.items())


def _claims(worlds: Worlds, judged: Sequence[Judged]) -> Picture | None:
    """A line per claim, a mark per world."""
    if not judged or len(worlds.worlds) < 2:
        return None
    groups = _groups(worlds)
    xs: dict[int, float] = {}
    edges: list[float] = []
    at = 0.0
    for heading, members in groups:
        room = max(len(members), _LETTER * max(map(len, wrapped(heading, _WIDEST).split("\n"))))
        edges.append(at - _GAP)
        for number, member in enumerate(members):
            xs[member] = at + (room - len(members)) / 2 + number
        at += room + _GAP
    wide = at - _GAP
    named = len(xs) <= _NAMED
    labels = {i: _short(worlds, i) for i in xs}
    foot = 0.25 + (0.05 * max(len(text) for text in labels.values()) if named else 0.0)
    texts = [wrapped(one.text, 38) for one in judged]
    head, line = 0.62, 0.36 if any("\n" in text for text in texts) else 0.26
    height = head + line * len(judged) + foot
    fig = figure(9.6, height)
    left, right = _LEFT, 0.09
    axes = fig.add_axes((left, foot / height, 1 - left - right, line * len(judged) / height))
    for y, one in enumerate(judged):
        for world, verdict in enumerate(one.verdicts):
            _mark(axes, xs[world], y, verdict)
        at_edge = axes.get_yaxis_transform()
        axes.text(-0.015, y, texts[y], transform=at_edge, ha="right", va="center", fontsize=8.5, color=INK)
        said = f"{one.count('held')} of {one.judged}"
        bold = "bold" if one.judged and one.count("held") == one.judged else "normal"
        axes.text(1.015, y, said, transform=at_edge, ha="left", va="center", fontsize=8.5, color=INK, weight=bold)
    axes.set_xlim(-0.7, wide - 0.3)
    axes.set_ylim(len(judged) - 0.5, -0.5)
    axes.set_yticks([])
    axes.set_xticks(
        [xs[i] for i in xs] if named else [], [labels[i] for i in xs] if named else [], rotation=90, fontsize=7
    )
    bare(axes, grid="")
    for number, (heading, members) in enumerate(groups):
        centre = (xs[members[0]] + xs[members[-1]]) / 2
        axes.text(centre, -0.62, wrapped(heading, _WIDEST), ha="center", va="bottom", fontsize=8,
                  color=MUTED, weight="bold")  # fmt: skip
        if number:
            axes.axvline(edges[number] + _GAP / 2 - 0.5, color=FAINT, lw=0.8)
    _key(axes, judged)
    key, title = "stability-claims", "Each claim in every world"
    caption = (
        "Each column is one way in which everything was done (a world), each line a claim; at the right, in how many "
        "worlds it holds. A conclusion that other choices would not change has a full line of filled squares."
    )
    return Picture(key, title, caption, as_svg(fig, key, title, worlds.algorithms))


def _short(worlds: Worlds, world: int) -> str:
    """What tells a world from the others of its group."""
    place, moved = worlds.worlds[world].place, worlds.worlds[world].moved
    if not moved and any(w.moved for w in worlds.worlds):
        return place.get("seed", "base") if sum(not w.moved for w in worlds.worlds) > 1 else "base"
    shown = {axis: place[axis] for axis in moved} if moved else dict(list(place.items())[1:] or place.items())
    every = worlds.worlds
    crossed = len({w.place.get("seed") for w in every}) > 1 and all("seed" not in w.moved for w in every)
    if crossed and "seed" in place and "seed" not in shown:
        shown["seed"] = place["seed"]
    text = ", ".join(shown.values()) or worlds.worlds[world].label
    return text if len(text) <= 28 else text[:27] + "…"


def _mark(axes: Axes, x: float, y: float, verdict: str) -> None:
    """Told apart by shape as well as by colour."""
    if verdict == "held":
        axes.plot([x], [y], "s", ms=9, mew=0, color=ACCENT)
    elif verdict == "failed":
        axes.plot([x], [y], "x", ms=7, mew=1.8, color=WARN)
    elif verdict == "tied":
        axes.plot([x], [y], "s", ms=8, mew=1.1, mec=MUTED, mfc=PAPER)
    elif verdict == "left out":
        axes.plot([x], [y], "_", ms=7, mew=1.2, color=MUTED)
    else:
        axes.plot([x], [y], ".", ms=4, mew=0, color=MUTED)


def _key(axes: Axes, judged: Sequence[Judged]) -> None:
    """What the marks mean, of those that occur."""
    x = 0.0
    figure_ = axes.get_figure()
    assert figure_ is not None
    height = figure_.get_figheight()  # type: ignore[union-attr]
    top = figure_.add_axes((_LEFT, 1 - 0.24 / height, 0.6, 0.2 / height))
    for verdict in (v for v in _WORDS if any(v in one.verdicts for one in judged)):
        _mark(top, x, 0, verdict)
        top.text(x + 0.12, 0, _WORDS[verdict], va="center", fontsize=8, color=MUTED)
        x += 0.75
    top.set_xlim(-0.1, 4.2)
    top.set_ylim(-1, 1)
    top.set_axis_off()


def _rows(worlds: Worlds) -> Picture | None:
    """Of each row the interval over patients above the one over worlds."""
    means = base_ranks(worlds)
    shown = sorted(means, key=lambda row: means[row])[:_ROWS]
    tasks = [task for task in worlds.tasks if any(_over(worlds, row, task) for row in shown)][:_PANELS]
    if not tasks:
        return None
    rows = {row: worlds.rows[row] for row in shown}
    fig, panels = strips({task: worlds.tasks[task] for task in tasks}, rows)
    for task, axes in panels.items():
        for y, row in enumerate(rows):
            at, over = worlds.at_base(row, task), _over(worlds, row, task)
            drawn = []
            if at.low is not None and at.high is not None:
                drawn += axes.plot([at.low, at.high], [y - 0.14] * 2, color=MUTED, lw=1)
            if over is not None:
                drawn += axes.plot(over, [y + 0.14] * 2, color=ACCENT, lw=3.5, solid_capstyle="butt")
            if at.value is not None:
                drawn += axes.plot([at.value], [y - 0.14], "o", ms=3.5, mew=0, color=INK)
            for artist in drawn:
                own(artist, row)
        axes.set_xlabel(worlds.metrics[task].title)
    key, title = "stability-rows", "What patients and what choices leave open"
    caption = (
        "Thin: the 95 % interval over patients and seeds at the base, with its value. Thick: 5 % to 95 % of the values "
        "over worlds. Where thick is longer than thin, choices move the number more than patients do"
        + (f"; the {_ROWS} best rows at the base." if len(means) > _ROWS else ".")
    )
    return Picture(key, title, caption, as_svg(fig, key, title, worlds.algorithms))


def _over(worlds: Worlds, row: str, task: str) -> tuple[float, float] | None:
    found = worlds.numbers.get((row, task), ())
    return perturbation_interval([None if (task, i) in worlds.silent else n.value for i, n in enumerate(found)])


def _moves(worlds: Worlds, moved: Mapping[tuple[str, str], tuple[float, float | None]]) -> Picture | None:
    """Bars of the range along each axis, a panel per task."""
    if not moved:
        return None
    axes_ = list(dict.fromkeys(axis for axis, _ in moved))
    tasks = [task for task in worlds.tasks if any(t == task for _, t in moved)][:_PANELS]
    fig, panels = strips({task: worlds.tasks[task] for task in tasks}, {axis: axis for axis in axes_})
    for task, panel in panels.items():
        for y, axis in enumerate(axes_):
            spread, share = moved.get((axis, task), (0.0, None))
            panel.barh([y], [spread], height=0.55, color=ACCENT)
            if share is not None:
                said = f" {100 * share:.0f} %"
                panel.annotate(said, (spread, y), va="center", fontsize=7.5, color=MUTED)
        panel.set_xlim(0, 1.25 * max((moved.get((axis, task), (0.0, None))[0] for axis in axes_), default=1.0) or 1.0)
        panel.set_xlabel(f"range of {worlds.metrics[task].title}")
    key, title = "stability-moves", "What moves the numbers"
    caption = (
        "How far the values of each axis lie apart, the median over competitors; beside the bar the axis's share of "
        "the variance over worlds."
    )
    return Picture(key, title, caption, as_svg(fig, key, title, worlds.algorithms))
