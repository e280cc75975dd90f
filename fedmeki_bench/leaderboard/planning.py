"""What a section can find, and how many seeds and patients it would take to find a smaller difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedmeki_bench.statistics.power import Needed, Variances, in_words, needed, smallest_difference, variances_of

if TYPE_CHECKING:
    from fedmeki_bench.leaderboard.analysis import Analysis
    from fedmeki_bench.leaderboard.grid import Grid
    from fedmeki_bench.leaderboard.judging import Comparison
    from fedmeki_bench.leaderboard.panels import Panel


@dataclass(frozen=True, slots=True)
class Plan:
    """What is needed on one task, or on the mean over the tasks of a section.

    Attributes:
        task: the task; empty for the mean over tasks.
        metric: what is compared; empty where the mean is over different metrics and counts in margins.
        seeds, patients: what there is; of the mean, the test patients of all tasks, which grow alike.
        each: level at which the page judges each single difference.
        smallest: the smallest true difference from the reference that is found now; None where even the whole range of
            the metric is not, e.g. with two positive patients.
        separate: the difference that is wanted.
        needed: the seeds and patients that find it.
        variances: what all this follows from.
    """

    task: str
    metric: str
    seeds: int
    patients: int
    each: float
    smallest: float | None
    separate: float
    needed: Needed
    variances: Variances


def plans(grid: Grid, analysis: Analysis, *, separate: float | None = None, power: float = 0.8) -> tuple[Plan, ...]:
    """One per task and, of several tasks, one for their mean, which is judged first; none where nothing was compared.

    Args:
        grid: the section's outcomes.
        analysis: what was said of them.
        separate: the true difference that is to be found on every task, in the units of its metric; by default the
            board's margin.
        power: probability with which it is to be found.
    """
    found = []
    for task in grid.tasks if len(grid.tasks) > 1 else ():
        wanted = grid.scale_of(task).margin if separate is None else separate
        judged = [c for c in analysis.per_task if c.task == task]
        metric = grid.main_metric(task)
        found.append(_plan(task, metric, analysis.panels.get(task), judged, wanted, _range(grid, task), power))
    wanted = sum(
        abs(grid.weight(task)) * (grid.scale_of(task).margin if separate is None else separate) for task in grid.tasks
    )
    largest = sum(abs(grid.weight(task)) * _range(grid, task) for task in grid.tasks)
    task = grid.tasks[0] if len(grid.tasks) == 1 else ""
    found.append(_plan(task, analysis.scale.metric, analysis.mean, analysis.primary, wanted, largest, power))
    return tuple(plan for plan in found if plan is not None)


def _range(grid: Grid, task: str) -> float:
    """The largest difference that a task's main metric can have."""
    return grid.scale_of(task).largest


def _plan(
    task: str, metric: str, panel: Panel | None, judged: Sequence[Comparison], wanted: float, largest: float,
    power: float,
) -> Plan | None:  # fmt: skip
    """From the differences of a panel that have a number and are not those of twins, which would count twice."""
    known = [c for c in judged if c.each is not None]
    if panel is None or not known:
        return None
    pairs = sorted({(panel.place(c.algorithm), panel.place(c.against)) for c in known})
    each, seeds = known[0].each, panel.data.values.shape[1]
    assert each is not None
    variances = variances_of(panel.unique(), pairs)
    smallest = smallest_difference(variances, n_seeds=seeds, n_patients=variances.n_patients, each=each, power=power)
    return Plan(
        task, metric, seeds, variances.n_patients, each, smallest if smallest <= largest else None, wanted,
        needed(variances, wanted, each=each, power=power), variances,
    )  # fmt: skip


def resolution(grid: Grid, analysis: Analysis) -> str:
    """What a section can find, and what it would take to find the margin; empty where nothing was compared."""
    found = plans(grid, analysis)
    if not found:
        return ""
    last = found[-1]
    title = grid.facts.metric_title(last.metric) if last.metric else "× the margin"
    largest = float("inf") if last.smallest is not None else 0.0
    return in_words(last.variances, title, last.separate, n_seeds=last.seeds, each=last.each, largest=largest)
