"""Two rows on the columns they share: every difference, and the mean over tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fedmeki_bench.leaderboard.collect import Outcome
from fedmeki_bench.leaderboard.judging import Comparison, Scale, judge
from fedmeki_bench.leaderboard.panels import Panel, cohorts, mean_panel, panel
from fedmeki_bench.leaderboard.reading import Reader
from fedmeki_bench.statistics import sign_flip

if TYPE_CHECKING:
    from fedmeki_bench.evaluation.metrics import MetricSpec

_ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class Column:
    """A task under one partition, by one metric, with the outcomes of every row that stands there.

    Further rows beside the two that are compared make the variance between seeds better known.
    """

    task: str
    partition: str
    metric: MetricSpec
    margin: float
    outcomes: Mapping[str, Sequence[Outcome]]

    @property
    def scale(self) -> Scale:
        """How the metric counts."""
        low, high = self.metric.range
        return Scale(self.metric.name, self.margin, self.metric.direction == "higher", high - low)


@dataclass(frozen=True, slots=True)
class OverTasks:
    """The mean over tasks, partitions of a task averaged first.

    Attributes:
        found: the difference with its interval over patients and seeds, on these tasks.
        cohorts: independent groups of patients: tasks that share patients count as one.
        flip_p: p of the sign-flip test over cohorts, which asks about other tasks.
        smallest: no data of this size can give a smaller one.
    """

    found: Comparison
    cohorts: int
    flip_p: float
    smallest: float


def compare_rows(
    a: str, b: str, columns: Sequence[Column], read: Reader, collections: Mapping[str, str]
) -> tuple[list[Comparison], OverTasks | None]:
    """A minus B in every column as one family, and over tasks where there are several with one metric.

    Args:
        a: the first row.
        b: the second.
        columns: where both stand.
        read: gives the predictions behind an outcome.
        collections: task -> the collection its patients come from.
    """
    parts: list[tuple[Panel, Scale]] = []
    lost: dict[int, Comparison] = {}
    for number, column in enumerate(columns):
        made = _panel(column, a, b, read)
        if isinstance(made, Panel):
            parts.append((made, column.scale))
        else:
            lost[number] = made
    judged = iter(judge(parts, lambda one: [(a, b)], alpha=_ALPHA))
    found = [lost[number] if number in lost else next(judged) for number in range(len(columns))]
    if lost or len({c.task for c in columns}) < 2 or len({c.metric.name for c in columns}) > 1:
        return found, None
    return found, _over_tasks(a, b, columns, [one for one, _ in parts], collections)


def _panel(column: Column, a: str, b: str, read: Reader) -> Panel | Comparison:
    """The rows on the seeds that both sides finished, or why there is no difference."""
    empty = Comparison(a, b, column.task, column.metric.name, column.margin)
    seeds = _seeds(column, a, b)
    if not seeds:
        return replace(empty, note="no seed that both finished")
    others = {row: found for row, found in column.outcomes.items() if row not in (a, b)}
    ordered = {a: column.outcomes[a], b: column.outcomes[b], **others}  # the first says which samples count
    made = panel(column.task, column.metric, ordered, seeds, read)
    absent = {} if made is None else made.absent
    why = absent.get(a) or absent.get(b)
    if made is None or why:
        return replace(empty, note=why or f"{column.metric.title} is undefined")
    return made


def _seeds(column: Column, a: str, b: str) -> list[int]:
    finished = [{o.cell.seed for o in column.outcomes[row] if o.status == "ok"} for row in (a, b)]
    return sorted(finished[0] & finished[1])


def _over_tasks(
    a: str, b: str, columns: Sequence[Column], panels: Sequence[Panel], collections: Mapping[str, str]
) -> OverTasks | None:
    tasks = list(dict.fromkeys(column.task for column in columns))
    if len({tuple(_seeds(column, a, b)) for column in columns}) > 1:
        return None  # other seeds on another task: there is no mean of the same training runs
    times = {task: sum(column.task == task for column in columns) for task in tasks}
    mean = mean_panel(panels, {task: 1 / len(tasks) / times[task] for task in tasks}, collections)
    if mean is None:
        return None
    scale = columns[0].scale
    found = judge([(mean, scale)], lambda one: [(a, b)], alpha=_ALPHA)[0]
    groups = cohorts(panels, collections)
    differences = []
    for group in groups:
        of_task = {
            task: [float(_difference(one, a, b)) for one in panels if one.task == task] for task in dict.fromkeys(group)
        }
        means = [sum(values) / len(values) for values in of_task.values()]
        differences.append(sum(means) / len(means))
    test = sign_flip(differences)
    return OverTasks(found, len(groups), test.p, test.smallest)


def _difference(one: Panel, a: str, b: str) -> float:
    values = one.data.values.mean(axis=1)
    return float(values[one.rows.index(a)] - values[one.rows.index(b)])
