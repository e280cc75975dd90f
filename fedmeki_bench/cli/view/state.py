"""Words, numbers and state behind every view, without any terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from fedmeki_bench.events import Event, RoundEnded, RunStarted

_BARS = "▁▂▃▄▅▆▇█"
GLYPHS = {"waiting": "○", "running": "◐", "ok": "●", "cached": "↺", "failed": "✕", "interrupted": "✕"}
COLOURS = {
    "waiting": "bright_black",
    "running": "yellow",
    "ok": "green",
    "cached": "cyan",
    "failed": "bold red",
    "interrupted": "red",
}
LEGEND = "[bright_black]○ waiting[/]  [yellow]◐ running[/]  [green]● done[/]  [cyan]↺ cached[/]  [red]✕ failed[/]"


def sparkline(values: Sequence[float], width: int = 12) -> str:
    """The last ``width`` finite values as bars from their own minimum to their own maximum."""
    shown = [v for v in values if math.isfinite(v)][-width:]
    if not shown:
        return ""
    low, span = min(shown), max(shown) - min(shown)
    if span == 0:
        return _BARS[3] * len(shown)
    return "".join(_BARS[round((v - low) / span * (len(_BARS) - 1))] for v in shown)


def clock(seconds: float) -> str:
    """``0:07``, ``12:03`` or ``1:02:09``; ``–`` if unknown."""
    if not math.isfinite(seconds):
        return "–"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def size(count: float) -> str:
    """Bytes with a decimal unit: ``11.2 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            break
        count /= 1000
    return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"


def score(value: float | None) -> str:
    """Three decimals without the leading zero, as in ``.812``; ``–`` if undefined."""
    if value is None or not math.isfinite(value):
        return "–"
    text = f"{value:.3f}"
    return text.replace("0.", ".", 1) if abs(value) < 1 else text


@dataclass(slots=True)
class RunState:
    """What is known about one run from its events."""

    status: str = "waiting"
    rounds: int = 0
    done: int = 0
    first: int = 0
    started: float = 0.0
    curve: list[float] = field(default_factory=list)
    last: RoundEnded | None = None
    scores: dict[tuple[str, str], float] = field(default_factory=dict)
    message: str = ""

    def take(self, event: Event, now: float) -> None:
        """Update from an event that happened at monotonic time ``now``."""
        if isinstance(event, RunStarted):
            self.status, self.rounds, self.started = "running", event.rounds, now
            self.done = self.first = event.first_round
        elif isinstance(event, RoundEnded):
            self.status, self.rounds, self.done, self.last = "running", event.rounds, event.round + 1, event
            found = [v for v in event.valid.values() if v is not None and math.isfinite(v)]
            if found:
                self.curve.append(math.fsum(found) / len(found))
        else:
            self.status, self.scores, self.message = event.status, dict(event.scores), event.message

    @property
    def fraction(self) -> float:
        """Share of the run that is over."""
        if self.status == "waiting":
            return 0.0
        return 1.0 if self.status != "running" else self.done / max(self.rounds, 1)


def plain_line(event: Event, name: str) -> str:
    """One event as one line, without time or colour."""
    if isinstance(event, RunStarted):
        again = f", resumed after round {event.first_round}" if event.first_round else ""
        return f"start   {name}: {event.rounds} rounds{again}"
    if isinstance(event, RoundEnded):
        valid = " ".join(f"{task} {score(value)}" for task, value in event.valid.items())
        said = f"round   {name}: {event.round + 1}/{event.rounds} loss {event.loss:.4f}"
        said += f" valid {valid}" if valid else ""
        return f"{said} up {size(event.bytes_up)} down {size(event.bytes_down)} {event.seconds:.1f} s"
    scores = " ".join(f"{view}/{task} {score(value)}" for (view, task), value in event.scores.items())
    word = {"ok": "done", "cached": "cached"}.get(event.status, event.status)
    tail = f": {event.message}" if event.message else (f": {scores}" if scores else "")
    return f"{word:7} {name} in {clock(event.seconds)}{tail}"
