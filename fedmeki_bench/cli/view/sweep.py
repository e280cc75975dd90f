"""The grid of a board while it fills."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from fedmeki_bench.cli.view.live import View, bar_of
from fedmeki_bench.cli.view.state import (
    COLOURS,
    GLYPHS,
    LEGEND,
    RunState,
    clock,
    plain_line,
    score,
    size,
    sparkline,
)
from fedmeki_bench.events import Event, RunEnded

if TYPE_CHECKING:
    from rich.console import Console, RenderableType


def _running_line(name: str, run: RunState) -> str:
    from fedmeki_bench.cli.view.echo import escape

    parts = [f"[yellow]◐[/] {escape(name)}", f"round {run.done}/{run.rounds}"]
    if run.curve:
        parts.append(f"[cyan]{sparkline(run.curve)}[/] valid {score(run.curve[-1])}")
    if run.last is not None:
        parts += [f"loss {run.last.loss:.3f}", f"↑ {size(run.last.bytes_up)} {run.last.seconds:.1f} s/round"]
    return "  ".join(parts)


def _run_name(key: str, places: Sequence[Sequence[str]]) -> str:
    tasks = list(dict.fromkeys(place[1] for place in places))
    if not tasks:
        return key
    return f"{places[0][0]} · {tasks[0] if len(tasks) == 1 else f'{len(tasks)} tasks'}"


class SweepView(View):
    """The board's grid while it fills: a listener of events and a context manager.

    Args:
        title: what is running, e.g. ``sweep demo · profile demo · seed 0``.
        cells: run key to the places it fills: (algorithm row, task column) or (row, column, view). Rows and
            columns appear in order of first mention; several keys for one place are its seeds.
        plain: lines instead of the live picture; None decides by the terminal.
        labels: display names of rows, columns and keys, where they differ.
    """

    def __init__(
        self,
        title: str,
        cells: Mapping[str, Sequence[Sequence[str]]],
        *,
        plain: bool | None = None,
        console: Console | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(plain=plain, console=console)
        self.title, self._labels = title, labels or {}
        self.runs = {key: RunState() for key in cells}
        self._places: dict[tuple[str, str], list[tuple[str, str]]] = {}
        self._names: dict[str, str] = {}
        for key, places in cells.items():
            for place in places:
                view = place[2] if len(place) > 2 else ""
                self._places.setdefault((place[0], place[1]), []).append((key, view))
            self._names[key] = self._labels.get(key) or _run_name(key, places)
        self.rows = list(dict.fromkeys(row for row, _ in self._places))
        self.columns = list(dict.fromkeys(column for _, column in self._places))
        self._failures: deque[str] = deque(maxlen=3)
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        """Take one event; keys that are not on the board are shown as they are."""
        with self._lock:  # the live picture is drawn by another thread
            self.runs.setdefault(event.key, RunState()).take(event, time.monotonic())
            name = self._names.setdefault(event.key, event.key)
            if isinstance(event, RunEnded) and event.status in ("failed", "interrupted"):
                self._failures.append(f"{name}: {event.status}: {event.message or 'no reason given'}")
        if self.plain:
            self.say(plain_line(event, name))

    def counts(self) -> dict[str, int]:
        """Number of runs per status."""
        found: dict[str, int] = {}
        for run in self.runs.values():
            found[run.status] = found.get(run.status, 0) + 1
        return found

    def left(self) -> float:
        """Estimated seconds left, from the pace of the runs that were not cached; infinite if unknown."""
        worked = sum(
            run.fraction - (run.first / run.rounds if run.rounds else 0.0)
            for run in self.runs.values()
            if run.status not in ("cached", "waiting")
        )
        todo = sum(1 - run.fraction for run in self.runs.values())
        return self.elapsed / worked * todo if worked > 0 else (0.0 if todo == 0 else math.inf)

    def picture(self) -> RenderableType:
        """Title, grid, bar, running runs and last failures."""
        with self._lock:
            return self._draw()

    def _draw(self) -> RenderableType:
        from rich import box
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        from fedmeki_bench.cli.view.echo import escape

        def line(markup: str) -> Text:
            text = Text.from_markup(markup)
            text.no_wrap, text.overflow = True, "ellipsis"
            return text

        grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
        grid.add_column("", no_wrap=True)
        for column in self.columns:
            grid.add_column(Text(self._labels.get(column, column)), no_wrap=True, overflow="ellipsis", min_width=8)
        for row in self.rows:
            shown = [Text.from_markup(self._cell(row, column)) for column in self.columns]
            grid.add_row(Text(self._labels.get(row, row)), *shown)
        counts = self.counts()
        over = sum(n for status, n in counts.items() if status not in ("waiting", "running"))
        total = len(self.runs)
        bar = bar_of(sum(run.fraction for run in self.runs.values()), total, 32)
        times = f"elapsed {clock(self.elapsed)}  left ~{clock(self.left())}"
        parts: list[RenderableType] = [
            line(f"[bold]{escape(self.title)}[/]"),
            grid,
            line(f"{bar}  [bold]{over}[/]/{total} runs  {times}"),
            line(LEGEND),
        ]
        running = [(self._names[key], run) for key, run in self.runs.items() if run.status == "running"]
        if running:
            parts += [Text(), *(line(_running_line(name, run)) for name, run in running)]
        if self._failures:
            parts += [Text(), *(line(f"[bold red]✕[/] {escape(text)}") for text in self._failures)]
        return Group(*parts)

    def _cell(self, row: str, column: str) -> str:
        runs = self._places.get((row, column))
        if not runs:
            return "[bright_black]–[/]"
        glyphs, scores = "", []
        for key, view in runs:
            run = self.runs[key]
            glyphs += f"[{COLOURS.get(run.status, 'red')}]{GLYPHS.get(run.status, '✕')}[/]"
            found = [s for (v, task), s in run.scores.items() if task == column and view in ("", v)]
            scores += [s for s in found if s is not None and math.isfinite(s)]
        if scores:
            return f"{glyphs} {score(math.fsum(scores) / len(scores))}"
        states = [self.runs[key] for key, _ in runs]
        active = next((run for run in states if run.status == "running"), None)
        if active is not None:
            return f"{glyphs} [yellow]{active.done}/{active.rounds}[/]"
        if any(run.status in ("failed", "interrupted") for run in states):
            return f"{glyphs} [red]{next(r.status for r in states if r.status in ('failed', 'interrupted'))}[/]"
        return glyphs
