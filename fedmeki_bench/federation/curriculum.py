"""Which tasks a run trains when: all at once, or one after another with a share of the earlier ones rehearsed.

Regimes and rehearsal as in Yi et al., "Towards General Purpose Medical AI: Continual Learning Medical Foundation Model"
(arXiv 2303.06580); rehearsal itself is older (Robins, "Catastrophic Forgetting, Rehearsal and Pseudorehearsal", 1995).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, field_validator, model_validator

from fedmeki_bench.errors import InputError
from fedmeki_bench.options import later

_SINCE = "0.2"

Place = Literal["clients", "server"]
"""Where samples are used: private ones at clients, public ones at the server."""


class Regime(BaseModel):
    """When which task is trained; by default all of them in every round.

    Under ``sequential`` a run has a phase for each task. What is meant for several tasks has no effect on a training of
    one: rows of scope ``s``, pooled rows and rules that train nothing stay as they are.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    regime: Literal["joint", "sequential"] = later(
        "joint", since=_SINCE, description="all tasks in every round, or one after another"
    )
    order: tuple[str, ...] = later(
        (), since=_SINCE, description="of the tasks, e.g. covid19,lung_opacity; alphabetical if not given"
    )
    rounds_per_task: int = later(
        0, since=_SINCE, ge=0, description="rounds of each phase; if 0, the profile's rounds are shared out evenly"
    )
    rehearsal: float = later(
        0.0, since=_SINCE, ge=0, le=1, description="share of the patients of earlier tasks that is trained on again"
    )
    rehearse_at: Literal["clients", "server", "both"] = later(
        "clients",
        since=_SINCE,
        description="who rehearses: clients their own patients, the server public ones, or both",
    )

    @field_validator("order", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _of_a_sequence(self) -> Regime:
        if self.regime == "joint" and (self.rehearsal or self.rounds_per_task):
            what = "rehearsal" if self.rehearsal else "rounds_per_task"
            raise ValueError(f"{what} says how tasks follow one another; give regime=sequential, too")
        return self


def settled(
    given: Mapping[str, Any], tasks: Sequence[str], rounds: int, *, several: bool
) -> tuple[dict[str, Any], int]:
    """The section of one training, so that what means the same reads the same, and how many rounds it has.

    Args:
        given: the section as it was asked for.
        tasks: those of the training, sorted.
        rounds: the profile's.
        several: whether it trains several tasks, so that there is something to follow.

    Raises:
        InputError: the order is not one of these tasks, or there are fewer rounds than phases.
    """
    how = Regime(**given)
    if how.regime == "joint" or not several:
        return Regime().model_dump(mode="json"), rounds
    order = how.order or tuple(tasks)
    if sorted(order) != sorted(tasks):
        odd = next((name for name in order if name not in tasks or order.count(name) > 1), None)
        what = f"it lacks {min(set(tasks) - set(order))!r}" if odd is None else f"{odd!r} is not once among them"
        raise InputError(f"order must hold each of the trained tasks {', '.join(tasks)} once, and {what}")
    rounds = how.rounds_per_task * len(order) or rounds
    if rounds < len(order):
        count = "1 round" if rounds == 1 else f"{rounds} rounds"
        raise InputError(f"{count} can't be shared out over {len(order)} tasks one after another: give more")
    rehearse_at = how.rehearse_at if how.rehearsal else "clients"
    found = how.model_copy(update={"order": order, "rounds_per_task": 0, "rehearse_at": rehearse_at})
    return found.model_dump(mode="json"), rounds


@dataclass(frozen=True, slots=True)
class Curriculum:
    """Phases that follow one another, one per task. Pure: everything follows from the round.

    Attributes:
        order: the tasks.
        lengths: rounds of each phase.
        rehearsal: share of the patients of earlier tasks that is trained on again.
        rehearse_at: where.
    """

    order: tuple[str, ...]
    lengths: tuple[int, ...]
    rehearsal: float = 0.0
    rehearse_at: Literal["clients", "server", "both"] = "clients"

    @classmethod
    def of(cls, values: Mapping[str, Any], rounds: int) -> Curriculum | None:
        """That of a settled section of options; None where all tasks are trained at once.

        Rounds that are left over go to the first phases, one each.
        """
        how = Regime(**values)
        if how.regime == "joint":
            return None
        each, over = divmod(rounds, len(how.order))
        lengths = tuple(each + (place < over) for place in range(len(how.order)))
        return cls(how.order, lengths, how.rehearsal, how.rehearse_at)

    @property
    def ends(self) -> tuple[int, ...]:
        """How many rounds are over when each phase is."""
        return tuple(accumulate(self.lengths))

    def phase(self, round: int) -> int:
        """The 0-based phase of a 0-based round."""
        return min(bisect_right(self.ends, round), len(self.order) - 1)

    def length(self, round: int) -> int:
        """How many rounds the phase of a round has."""
        return self.lengths[self.phase(round)]

    def began(self, round: int) -> int:
        """The round in which the phase of a round began."""
        return sum(self.lengths[: self.phase(round)])

    def earlier(self, round: int) -> tuple[str, ...]:
        """The tasks of the phases before that of a round, in order."""
        return self.order[: self.phase(round)]

    def active(self, round: int, at: Place = "clients") -> dict[str, float]:
        """Task -> share of its patients that is in use in a round: 1 for the phase's own; later tasks are absent."""
        rehearsed = self.rehearsal if self.rehearse_at in (at, "both") else 0.0
        found = dict.fromkeys(self.earlier(round), rehearsed) if rehearsed else {}
        return found | {self.order[self.phase(round)]: 1.0}
