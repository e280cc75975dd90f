"""The board as one picture: a panel per task, a dot with its 95 % interval per algorithm.

Bounds are grey and draw a dashed line through the panel, so that the eye reads every competitor as a share of
the way from the constant predictor to pooled data. Colours differ in lightness and shape too (Okabe and Ito).
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fedmeki_bench.leaderboard.tables import ordered

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from fedmeki_bench.algorithms import Algorithm
    from fedmeki_bench.leaderboard.grid import Grid
    from fedmeki_bench.leaderboard.page import Page
    from fedmeki_bench.leaderboard.section import Section

_INK, _MUTED, _FAINT, _ACCENT, _WARN = "#1f2933", "#7b8794", "#e4e7eb", "#0072b2", "#b84a00"
_STYLE = {
    "svg.hashsalt": "fedmeki-bench",
    "svg.fonttype": "path",  # the same picture wherever it is opened, at the price of selectable text
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "mathtext.fontset": "dejavusans",
    "text.color": _INK,
    "axes.labelcolor": _MUTED,
    "xtick.color": _MUTED,
    "ytick.color": _INK,
}
_PANELS_PER_ROW = 3
_MARGIN = 0.2  # inches


@dataclass(frozen=True, slots=True)
class Dot:
    """One algorithm in one panel: mean, whiskers, and the values of single seeds if there are several."""

    value: float
    low: float
    high: float
    seeds: tuple[float, ...] = ()


def figure_svg(page: Page) -> bytes:
    """The picture as SVG; same page and matplotlib, same bytes; the page's digest is inside."""
    import matplotlib

    out = io.BytesIO()
    with matplotlib.rc_context(_STYLE):
        metadata = {"Date": None, "Creator": "fedmeki-bench", "Description": f"sha256 {page.digest}"}
        draw(page).savefig(out, format="svg", metadata=metadata)
    return out.getvalue()


def draw(page: Page) -> Figure:
    """The figure itself; never touches pyplot's global state or needs a display."""
    from matplotlib.figure import Figure

    blocks = [section for section in page.sections if not section.zero_shot]
    grid = blocks[0].grid
    across = max(1, min(len(grid.tasks), _PANELS_PER_ROW))
    lines = -(-len(grid.tasks) // across)
    down = lines * len(blocks)
    panel = 0.245 * max(len(grid.algorithms), 3) + 0.75
    head, foot = 0.62, 0.36
    height = head + down * panel + foot
    names = 0.45 + 0.075 * max((len(a.title) for a in grid.algorithms.values()), default=0)  # inches
    width = names + 0.25 + 3.2 * across
    figure = Figure(figsize=(width, height), facecolor="white")
    left, right = names / width, 1 - 0.25 / width
    gap = 0.28 / width
    each = (right - left - gap * (across - 1)) / across
    for number, block in enumerate(blocks):
        rows: list[tuple[Algorithm, Any]] = list(ordered(block.grid))
        for index, task in enumerate(block.grid.tasks):
            line, place = divmod(index, across)
            bottom = (foot + (down - 1 - number * lines - line) * panel + 0.42) / height
            axes = figure.add_axes((left + place * (each + gap), bottom, each, (panel - 0.75) / height))
            _panel(axes, block, task, rows)
            if place == 0:
                for y, (algorithm, _) in enumerate(rows):
                    down_to = axes.get_position().y1 - (y + 0.6) / (len(rows) + 0.2) * axes.get_position().height
                    figure.text(_MARGIN / width, down_to, _label(algorithm), fontsize=8.5, va="center")
    _titles(figure, page, width, height)
    return figure


def _titles(figure: Figure, page: Page, width: float, height: float) -> None:
    board = page.board
    at = _MARGIN / width
    title = board.title or board.name
    figure.text(at, 1 - 0.25 / height, _literal(title), fontsize=13, fontweight="bold", va="center")
    if page.stamp:
        figure.text(
            1 - 0.25 / width, 1 - 0.25 / height, page.stamp, fontsize=8.5, fontweight="bold", color=_WARN,
            ha="right", va="center",
            bbox={"boxstyle": "round,pad=0.35", "fc": "#fff4e6", "ec": _WARN, "lw": 0.8},
        )  # fmt: skip
    seeds = f"{len(board.seeds)} seeds" if len(board.seeds) > 1 else f"seed {board.seeds[0]}"
    said = f"profile {board.profile} · {board.clients} clients, {board.partition_words} · {seeds}"
    figure.text(at, 1 - 0.49 / height, _literal(said), fontsize=8.5, color=_MUTED, va="center")
    if len(board.seeds) > 1:
        whiskers = "Dot: mean over seeds, bar: 95 % interval over patients and seeds, small dots: single seeds."
    else:
        whiskers = "Dot: test value, bar: 95 % interval over patients."
    sections = {row.section for section in page.sections for row in section.table.rows}
    hollow = " Hollow: incomplete row, not ranked." if "incomplete" in sections else ""
    figure.text(
        at,
        0.15 / height,
        f"{whiskers} Diamonds and dashed lines: bounds.{hollow}",
        fontsize=7.5,
        color=_MUTED,
        va="center",
    )


def _dot(grid: Grid, algorithm: str, task: str) -> Dot | None:
    from fedmeki_bench.statistics import summarise_seeds

    found = grid.values(algorithm, task, grid.main_metric(task))
    numbers = [v.value for v in found if v.value is not None]
    if not numbers or len(numbers) < len(found):
        return None
    summary = summarise_seeds(numbers)
    low, high = grid.interval(algorithm, task, grid.main_metric(task)) or (summary.mean, summary.mean)
    return Dot(summary.mean, low, high, summary.values if summary.n > 1 else ())


def _panel(axes: Axes, block: Section, task: str, rows: list[tuple[Algorithm, Any]]) -> None:
    grid = block.grid
    dots = {a.name: _dot(grid, a.name, task) for a, _ in rows}
    bests = {
        row.algorithm.name
        for row in block.table.rows
        for column, entry in zip(block.table.columns, row.entries, strict=True)
        if column.key == task and entry.best
    }
    low, high = _limits([d for d in dots.values() if d])
    for y, (algorithm, section) in enumerate(rows):
        dot = dots[algorithm.name]
        if dot is None:
            word = grid.entry(algorithm.name, task, grid.main_metric(task)).text
            axes.text(
                1.0, y, word, transform=axes.get_yaxis_transform(), ha="right", va="center", fontsize=7.5,
                style="italic", color=_MUTED,
            )  # fmt: skip
            continue
        colour = _MUTED if algorithm.bound else _ACCENT
        if algorithm.bound:
            axes.axvline(dot.value, color=colour, lw=0.8, ls=(0, (4, 3)), alpha=0.75, zorder=1)
        axes.plot([dot.low, dot.high], [y, y], color=colour, lw=1.6, alpha=0.45, solid_capstyle="round", zorder=2)
        if dot.seeds:
            axes.plot(dot.seeds, [y] * len(dot.seeds), "o", ms=2.4, color=colour, alpha=0.55, mew=0, zorder=3)
        hollow = section == "incomplete"
        axes.plot(
            [dot.value], [y], marker="D" if algorithm.bound else "o", ms=5 if algorithm.bound else 6,
            mfc="white" if hollow else colour, mec=colour, mew=1.2, ls="none", zorder=4,
        )  # fmt: skip
        weight = "bold" if algorithm.name in bests else "normal"
        axes.text(
            1.0, y, f"{dot.value:.3f}".replace("0.", ".", 1) if 0 <= dot.value < 1 else f"{dot.value:.3f}",
            transform=axes.get_yaxis_transform(), ha="right", va="center", fontsize=7.5, fontweight=weight,
            color=_INK if weight == "bold" else _MUTED, zorder=5,
        )  # fmt: skip
    metric = grid.main_metric(task)
    said = f", {block.partition}" if block.partition else ""
    axes.set_title(_literal(grid.facts.task_title(task) + said), fontsize=9.5, fontweight="bold", loc="left", pad=7)
    axes.set_xlabel(_literal(grid.facts.metric_title(metric)), fontsize=8, labelpad=3)
    axes.set_xlim(low, high + 0.17 * (high - low))  # room for the numbers at the right
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_yticks([])
    axes.tick_params(axis="both", length=0, labelsize=8)
    axes.grid(axis="x", color=_FAINT, lw=0.7, zorder=0)
    axes.set_axisbelow(True)
    for (_, above), (y, (_, section)) in zip(rows, list(enumerate(rows))[1:], strict=False):
        if section != above:
            axes.axhline(y - 0.5, color=_FAINT, lw=1.1, zorder=1)
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)
    from matplotlib.ticker import FixedLocator, MaxNLocator

    ticks = [t for t in MaxNLocator(4).tick_values(low, high) if low <= t <= high]
    axes.xaxis.set_major_locator(FixedLocator(ticks))


def _limits(dots: list[Dot]) -> tuple[float, float]:
    if not dots:
        return 0.0, 1.0
    low, high = min(d.low for d in dots), max(d.high for d in dots)
    pad = max(0.02, 0.06 * (high - low))
    return low - pad, high + pad


def _literal(text: str) -> str:
    """Text in which matplotlib finds no mathematics."""
    return text.replace("$", r"\$")


def _label(algorithm: Algorithm) -> str:
    """The algorithm's name with sub- and superscript in matplotlib's mathtext, everything else literal."""

    def script(text: str) -> str:
        # Only letters, digits and these marks are certain to be harmless in mathtext.
        kept = "".join(c for c in text if c.isalnum() or c in "+-*.,")
        return kept.replace("*", r"\ast ")

    name = _literal(algorithm.base)
    if script(algorithm.sub):
        name += rf"$_{{\mathrm{{{script(algorithm.sub)}}}}}$"
    if script(algorithm.sup):
        name += rf"$^{{\mathrm{{{script(algorithm.sup)}}}}}$"
    return name
