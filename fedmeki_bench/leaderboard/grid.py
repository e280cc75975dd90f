"""The outcomes of a board by algorithm and task, with the rules for summarising them.

A number is shown with all its uncertainty: one seed with its 95 % interval over patients; two seeds as two values,
three and more as mean ± standard deviation over seeds, with the interval of the mean that holds other patients and
other seeds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedmeki_bench.algorithms import Algorithm
from fedmeki_bench.boards.board import Board
from fedmeki_bench.evaluation.constant_answer import CONSTANT
from fedmeki_bench.evaluation.metrics import MetricSpec
from fedmeki_bench.leaderboard.collect import Collected, Outcome, traffic
from fedmeki_bench.leaderboard.judging import Scale
from fedmeki_bench.records.record import MetricValue
from fedmeki_bench.statistics import over_seeds, summarise_seeds

if TYPE_CHECKING:
    from fedmeki_bench.task import TaskMeta

NO_INTERVAL = "[–]"
NO_INTERVAL_NOTE = "no interval"
"""How a record's note begins to say why a value has none."""

_STATUS_WORD = {"not_applicable": "n/a", "bad": "unreadable"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One table cell.

    Attributes:
        number: the number or numbers as shown, or the word for why there is none.
        value: what is behind it, a mean over seeds; None if no number orders the cell.
        interval: what stands behind the number, such as ``[0.70, 0.90]``.
        remark: a mark or a count of seeds behind both.
        detail: what a reader gets to see who points at the cell.
        digits: decimals at which values of the column count as equal.
        best, tie: whether it is the best of the ranked rows in its column, and whether another is as good.
    """

    number: str
    value: float | None = None
    interval: str = ""
    remark: str = ""
    detail: str = ""
    digits: int = 3
    best: bool = False
    tie: bool = False

    @property
    def text(self) -> str:
        """The whole cell as plain text."""
        return " ".join(part for part in (self.number, self.interval, self.remark, "=" * self.tie) if part)


@dataclass(frozen=True, slots=True)
class Column:
    """A header and the one sentence that defines it; ``higher`` is None where no value is better.

    ``term`` is what the glossary lists the definition under: None for the header, empty where a definition of the table
    says it. ``size`` is how many patients the column depends on, ``mark`` what a reader must know of it.
    """

    key: str
    header: str
    definition: str
    higher: bool | None = None
    term: str | None = None
    size: str = ""
    mark: str = ""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a row costs: megabytes of all clients per round each way and over the whole training, and seconds.

    What a run started from by pre-training had cost is in megabytes and seconds, and not in those per round.
    ``held`` is how many megabytes of weights a client needs to train, ``trained`` how many of them are trained; None
    where records do not say.
    """

    up_per_round: float
    down_per_round: float
    megabytes: float
    seconds: float
    held: float | None = None
    trained: float | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What the tables need to know about tasks and metrics; unknown ones are shown by their name."""

    tasks: Mapping[str, TaskMeta]
    metrics: Mapping[str, MetricSpec]

    def task_title(self, task: str) -> str:
        """The task's title, or its name."""
        return self.tasks[task].title if task in self.tasks else task

    def metric_title(self, metric: str) -> str:
        """The metric's column header, or its name."""
        return self.metrics[metric].title if metric in self.metrics else metric

    @property
    def collections(self) -> dict[str, str]:
        """Task -> the collection its patients come from."""
        return {name: meta.patients or meta.dataset for name, meta in self.tasks.items()}

    def column(self, key: str, header: str, metric: str) -> Column:
        """A column that shows ``metric``."""
        spec = self.metrics.get(metric)
        if spec is None:
            return Column(key, header, f"The metric {metric}, which this installation does not know.")
        return Column(key, header, spec.definition, spec.direction == "higher", spec.title)


class Grid:
    """The outcomes of a board by (algorithm, task), with the rules for summarising them."""

    def __init__(self, board: Board, collected: Collected, facts: Facts) -> None:
        self.board, self.collected, self.facts = board, collected, facts
        self.outcomes: dict[tuple[str, str], list[Outcome]] = {}
        self.algorithms: dict[str, Algorithm] = {}
        for outcome in collected.outcomes:
            algorithm = outcome.cell.algorithm
            self.algorithms.setdefault(algorithm.name, algorithm)
            self.outcomes.setdefault((algorithm.name, outcome.cell.task), []).append(outcome)
        self.tasks = list(dict.fromkeys(o.cell.task for o in collected.outcomes))

    def main_metric(self, task: str) -> str:
        """The task's first metric; empty if no task or record declares one."""
        return next(iter(self.collected.metrics.get(task, ())), "")

    def higher(self, metric: str) -> bool:
        """Whether a higher value of a metric is better."""
        spec = self.facts.metrics.get(metric)
        return spec is None or spec.direction == "higher"

    def scale_of(self, task: str) -> Scale:
        """How the task's main metric counts."""
        metric = self.main_metric(task)
        spec = self.facts.metrics.get(metric)
        largest = math.inf if spec is None else spec.range[1] - spec.range[0]
        return Scale(metric, self.board.margin(metric), self.higher(metric), largest)

    @property
    def scale(self) -> Scale:
        """How the mean over tasks counts: in the metric they share, else in margins, the better the higher."""
        shared = {self.main_metric(task) for task in self.tasks}
        if len(shared) == 1:
            return self.scale_of(self.tasks[0])
        largest = [one.largest / one.margin for one in map(self.scale_of, self.tasks)]
        return Scale("", 1.0, higher=True, largest=sum(largest) / len(largest))

    def weight(self, task: str) -> float:
        """What a task's main metric is multiplied by in the mean over tasks."""
        own, mean = self.scale_of(task), self.scale
        return mean.margin / own.margin * (1 if own.higher == mean.higher else -1) / len(self.tasks)

    def of(self, algorithm: str) -> list[Outcome]:
        """All outcomes of a row."""
        return [o for task in self.tasks for o in self.outcomes.get((algorithm, task), [])]

    def size(self, task: str) -> str:
        """How many patients, and samples if these are more, the task's numbers depend on; empty without a number.

        Where the data name no patients, groups: samples that belong together.
        """
        sizes = {
            (e.n, e.groups)
            for (_, t), found in self.outcomes.items() if t == task
            for o in found if o.status == "ok" and (e := o.evaluation)
        }  # fmt: skip
        unit = self.unit(task)
        what = unit if unit.isalpha() else "group"
        said = []
        for n, groups in sorted(sizes, key=str):
            if groups is None or unit == "sample":
                said.append(f"{n} samples")
            else:
                said.append(f"{groups} {what}s" if n == groups else f"{n} samples of {groups} {what}s")
        return " or ".join(said)

    def unit(self, task: str) -> str:
        """What the task's samples are grouped by, in its own words; ``group`` where nobody says."""
        return self.facts.tasks[task].grouping if task in self.facts.tasks else "group"

    def values(self, algorithm: str, task: str, metric: str) -> list[MetricValue]:
        """The metric of every finished seed, in the order of seeds."""
        found = []
        for outcome in self.outcomes.get((algorithm, task), []):
            if outcome.status == "ok" and outcome.evaluation and metric in outcome.evaluation.metrics:
                found.append(outcome.evaluation.metrics[metric])
        return found

    def mean(self, algorithm: str, task: str, metric: str) -> float | None:
        """Mean over finished seeds; None if there is none or one is undefined."""
        values = [v.value for v in self.values(algorithm, task, metric)]
        numbers = [v for v in values if v is not None]
        if not numbers or len(numbers) < len(values):
            return None
        return summarise_seeds(numbers).mean

    def entry(self, algorithm: str, task: str, metric: str) -> Entry:
        """The metric as a table shows it, or the word for why there is none."""
        values = self.values(algorithm, task, metric)
        if not values:
            words = {_STATUS_WORD.get(o.status, o.status) for o in self.outcomes.get((algorithm, task), [])}
            return Entry(", ".join(sorted(words - {"ok"})) or "–")
        numbers = [v.value for v in values if v.value is not None]
        if len(numbers) < len(values):
            share = "" if len(values) == 1 else f" ({len(values) - len(numbers)} of {len(values)})"
            return Entry(f"undefined{share}")
        return self._entry(metric, values, numbers)

    def mean_entry(self, algorithm: str, cohorts: Sequence[Sequence[str]]) -> Entry:
        """The mean over tasks that share one main metric, with its interval; a dash unless the row is complete.

        Distances to the ends of the tasks' intervals add up as squares (Zou and Donner 2008), those of tasks that share
        patients as they are, which errs on the safe side.

        Args:
            algorithm: the row.
            cohorts: the tasks, grouped by whose patients they depend on.
        """
        if not self.complete(algorithm):
            return Entry("–")
        values = {task: self.values(algorithm, task, self.main_metric(task)) for task in self.tasks}
        seeds = [dict(zip(self.tasks, found, strict=True)) for found in zip(*values.values(), strict=False)]
        means = [_mean_over(found, cohorts, {task: self.weight(task) for task in self.tasks}) for found in seeds]
        return self._entry(self.scale.metric, means, [m.value for m in means if m.value is not None])

    def _entry(self, metric: str, values: Sequence[MetricValue], numbers: Sequence[float]) -> Entry:
        summary = summarise_seeds(numbers)
        if summary.n == 1:
            number = f"{summary.mean:.3f}"
        elif summary.sd is None:
            number = ", ".join(f"{v:.3f}" for v in summary.values)
        else:
            number = f"{summary.mean:.3f} ± {summary.sd:.3f}"
        shown = self._interval_text(metric, values, numbers)
        return Entry(number, summary.mean, shown, f"(n = {summary.n})" * (summary.n != len(self.board.seeds)))

    def interval(self, algorithm: str, task: str, metric: str) -> tuple[float, float] | None:
        """The 95 % interval of the mean over seeds, see :func:`~fedmeki_bench.statistics.over_seeds`; None without."""
        return self._interval(metric, self.values(algorithm, task, metric))

    def _interval(self, metric: str, values: Sequence[MetricValue]) -> tuple[float, float] | None:
        found = [(v.value, v.low, v.high) for v in values]
        known = [(v, low, high) for v, low, high in found if v is not None and low is not None and high is not None]
        if not known or len(known) < len(found):
            return None
        spec = self.facts.metrics.get(metric)
        return over_seeds(known, spec.range if spec else (-math.inf, math.inf))

    def _interval_text(self, metric: str, values: Sequence[MetricValue], numbers: Sequence[float]) -> str:
        found = self._interval(metric, values)
        if found is None:
            return NO_INTERVAL if any(NO_INTERVAL_NOTE in v.note for v in values) else ""
        spec, (low, high) = self.facts.metrics.get(metric), found
        if spec is not None and low < high:  # a bound is written as one
            if min(numbers) >= spec.range[1] <= high:
                return f"[≥ {low:.2f}]"
            if max(numbers) <= spec.range[0] >= low:
                return f"[≤ {high:.2f}]"
        return f"[{low:.2f}, {high:.2f}]"

    def complete(self, algorithm: str) -> bool:
        """Every cell of the row has a defined main metric: only then is the row ranked."""
        return all(o.status == "ok" for o in self.of(algorithm)) and all(
            self.mean(algorithm, task, self.main_metric(task)) is not None for task in self.tasks
        )

    def mark(self, algorithm: str, tasks: Sequence[str]) -> str:
        """‡ if a number of the row uses other data, split or versions than most of its column."""
        return "‡" if any(o.other for o in self.of(algorithm) if o.cell.task in tasks) else ""

    def overall(self, algorithm: str) -> float | None:
        """Mean of the main metrics over tasks, as :attr:`scale` counts it; None unless complete."""
        if not self.complete(algorithm):
            return None
        means = {task: self.mean(algorithm, task, self.main_metric(task)) for task in self.tasks}
        return math.fsum(self.weight(task) * m for task, m in means.items() if m is not None)

    def cost(self, algorithm: str) -> Cost | None:
        """Mean over the seeds whose every cell has a number; None without one. Runs shared by cells count once.

        A constant answer costs nothing, whatever the run did whose record holds its score.
        """
        if self.algorithms[algorithm].view == CONSTANT:
            return Cost(0.0, 0.0, 0.0, 0.0)
        seeds: dict[int, list[Outcome]] = {}
        for outcome in self.of(algorithm):
            seeds.setdefault(outcome.cell.seed, []).append(outcome)
        whole = [found for found in seeds.values() if all(o.status == "ok" for o in found)]
        runs = [record for found in whole for record in {o.record.key: o.record for o in found if o.record}.values()]
        if not runs:
            return None
        n = len(whole)
        sent = [traffic(record) for record in runs]
        before = [record.pretraining for record in runs if record.pretraining is not None]
        return Cost(
            sum(up / max(rounds, 1) for up, _, rounds in sent) / 1e6 / n,
            sum(down / max(rounds, 1) for _, down, rounds in sent) / 1e6 / n,
            (sum(up + down for up, down, _ in sent) + sum(one.bytes_up + one.bytes_down for one in before)) / 1e6 / n,
            (sum(record.cost.seconds for record in runs) + sum(one.seconds for one in before)) / n,
            max(held) / 1e6 if (held := [r.cost.client_weights for r in runs if r.cost.client_weights]) else None,
            max(own) * 4 / 1e6 if (own := [r.cost.parameters for r in runs if r.cost.parameters]) else None,
        )


def _mean_over(
    found: Mapping[str, MetricValue], cohorts: Sequence[Sequence[str]], weights: Mapping[str, float]
) -> MetricValue:
    """The mean over tasks under one seed; without an interval where a task has none."""
    mean = math.fsum(weights[task] * (v.value or 0.0) for task, v in found.items())
    below = above = 0.0
    for tasks in cohorts:
        down = up = 0.0
        for task in tasks:
            one = found[task]
            if one.value is None or one.low is None or one.high is None:
                return MetricValue(value=mean)
            down += weights[task] * (one.value - one.low)
            up += weights[task] * (one.high - one.value)
        below, above = below + down**2, above + up**2
    if {task for tasks in cohorts for task in tasks} != set(found):  # of some task nothing is known of its patients
        return MetricValue(value=mean)
    return MetricValue(value=mean, low=mean - math.sqrt(below), high=mean + math.sqrt(above))
