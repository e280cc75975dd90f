"""Curves of a board: the error of a row on a task over labelled patients, or over parameters, all else equal."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from fedmeki_bench import seeds
from fedmeki_bench.boards.axes import AS_IT_IS, PRETRAIN, values_of
from fedmeki_bench.leaderboard.panels import panel
from fedmeki_bench.statistics.scaling import Curve, Law, fit, published_slope, refusal

if TYPE_CHECKING:
    from fedmeki_bench.evaluation.metric_spec import MetricSpec
    from fedmeki_bench.leaderboard.collect import Outcome
    from fedmeki_bench.leaderboard.page import Context, Page
    from fedmeki_bench.leaderboard.reading import Reader

LABELS, PARAMETERS = "labelled patients", "parameters"
"""What sizes are of."""

SEED, SCRATCH = "seed", "from scratch"
_SAME = 0.01  # sizes that differ by less are one


@dataclass(frozen=True, slots=True)
class Cell:
    """One setting of a board under all its seeds.

    Attributes:
        row, task: what it is of.
        place: axis -> label of its value, without the seed.
        values: seed -> the main metric.
        outcomes: seed -> what was run.
        higher: whether more of the metric is better.
    """

    row: str
    task: str
    place: Mapping[str, str]
    values: Mapping[int, float]
    outcomes: Mapping[int, Outcome]
    higher: bool = True

    def under(self, drawn: Collection[int]) -> Cell:
        """The same under some of its seeds alone."""
        values = {seed: value for seed, value in self.values.items() if seed in drawn}
        return replace(self, values=values, outcomes={seed: self.outcomes[seed] for seed in values})

    @property
    def sizes(self) -> dict[str, float]:
        """Of labels and of parameters, means over seeds."""
        runs = self.outcomes.values()
        return {LABELS: fmean(map(_patients, runs)), PARAMETERS: fmean(map(_parameters, runs))}

    @property
    def score(self) -> float:
        """The main metric, mean over seeds."""
        return fmean(self.values.values())

    @property
    def signed(self) -> float:
        """The same with its sign turned where less is better: the more, the better."""
        return self.score if self.higher else -self.score

    @property
    def seconds(self) -> float:
        """Of a run, with its pre-training, mean over seeds."""
        return fmean(map(_seconds, self.outcomes.values()))

    @property
    def megabytes(self) -> float:
        """Of a run, with its pre-training, mean over seeds."""
        return fmean(map(_megabytes, self.outcomes.values()))

    @property
    def pretext(self) -> str:
        """What it was pre-trained by; empty from scratch."""
        record = next(iter(self.outcomes.values())).record
        return record.pretraining.pretext if record is not None and record.pretraining is not None else ""

    @property
    def pooled(self) -> bool:
        """Whether all data are in one place, so that nothing is sent."""
        return next(iter(self.outcomes.values())).cell.algorithm.pooled

    @property
    def named(self) -> str:
        """Its place in words."""
        return words(self.place)


def words(place: Mapping[str, str]) -> str:
    """A place in words, without axes at a base that sets nothing."""
    return ", ".join(value for value in place.values() if value != AS_IT_IS)


def on_common_seeds(cells: Sequence[Cell]) -> list[Cell]:
    """The cells under the seeds that all of them have; as they are where there is none."""
    common = set.intersection(*(set(cell.values) for cell in cells)) if cells else set()
    return [cell.under(common) for cell in cells] if common else list(cells)


@dataclass(frozen=True, slots=True)
class Measured:
    """A curve with its law, or with why there is none.

    Attributes:
        row, task, over: what it is of.
        place: axis -> label, of what stays the same along it.
        cells: from the smallest size to the largest.
        law: None where none is fitted.
        reason: why.
        bars: 95 % intervals of its errors.
        bounded: whether the metric lies between 0 and 1 with more being better, so that 1 less it is an error.
    """

    row: str
    task: str
    over: str
    place: Mapping[str, str]
    cells: tuple[Cell, ...]
    law: Law | None = None
    reason: str = ""
    bars: tuple[tuple[float, float], ...] = ()
    bounded: bool = True

    @property
    def sizes(self) -> list[float]:
        """Of its cells."""
        return [cell.sizes[self.over] for cell in self.cells]

    @property
    def errors(self) -> list[float]:
        """Of its cells, means over seeds; none of a metric of which 1 less it is no error."""
        return [1 - cell.score for cell in self.cells] if self.bounded else []

    @property
    def slope(self) -> float | None:
        """The published slope, which two sizes have already."""
        if not self.bounded or len(self.cells) < 2 or not all(cell.score > 0 for cell in self.cells):
            return None
        return published_slope(self.sizes, [cell.score for cell in self.cells])

    @property
    def named(self) -> str:
        """What it is of, but for its task, in words."""
        return words(self.place) or "all else as it is"


def cells_of(page: Page) -> list[Cell]:
    """Every setting with numbers under all the seeds that the board asks for there."""
    scratch = _pre_trained_along(page)
    places: dict[str, tuple[tuple[str, str], ...]] = {}
    asked: dict[tuple[tuple[str, str], ...], set[int]] = {}
    for point in page.board.points:
        still = tuple(
            (axis, SCRATCH if axis in scratch and value == AS_IT_IS else value)
            for axis, value in point.place if axis != SEED
        )  # fmt: skip
        places[point.label] = still
        asked.setdefault(still, set()).update(point.seeds)
    grouped: dict[tuple[str, str, tuple[tuple[str, str], ...]], dict[int, Outcome]] = {}
    for outcome in page.collected.outcomes:
        place = places.get(outcome.cell.partition)
        if outcome.status != "ok" or outcome.record is None or outcome.evaluation is None or place is None:
            continue
        if outcome.cell.algorithm.bound and not outcome.cell.algorithm.pooled:
            continue
        mine = grouped.setdefault((outcome.cell.algorithm.name, outcome.cell.task, place), {})
        mine[outcome.cell.seed] = outcome
    found = []
    for (row, task, place), outcomes in grouped.items():
        values = {seed: value for seed, one in outcomes.items() if (value := _score(one, page)) is not None}
        if set(values) != asked[place]:
            continue
        metric = _metric(task, page)
        found.append(Cell(row, task, dict(place), values, outcomes, metric is None or metric.direction == "higher"))
    return found


def _pre_trained_along(page: Page) -> set[str]:
    """The axes along which runs start from a pre-training or from scratch."""
    axes = values_of(page.board.axes)
    return {
        axis for axis, values in axes.items()
        if any(
            key.partition(".")[0] == PRETRAIN
            for value in values for options in (value.options, *(own for _, own in value.rows)) for key, _ in options
        )
    }  # fmt: skip


def curves_of(cells: Sequence[Cell], page: Page, context: Context) -> list[Measured]:
    """Every curve of two sizes or more, with its law where one can be fitted."""
    found = []
    for over in (LABELS, PARAMETERS):
        sized = [cell for cell in cells if cell.sizes[over] > 0]
        axes = moving(sized, over)
        grouped: dict[tuple[str, str, tuple[tuple[str, str], ...]], list[Cell]] = {}
        for cell in sized if axes else ():
            still = tuple((axis, value) for axis, value in cell.place.items() if axis not in axes)
            grouped.setdefault((cell.row, cell.task, still), []).append(cell)
        for (row, task, still), mine in grouped.items():
            ordered = sorted(on_common_seeds(mine), key=lambda cell: cell.sizes[over])
            sizes = [cell.sizes[over] for cell in ordered]
            if len(ordered) > 1 and all(b > a * (1 + _SAME) for a, b in pairwise(sizes)):
                found.append(_measured(Measured(row, task, over, dict(still), tuple(ordered)), page, context))
    return found


def moving(cells: Sequence[Cell], over: str) -> list[str]:
    """The axes along which a size changes while the others stay."""
    axes = dict.fromkeys(axis for cell in cells for axis in cell.place)
    found = []
    for axis in axes:
        grouped: dict[tuple[object, ...], list[float]] = {}
        for cell in cells:
            rest = tuple((other, value) for other, value in cell.place.items() if other != axis)
            grouped.setdefault((cell.row, cell.task, rest), []).append(cell.sizes[over])
        if any(max(sizes) > min(sizes) * (1 + _SAME) for sizes in grouped.values()):
            found.append(axis)
    return found


def _measured(curve: Measured, page: Page, context: Context) -> Measured:
    """The curve with its law."""
    metric = _metric(curve.task, page)
    if metric is None or tuple(metric.range) != (0.0, 1.0) or metric.direction != "higher":
        why = "its metric is not between 0 and 1 with more being better, so 1 less it is no error"
        return replace(curve, reason=why, bounded=False)
    if context.read is None:
        return replace(curve, reason="its predictions are not at hand")
    points = _points(curve, metric, context.read)
    if points is None:
        return replace(curve, reason="its sizes were not scored on the same patients under the same seeds")
    spread = points.spread * points.mean * (1 - points.mean)  # from logits to errors
    bars = tuple((float(e - 1.96 * s), float(e + 1.96 * s)) for e, s in zip(points.mean, spread, strict=True))
    if why := refusal(points):
        return replace(curve, reason=why, bars=bars)
    drawn = seeds.derive(0, "scaling", curve.task, curve.row, curve.over, *curve.place.values())
    return replace(curve, law=fit(points, seed=drawn), bars=bars)


def _points(curve: Measured, metric: MetricSpec, read: Reader) -> Curve | None:
    names = {str(number): list(cell.outcomes.values()) for number, cell in enumerate(curve.cells)}
    drawn = sorted({seed for cell in curve.cells for seed in cell.outcomes})
    found = panel(curve.task, metric, names, drawn, read)
    if found is None or len(found.rows) < len(names):
        return None
    order = [found.rows.index(name) for name in names]
    return Curve(np.array(curve.sizes), 1 - found.data.values[order], found.data.influences[order])


def _metric(task: str, page: Page) -> MetricSpec | None:
    names = page.collected.metrics.get(task, ())
    return page.facts.metrics.get(names[0]) if names else None


def _score(outcome: Outcome, page: Page) -> float | None:
    names = page.collected.metrics.get(outcome.cell.task, ())
    assert outcome.evaluation is not None
    found = outcome.evaluation.metrics.get(names[0]) if names else None
    return None if found is None else found.value


def _patients(outcome: Outcome) -> float:
    """Patients of the task over all clients: those whose labels were used."""
    assert outcome.record is not None
    held = outcome.record.assignment
    counts = held.counts.get(outcome.cell.task, []) if held is not None else []
    return float(sum(int(str(one.get("groups") or one.get("n") or 0)) for one in counts))


def _parameters(outcome: Outcome) -> float:
    assert outcome.record is not None
    return float(outcome.record.cost.parameters or 0)


def _seconds(outcome: Outcome) -> float:
    record = outcome.record
    assert record is not None
    return record.cost.seconds + (record.pretraining.seconds if record.pretraining else 0.0)


def _megabytes(outcome: Outcome) -> float:
    record = outcome.record
    assert record is not None
    sent = record.cost.bytes_up + record.cost.bytes_down
    before = record.pretraining
    return (sent + (before.bytes_up + before.bytes_down if before else 0)) / 1e6
