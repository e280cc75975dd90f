"""What it costs to reach a score: rounds and bytes until validation first gets to what the reference ended with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedmeki_bench.evaluation.constant_answer import CONSTANT
from fedmeki_bench.evaluation.view import in_words
from fedmeki_bench.leaderboard.collect import Outcome
from fedmeki_bench.statistics import summarise_seeds, to_target

if TYPE_CHECKING:
    from fedmeki_bench.algorithms import Algorithm
    from fedmeki_bench.leaderboard.grid import Grid


@dataclass(frozen=True, slots=True)
class Target:
    """When an algorithm's validation score first reached the reference's last one, mean over seeds.

    ``rounds`` and ``megabytes`` (both ways) are None unless every seed reached it; ``reached`` of ``seeds`` did.
    """

    algorithm: str
    task: str
    target: float
    reached: int
    seeds: int
    rounds: float | None
    megabytes: float | None


def targets(grid: Grid, reference: Algorithm) -> tuple[Target, ...]:
    """Rounds and bytes until a row's validation score reaches what the reference ended with.

    What is validated is the model after aggregation: a foundation view has no curve of its own, and neither has a
    bound that trains nothing. Pooling sends data, not models, so it has no traffic to count.
    """
    found = []
    curved = [name for name, a in grid.algorithms.items() if not in_words(a.view) and not a.pooled]
    for task in grid.tasks:
        ends = [curve[-1] for o in grid.outcomes.get((reference.name, task), []) if (curve := valid_curve(o, task))]
        if not ends:
            continue
        target = summarise_seeds(ends).mean
        for name in curved:
            reached, seeds = [], 0
            for outcome in grid.outcomes.get((name, task), []):
                if not valid_curve(outcome, task) or outcome.record is None or len(outcome.record.history) < 2:
                    continue
                seeds += 1
                history = outcome.record.history
                traffic_of = [r.bytes_up + r.bytes_down for r in history]
                at = to_target(
                    [r.valid.get(task) for r in history], traffic_of, target,
                    higher=grid.higher(grid.main_metric(task)),
                )  # fmt: skip
                if at is not None:
                    reached.append(at)
            if seeds:
                every = len(reached) == seeds
                found.append(
                    Target(
                        name, task, target, len(reached), seeds,
                        sum(r.rounds for r in reached) / seeds if every else None,
                        sum(r.bytes for r in reached) / seeds / 1e6 if every else None,
                    )
                )  # fmt: skip
    return tuple(found)


def valid_curve(outcome: Outcome, task: str) -> list[float]:
    """The validation score per round; empty unless every round has one, and for a constant answer, which has none."""
    if outcome.cell.algorithm.view == CONSTANT or outcome.status != "ok" or outcome.record is None:
        return []
    values = [r.valid.get(task) for r in outcome.record.history]
    known = [v for v in values if v is not None]
    return known if known and len(known) == len(values) else []
