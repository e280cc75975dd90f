"""The common part of the views: live in a terminal, one timestamped line per event elsewhere."""

from __future__ import annotations

import math
import os
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

from fedmeki_bench.cli.view.state import COLOURS, GLYPHS, RunState, clock, plain_line, score, size, sparkline
from fedmeki_bench.events import Event
from fedmeki_bench.plain import plain_text

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live


def make_console(*, stderr: bool = False) -> Console:
    """A console for tables (stdout) or progress (``stderr=True``)."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)


def is_plain(console: Console, plain: bool | None = None) -> bool:
    """Whether to print lines instead of a live picture: asked for, NO_COLOR set, or no terminal."""
    if plain is not None:
        return plain
    return bool(os.environ.get("NO_COLOR")) or not console.is_terminal or console.is_dumb_terminal


class View:
    """A listener that is a context manager: live in a terminal, lines elsewhere."""

    def __init__(self, *, plain: bool | None, console: Console | None) -> None:
        self.console = console or make_console(stderr=True)
        self.plain = is_plain(self.console, plain)
        self._live: Live | None = None
        self._begun = time.monotonic()

    def __enter__(self) -> Any:
        self._begun = time.monotonic()
        if not self.plain:
            from rich.live import Live

            self._live = Live(get_renderable=self.picture, console=self.console, refresh_per_second=8, transient=False)
            self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.__exit__(kind, error, trace)
            self._live = None

    @property
    def elapsed(self) -> float:
        """Seconds since the view was entered."""
        return time.monotonic() - self._begun

    def say(self, text: str) -> None:
        """One timestamped line, above the live picture if there is one."""
        from rich.text import Text

        self.console.print(Text(f"{time.strftime('%H:%M:%S')} {plain_text(text)}"), soft_wrap=True)

    def picture(self) -> RenderableType:
        """What the terminal shows now."""
        raise NotImplementedError


def bar_of(done: float, total: float, width: int) -> str:
    """A progress bar as rich markup; the part to come is thinner, not only paler."""
    filled = round(width * done / total) if total else width
    return f"[green]{'━' * filled}[/][bright_black]{'─' * (width - filled)}[/]"


class RunView(View):
    """A single run: a bar over rounds, the validation curve, and what a round costs."""

    def __init__(self, title: str, *, plain: bool | None = None, console: Console | None = None) -> None:
        super().__init__(plain=plain, console=console)
        self.title, self.run = title, RunState()

    def __call__(self, event: Event) -> None:
        """Take one event."""
        self.run.take(event, time.monotonic())
        if self.plain:
            self.say(plain_line(event, self.title))

    def picture(self) -> RenderableType:
        """Two lines: the bar, and the last round."""
        from rich.console import Group
        from rich.text import Text

        from fedmeki_bench.cli.view.echo import escape

        run = self.run
        worked = run.done - run.first
        left = self.elapsed / worked * (run.rounds - run.done) if worked else math.inf
        colour, glyph = COLOURS.get(run.status, "red"), GLYPHS.get(run.status, "✕")
        bar = bar_of(run.fraction, 1, 32)
        head = f"[{colour}]{glyph}[/] [bold]{escape(self.title)}[/]  {run.status}"
        times = f"elapsed {clock(self.elapsed)}"
        times += f"  left ~{clock(left)}" if run.status == "running" else ""
        lines = [head, f"{bar}  round {run.done}/{run.rounds}  {times}"]
        if run.last is not None:
            valid = "  ".join(f"{escape(task)} {score(v)}" for task, v in run.last.valid.items())
            lines.append(
                f"[cyan]{sparkline(run.curve, 24)}[/] valid {valid}  loss {run.last.loss:.3f}  "
                f"↑ {size(run.last.bytes_up)} ↓ {size(run.last.bytes_down)}  {run.last.seconds:.1f} s/round"
            )
        if run.message:
            lines.append(f"[bold red]✕[/] {escape(run.message)}")
        return Group(*(Text.from_markup(text) for text in lines))


class PrepareView(View):
    """Progress of ``synth`` and ``prepare``: called with (done, total, text); ``total`` 0 is unknown."""

    def __init__(self, title: str, *, plain: bool | None = None, console: Console | None = None) -> None:
        super().__init__(plain=plain, console=console)
        self.title, self._done, self._total, self._text = title, 0, 0, ""
        self._said = -1

    def __call__(self, done: int, total: int, text: str = "") -> None:
        """``done`` of ``total`` items are over; in plain mode a line per tenth and per new ``text``."""
        new_text = text != self._text
        self._done, self._total, self._text = done, total, text
        tenth = 10 * done // total if total else 0
        if self.plain and (new_text or tenth != self._said):
            self._said = tenth
            count = f"{done}/{total}" if total else f"{done}"
            self.say(f"prepare {self.title}: {count} {text}".rstrip())

    def picture(self) -> RenderableType:
        """One line."""
        from rich.text import Text

        from fedmeki_bench.cli.view.echo import escape

        count = f"{self._done:,}/{self._total:,}" if self._total else f"{self._done:,}"
        bar = bar_of(self._done, self._total, 32) if self._total else bar_of(0, 1, 32)
        text = Text.from_markup(
            f"[bold]{escape(self.title)}[/]  {bar}  {count}  {clock(self.elapsed)}  "
            f"[bright_black]{escape(self._text)}[/]"
        )
        text.no_wrap, text.overflow = True, "ellipsis"
        return text
