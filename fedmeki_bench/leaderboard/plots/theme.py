"""From a matplotlib figure to inline SVG that follows the page's light and dark colours.

Figures are drawn in stand-in colours, each of which becomes a CSS variable of the page. Everything that belongs to
one algorithm carries its name, so that the page can highlight it in all pictures at once.
"""

from __future__ import annotations

import html
import io
import re
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from fedmeki_bench.leaderboard.names import Names, back, svg_name

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from fedmeki_bench.algorithms import Algorithm

INK, MUTED, FAINT, ACCENT, WARN, PAPER, REFERENCE = (f"#0{i}0{i}0{i}" for i in range(1, 8))
_VARIABLES = {
    INK: "--fg", MUTED: "--dim", FAINT: "--line", ACCENT: "--accent", WARN: "--warn", PAPER: "--bg",
    REFERENCE: "--reference",
}  # fmt: skip
STYLE = {
    "svg.hashsalt": "fedmeki-bench",
    "text.parse_math": False,  # names are text: a dollar sign is a dollar sign
    "svg.fonttype": "none",  # real text: selectable, searchable, a tenth of the size
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 8.5,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}
_ABREAST = 4
_HEAD = re.compile(r"^.*?(?=<svg)", re.DOTALL)
_METADATA = re.compile(r"<metadata>.*?</metadata>|<!--.*?-->", re.DOTALL)
_ALGORITHM = re.compile(r'id="alg:([^"]*)"')
_ID = re.compile(r'(\sid="|href="#|url\(#)')
_FONT = re.compile(r"font: ([^;\"]*?)'DejaVu Sans'[^;\"]*")
_NUMBER = re.compile(r"-?\d+\.\d{3,}")
_PLACE = re.compile(r'\s(?:d|x|y|width|height|transform|viewBox|style)="[^"]*"')
# what a small file can do without: clipping (nothing is drawn outside its axes), names of groups, default joins, air
_CLIP = re.compile(r'\s*clip-path="[^"]*"')
_TEXT = re.compile(r"(<text[^>]*>)([^<]*)(</text>)")
_GROUP = re.compile(r'<g id="[^"]*">')
_STYLE = re.compile(r'style="([^"]*)"')
_DEFAULT = re.compile(r"stroke-line(?:cap|join):(?:square|miter|butt);?")


@dataclass(frozen=True, slots=True)
class Picture:
    """Inline SVG with what stands around it; pictures of one ``group`` are alternatives, told apart by ``choice``."""

    key: str
    title: str
    caption: str
    svg: str
    choice: str = ""


def own(artist: Artist, algorithm: str) -> None:
    """Mark what is drawn for an algorithm, so that the page can highlight it."""
    artist.set_gid(f"alg:{algorithm}")


def bare(axes: Axes, *, grid: Literal["x", "y", "both", ""] = "x") -> None:
    """No frame, no tick marks, faint grid lines."""
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.tick_params(length=0)
    if grid != "":
        axes.grid(axis=grid, color=FAINT, lw=0.8)
    axes.set_axisbelow(True)


def _tight(style: str) -> str:
    return re.sub(r"\s*([:;])\s*", r"\1", style)


def wrapped(text: str, width: int = 25) -> str:
    """A panel's title on at most two lines."""
    return "\n".join(textwrap.wrap(text, width, max_lines=2, placeholder=" …"))


def as_svg(figure: Figure, key: str, title: str, algorithms: Iterable[Algorithm] = ()) -> str:
    """The figure as an ``<svg>`` element with a title for screen readers; ids begin with ``key``.

    Wherever a text holds the name of one of ``algorithms``, it gets its sub- and superscript.
    """
    out = io.BytesIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    text = _METADATA.sub("", _HEAD.sub("", out.getvalue().decode(), count=1))
    names = Names(algorithms)
    text = _TEXT.sub(lambda m: f"{m[1]}{_typeset(m[2], names)}{m[3]}", text)
    text = _ALGORITHM.sub(lambda m: f'class="alg" data-alg="{m[1]}"', text)
    text = _ID.sub(lambda m: f"{m[1]}{key}-", text)
    text = _FONT.sub(lambda m: f"font: {m[1]}system-ui, sans-serif", text)
    # hundredths of a point are enough for places; what is written stays as it is
    text = _PLACE.sub(lambda m: _NUMBER.sub(lambda n: f"{float(n[0]):.2f}", m[0]), text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    text = _GROUP.sub("<g>", _CLIP.sub("", text))
    text = _STYLE.sub(lambda m: f'style="{_DEFAULT.sub("", _tight(m[1]))}"', text)
    text = re.sub(r"\s*\n\s*", " ", text).replace("> <", "><")
    text = re.sub(r'<svg ([^>]*?)width="[^"]*"', r"<svg \1", text, count=1)
    text = re.sub(r'<svg ([^>]*?)height="[^"]*"', r"<svg \1", text, count=1)
    label = html.escape(title, quote=True)
    return re.sub(r"<svg ", f'<svg role="img" aria-label="{label}" ', text, count=1).strip()


def _typeset(content: str, names: Names) -> str:
    """The content of a ``text`` element with the names in it typeset; what follows a name is back on the base line."""
    parts = list(names.parts(html.unescape(content)))
    written, below = "", ""
    for part in parts:
        if isinstance(part, str):
            plain = html.escape(part, quote=False)
            written += f'<tspan dy="{below}">{plain}</tspan>' if below else plain
            below = ""
        else:
            written += svg_name(part)
            below = back(part)
    return written


def styled() -> Any:
    """The style in which all pictures of a page are drawn; a context."""
    import matplotlib

    return matplotlib.rc_context(STYLE)


def figure(width: float, height: float) -> Figure:
    """An empty figure that needs no display and touches no global state; sizes in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height))


def strips(tasks: Mapping[str, str], rows: Mapping[str, str], *, foot: float = 0.0) -> tuple[Figure, dict[str, Axes]]:
    """A figure with a panel per task, at most four abreast, and a line per row named at the left.

    Args:
        tasks, rows: what they are called in the figure, by name.
        foot: inches to leave below each panel's axis.
    """
    across = min(_ABREAST, len(tasks))
    down = -(-len(tasks) // across)
    titles = {task: wrapped(title) for task, title in tasks.items()}
    head = 0.12 + 0.17 * max(title.count("\n") + 1 for title in titles.values())
    rest = head + 0.45 + foot  # inches for title and axis
    panel = 0.215 * len(rows) + rest
    fig = figure(9.6, down * panel + 0.1)
    left, gap = 0.17, 0.035
    each = (0.985 - left - gap * (across - 1)) / across
    panels = {}
    for index, (task, title) in enumerate(titles.items()):
        line, place = divmod(index, across)
        bottom = ((down - 1 - line) * panel + 0.45 + foot) / fig.get_figheight()
        axes = fig.add_axes((left + place * (each + gap), bottom, each, (panel - rest) / fig.get_figheight()))
        axes.set_title(title, pad=5)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_yticks([])
        axes.locator_params(axis="x", nbins=4)
        bare(axes)
        for y, (name, said) in enumerate(rows.items()) if place == 0 else ():
            at = axes.get_yaxis_transform()
            own(axes.text(-0.04, y, said, transform=at, ha="right", va="center", fontsize=8, color=INK), name)
        panels[task] = axes
    return fig, panels
