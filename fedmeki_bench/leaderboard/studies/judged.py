"""Claims put to every world of a board."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import Literal

from fedmeki_bench.boards.claims import Claim
from fedmeki_bench.leaderboard.studies.worlds import Worlds
from fedmeki_bench.statistics.perturbation import Turn, Word, World, judge_best, judge_pair, mean_ranks, turns

Verdict = Literal["held", "tied", "failed", "undefined", "left out"]

MOST_CLAIMS = 12
"""Claims that are read off a board which makes none."""


@dataclass(frozen=True)
class Judged:
    """A claim with its verdict in every world.

    Attributes:
        claim: what is claimed.
        text: the claim with rows and tasks by their titles.
        verdicts: one per world; ``left out`` where no task that it is about carries signal.
        worlds: the places of the verdicts.
    """

    claim: Claim
    text: str
    verdicts: tuple[Verdict, ...]
    worlds: tuple[World, ...]

    def count(self, verdict: Verdict) -> int:
        """In how many worlds this is the verdict."""
        return self.verdicts.count(verdict)

    @property
    def judged(self) -> int:
        """In how many worlds it was judged at all."""
        return len(self.verdicts) - self.count("left out")

    @cached_property
    def turns(self) -> dict[str, Turn]:
        """Axis -> how the verdict turns along it."""
        words: list[Word] = ["undefined" if v == "left out" else v for v in self.verdicts]
        return turns(words, self.worlds)

    @property
    def axis(self) -> str:
        """The axis along which it turns most; empty where it holds, or fails, everywhere it is decided."""
        found = {axis: turn.range for axis, turn in self.turns.items() if turn.range > 0}
        return max(found, key=lambda axis: found[axis]) if found else ""

    @property
    def turning(self) -> str:
        """That axis in words, with how often the claim holds at each of its values."""
        if not self.axis:
            return "–"
        held = self.turns[self.axis].held
        return f"{self.axis}: " + ", ".join(f"{h} of {d} at {value}" for value, (h, d) in held.items() if d)

    @property
    def broken(self) -> list[str]:
        """Labels of the worlds where it fails."""
        return [w.label for w, v in zip(self.worlds, self.verdicts, strict=True) if v == "failed"]


def judge(claim: Claim, worlds: Worlds) -> Judged:
    """A claim in every world."""
    found = tuple(_verdict(claim, worlds, world) for world in range(len(worlds.worlds)))
    return Judged(claim, _text(claim, worlds), found, worlds.worlds)


def _text(claim: Claim, worlds: Worlds) -> str:
    left, right = (worlds.rows.get(row, row) for row in (claim.left, claim.right))
    if claim.best:
        return f"{left} is best"
    offset = f" {'+' if claim.offset > 0 else '−'} {abs(claim.offset):g}" if claim.offset else ""
    task = f" on {worlds.tasks.get(claim.task, claim.task)}" if claim.task else ""
    return f"{left} {'>' if claim.strict else '≥'} {right}{offset}{task}"


def ranks_in(worlds: Worlds, world: int, *, also: Sequence[str] = ()) -> dict[str, float]:
    """Row -> its mean rank in a world, over the tasks that carry signal there.

    Args:
        also: bounds that are ranked beside the competitors.
    """
    tasks = worlds.loud(world)
    rows = [*worlds.competitors, *(row for row in also if row in worlds.bounds)]
    return mean_ranks({row: [worlds.score(row, task, world) for task in tasks] for row in rows})


def best_in(worlds: Worlds, world: int) -> list[str]:
    """The rows with the best mean rank in a world; none where nothing carries signal or a competitor has no number."""
    ranks = ranks_in(worlds, world)
    if len(worlds.compared) < 2 or not set(worlds.compared) <= set(ranks):
        return []
    first = min(ranks.values(), default=0.0)
    return [row for row, rank in ranks.items() if rank <= first + 1e-9]


def claims_read_off(worlds: Worlds) -> list[Claim]:
    """What a board that makes no claims seems to say: its best row at the base, against those that come next."""
    means = base_ranks(worlds)
    order = sorted(means, key=lambda row: means[row])
    if len(order) < 2:
        return []
    first, *others = order
    return [
        Claim(f"best: {first}", first),
        *(Claim(f"{first} > {other}", first, other) for other in others[: MOST_CLAIMS - 1]),
    ]


def base_ranks(worlds: Worlds) -> dict[str, float]:
    """Row -> its mean rank over the worlds of the base."""
    found: dict[str, list[float]] = {}
    for world in range(worlds.base):
        for row, rank in ranks_in(worlds, world).items():
            found.setdefault(row, []).append(rank)
    return {row: fmean(ranks) for row, ranks in found.items()}


def _verdict(claim: Claim, worlds: Worlds, world: int) -> Verdict:
    if claim.task:
        if (claim.task, world) in worlds.silent:
            return "left out"
        left, right = (worlds.score(row, claim.task, world) for row in (claim.left, claim.right))
        return judge_pair(left, right, claim.offset, strict=claim.strict)
    tasks = worlds.loud(world)
    if not tasks:
        return "left out"
    if claim.offset:
        return _by_difference(claim, worlds, world, tasks)
    ranks = ranks_in(worlds, world, also=(claim.left, claim.right))
    if claim.best:  # who has no number might be better
        return judge_best(claim.left, ranks) if set(worlds.compared) <= set(ranks) else "undefined"
    left, right = (None if row not in ranks else -ranks[row] for row in (claim.left, claim.right))
    return judge_pair(left, right, strict=claim.strict)


def _by_difference(claim: Claim, worlds: Worlds, world: int, tasks: Sequence[str]) -> Verdict:
    """By the mean of the main metric over the tasks, which must be the same metric."""
    if len({worlds.metrics[task].name for task in tasks}) > 1:
        return "undefined"
    sides = []
    for row in (claim.left, claim.right):
        values = [worlds.score(row, task, world) for task in tasks]
        known = [v for v in values if v is not None]
        sides.append(fmean(known) if len(known) == len(values) else None)
    return judge_pair(sides[0], sides[1], claim.offset, strict=claim.strict)
