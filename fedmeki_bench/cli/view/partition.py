"""A partition as a picture: one bar per client and task, the positive share filled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedmeki_bench.data.clients.assignment import label_shares

if TYPE_CHECKING:
    from rich.console import RenderableType

_WIDTH = 28

Counts = Mapping[str, Sequence[Mapping[str, Any]]]


def picture(counts: Counts, digest: str) -> RenderableType:
    """Bars in proportion to the largest client of each task: ``█`` positive, ``░`` negative (or in words)."""
    from rich.console import Group
    from rich.text import Text

    from fedmeki_bench.cli.view.echo import escape

    lines = []
    for task, clients in counts.items():
        total = sum(row["n"] for row in clients)
        lines.append(f"[bold]{escape(task)}[/]  {total} private samples")
        largest = max((row["n"] for row in clients), default=0) or 1
        for number, row in enumerate(clients):
            lines.append(f"  client {number:>2}  {_bar(row, largest)}  {_words(row)}")
    lines.append(f"[bright_black]█ positive  ░ negative   partition {digest}[/]")
    return Group(*(Text.from_markup(line) for line in lines))


def _bar(row: Mapping[str, Any], largest: int) -> str:
    whole = round(_WIDTH * row["n"] / largest)
    full = 0 if row["positive"] is None or not row["n"] else round(whole * row["positive"] / row["n"])
    return f"[cyan]{'█' * full}{'░' * (whole - full)}[/]" + " " * (_WIDTH - whole)


def _words(row: Mapping[str, Any]) -> str:
    if not row["n"]:
        return "[bright_black]nothing[/]"
    return f"{row['n']} of {row['groups']} groups{label_shares(row)}"


def save_svg(counts: Counts, title: str, path: Path) -> None:
    """The same picture as an SVG file."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * max(1, len(counts)), 0.8 + 0.32 * max(len(c) for c in counts.values())))
    grid = figure.subplots(1, len(counts), squeeze=False)[0]
    for axes, (task, clients) in zip(grid, counts.items(), strict=True):
        at = list(range(len(clients)))
        positive = [row["positive"] or 0 for row in clients]
        negative = [row["n"] - p for row, p in zip(clients, positive, strict=True)]
        axes.barh(at, positive, color="#0072b2", label="positive")
        axes.barh(at, negative, left=positive, color="#b9d6e8", label="negative")
        axes.set_yticks(at, [f"client {n}" for n in at])
        axes.invert_yaxis()
        axes.set_title(task, fontsize=10, loc="left")
        axes.set_xlabel("private samples", fontsize=8)
        axes.tick_params(labelsize=8, length=0)
        axes.spines[["top", "right", "left"]].set_visible(False)
    grid[-1].legend(frameon=False, fontsize=8, loc="lower right")
    figure.suptitle(title, fontsize=10, x=0.01, ha="left")
    figure.tight_layout()
    with matplotlib.rc_context({"svg.hashsalt": "fedmeki-bench"}):
        figure.savefig(path, format="svg", metadata={"Date": None})
