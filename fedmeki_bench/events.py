"""What a run reports to whoever listens: plain values, so that they cross process borders unchanged.

The training loop prints nothing. A listener (the terminal, a log file, a test) is a callable that takes one event.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class RunStarted:
    """A run begins, or goes on after an interruption at round ``first_round`` (0-based)."""

    key: str
    rounds: int
    first_round: int = 0


@dataclass(frozen=True, slots=True)
class RoundEnded:
    """One communication round is over; ``valid`` maps task to its main validation metric, in [0, 1]."""

    key: str
    round: int
    rounds: int
    loss: float
    valid: dict[str, float] = field(default_factory=dict)
    bytes_up: int = 0
    bytes_down: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class RunEnded:
    """A run is over: ``status`` is ok, failed, interrupted or cached (it was already finished).

    ``scores`` maps (view, task) to the main test metric; ``message`` is the reason when the run failed.
    """

    key: str
    status: str
    seconds: float = 0.0
    scores: dict[tuple[str, str], float] = field(default_factory=dict)
    message: str = ""


Event = RunStarted | RoundEnded | RunEnded
Listener = Callable[[Event], None]


def silent(event: Event) -> None:
    """The listener that ignores everything."""
