"""What statistics say about one section of a board: differences in words, places, what could be found, costs.

Everything here is a pure function of the section's outcomes and predictions, drawn from fixed streams, so that the
same records give the same page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fedmeki_bench.evaluation.constant_answer import CONSTANT
from fedmeki_bench.leaderboard.judging import (
    SEED,
    Answer,
    Comparison,
    Question,
    Scale,
    answer_to,
    gated,
    judge,
    placed,
)
from fedmeki_bench.leaderboard.panels import Panel, cohorts, mean_panel, panel
from fedmeki_bench.leaderboard.reading import Reader
from fedmeki_bench.leaderboard.targets import Target, targets
from fedmeki_bench.statistics import RankInterval, ScoreTable, pareto, rank_intervals
from fedmeki_bench.statistics.places import Place, may_be_best

if TYPE_CHECKING:
    from fedmeki_bench.algorithms import Algorithm
    from fedmeki_bench.leaderboard.grid import Grid

UNTRAINED = ("constant", CONSTANT)
"""Views of bounds that learn nothing, about which nothing is asked."""

FEW_COHORTS = 10
"""Up to so many independent groups of patients nothing is said of other tasks: drawing them again covers too rarely."""

ALPHA = 0.05
"""Probability that some statement of a page's first families is wrong; its sections share it."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked of an algorithm about a bound, and the answer."""

    question: Question
    answer: Answer
    found: Comparison


@dataclass(frozen=True, slots=True)
class Analysis:
    """The statistics of one section.

    Attributes:
        reference: the row others are compared with.
        scale: of the statistic that orders the table and is judged first: the mean over the tasks, or the one task.
        alpha: probability that some statement of a family is wrong.
        panels: the rows of each task on the same patients and seeds.
        mean: the same of the mean over tasks; of the task itself where there is one.
        primary: every competitor against the reference on the mean.
        questions: every competitor against the bounds on the mean; one family with ``primary``.
        per_task: every competitor against the reference on each task, a family of its own, tested where the mean is
            decided; empty with one task.
        places: ranked algorithm -> its place by the mean, and the places that are possible.
        best: algorithms that may be the best.
        twins: row -> the row whose predictions it shares to the last bit.
        cohorts: tasks by whose patients they depend on.
        elsewhere: ranked algorithm -> its places when cohorts and seeds are drawn again; only above ten cohorts.
        front: algorithms that no other beats in both traffic and score, cheapest first.
        targets: rounds and bytes to the reference's score.
    """

    reference: Algorithm | None
    scale: Scale
    alpha: float
    panels: Mapping[str, Panel] = field(default_factory=dict)
    mean: Panel | None = None
    primary: tuple[Comparison, ...] = ()
    questions: tuple[Asked, ...] = ()
    per_task: tuple[Comparison, ...] = ()
    places: Mapping[str, Place] = field(default_factory=dict)
    best: tuple[str, ...] = ()
    twins: Mapping[str, str] = field(default_factory=dict)
    cohorts: tuple[tuple[str, ...], ...] = ()
    elsewhere: Mapping[str, RankInterval] = field(default_factory=dict)
    front: tuple[str, ...] = ()
    targets: tuple[Target, ...] = ()

    @property
    def seeds(self) -> int:
        """How many seeds the comparisons depend on; 0 without any."""
        return next((one.data.values.shape[1] for one in self.panels.values()), 0)

    @property
    def uncompared(self) -> tuple[Comparison, ...]:
        """Differences without a number: predictions lost or damaged, an undefined metric; ``note`` says why."""
        return tuple(c for c in (self.per_task or self.primary) if c.difference is None)


def analyse(grid: Grid, read: Reader | None, *, sections: int = 1) -> Analysis:
    """The statistics of a section; without ``read`` there are no comparisons.

    Args:
        grid: the section's outcomes.
        read: gives the predictions behind them.
        sections: how many sections of the page share the probability of a wrong statement.
    """
    reference, alpha = _reference(grid), ALPHA / max(1, sections)
    ranked = [name for name, a in grid.algorithms.items() if not a.bound and grid.complete(name)]
    costs = {"front": _front(grid, ranked), "targets": tuple(targets(grid, reference)) if reference else ()}
    if reference is None or read is None:
        return Analysis(reference, grid.scale, alpha, **costs)  # type: ignore[arg-type]
    panels = _panels(grid, reference, read)
    mean = _mean(grid, panels)
    primary, questions, per_task = _judged(grid, reference, panels, mean, alpha)
    places: Mapping[str, Place] = {}
    # a row that can't be compared might be the best: without it there is no set of the best
    if mean is not None and len(ranked) > 1 and all(name in mean.rows for name in ranked):
        places = placed(mean, grid.scale, ranked, alpha=alpha)
    shared = tuple(tuple(tasks) for tasks in cohorts(panels.values(), grid.facts.collections))
    return Analysis(
        reference, grid.scale, alpha, panels, mean, primary, questions, per_task, places, may_be_best(places),
        {} if mean is None else mean.twins, shared, _elsewhere(grid, mean, panels, shared, list(places)),
        **costs,  # type: ignore[arg-type]
    )  # fmt: skip


def _reference(grid: Grid) -> Algorithm | None:
    """The board's reference if it answers here, else the first competitor with numbers."""
    named = grid.algorithms.get(grid.board.reference or "")
    rows = [named] if named else []
    rows += [a for a in grid.algorithms.values() if not a.bound]
    return next((a for a in rows if any(o.status == "ok" for o in grid.of(a.name))), None)


def _seeds(grid: Grid, reference: Algorithm) -> list[int]:
    """The seeds that the reference finished on every task it has a number for."""
    finished = [
        {o.cell.seed for o in found if o.status == "ok"}
        for task in grid.tasks
        if (found := grid.outcomes.get((reference.name, task), [])) and any(o.status == "ok" for o in found)
    ]
    return [seed for seed in grid.board.seeds if finished and all(seed in seeds for seeds in finished)]


def _panels(grid: Grid, reference: Algorithm, read: Reader) -> dict[str, Panel]:
    seeds = _seeds(grid, reference)
    found = {}
    broken = {name for name, a in grid.algorithms.items() if a.control}
    for task in grid.tasks if seeds else ():
        spec = grid.facts.metrics.get(grid.main_metric(task))
        names = [reference.name, *(name for name in grid.algorithms if name != reference.name)]  # it says what samples
        outcomes = {name: grid.outcomes[name, task] for name in names if (name, task) in grid.outcomes}
        if spec is not None and (made := panel(task, spec, outcomes, seeds, read, apart=broken)):
            found[task] = made
    return found


def _mean(grid: Grid, panels: Mapping[str, Panel]) -> Panel | None:
    """The panel of the mean over tasks; None where a task has none."""
    if list(panels) != list(grid.tasks):
        return None
    if len(panels) == 1:
        return next(iter(panels.values()))
    return mean_panel(list(panels.values()), {task: grid.weight(task) for task in grid.tasks}, grid.facts.collections)


def _judged(
    grid: Grid, reference: Algorithm, panels: Mapping[str, Panel], mean: Panel | None, alpha: float
) -> tuple[tuple[Comparison, ...], tuple[Asked, ...], tuple[Comparison, ...]]:
    """The primary family (against the reference and the bounds), its questions, and the family of the single tasks."""
    competitors = [name for name, a in grid.algorithms.items() if not a.bound]
    rivals = [(name, reference.name) for name in competitors if name != reference.name]
    asked = {name: question for name, question in _questions(grid).items() if name != reference.name}
    bounds = [(name, bound) for bound in asked for name in competitors]

    def started(task: str, pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        tasks = [task] if task in grid.tasks else grid.tasks
        ok = {name for name in grid.algorithms for t in tasks
              if any(o.status == "ok" for o in grid.outcomes.get((name, t), []))}  # fmt: skip
        return [pair for pair in pairs if ok.issuperset(pair)]

    first: tuple[Comparison, ...] = ()
    if mean is not None and reference.name in mean.rows:
        first = judge([(mean, grid.scale)], lambda one: started(one.task, [*rivals, *bounds]), alpha=alpha)
    primary = tuple(c for c in first if (c.algorithm, c.against) in rivals)
    questions = tuple(
        Asked(asked[c.against], answer_to(asked[c.against], c, higher=grid.scale.higher), c)
        for c in first
        if (c.algorithm, c.against) in bounds
    )
    if len(grid.tasks) < 2:
        return primary, questions, ()
    parts = [(one, grid.scale_of(task)) for task, one in panels.items()]
    per_task = judge(parts, lambda one: started(one.task, rivals), alpha=alpha)
    return primary, questions, tuple(gated(per_task, primary))


def _questions(grid: Grid) -> dict[str, Question]:
    """Bound -> what is asked about it, of the bounds that have numbers here."""
    declared = grid.board.questions
    if declared is not None:
        return {name: question for name, question in declared.items() if name in grid.algorithms}
    trained = [a for a in grid.algorithms.values() if a.bound and a.view not in UNTRAINED]
    return {a.name: "not_worse" if a.pooled else "better" for a in trained}


def _elsewhere(
    grid: Grid, mean: Panel | None, panels: Mapping[str, Panel], shared: Sequence[Sequence[str]], ranked: Sequence[str]
) -> dict[str, RankInterval]:
    """Places on other tasks: a bootstrap over cohorts, which says nothing of ten or fewer."""
    if mean is None or len(shared) <= FEW_COHORTS or len(ranked) < 2:
        return {}
    rows = []
    for row in ranked:
        for number, tasks in enumerate(shared):
            values = sum(grid.weight(task) * panels[task].data.values[panels[task].rows.index(row)] for task in tasks)
            rows += [(row, f"cohort {number}", seed, float(v)) for seed, v in enumerate(values)]
    table = ScoreTable.from_rows(rows, {f"cohort {n}": grid.scale.higher for n in range(len(shared))})
    return rank_intervals(table, seed=SEED)


def _front(grid: Grid, ranked: Sequence[str]) -> tuple[str, ...]:
    points = {}
    for name in ranked if grid.scale.metric else ():
        cost, score = grid.cost(name), grid.overall(name)
        if cost is not None and score is not None:
            points[name] = (cost.megabytes, score)
    if not points:
        return ()
    return pareto(points, higher=grid.higher(grid.main_metric(grid.tasks[0])))
