"""Curves of a board: the error of a row on a task over labelled patients, or over parameters, all else equal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from fedmeki_bench import seeds
from fedmeki_bench.leaderboard.panels import panel
from fedmeki_bench.statistics.scaling import Curve, Law, fit, published_slope, refusal

if TYPE_CHECKING:
    from fedmeki_bench.evaluation.metric_spec import MetricSpec
    from fedmeki_bench.leaderboard.collect import Outcome
    from fedmeki_bench.leaderboard.page import Context, Page
    from fedmeki_bench.leaderboard.reading import Reader

LABELS, PARAMETERS = "labelled patients", "parameters"
"""What sizes are of."""

SEED = "seed"
_SAME = 0.01  # sizes that differ by less are one


@dataclass(frozen=True, slots=True)
class Cell:
    """One setting of a board under all its seeds.

    Attributes:
        row, task: what it is of.
        place: axis -> label of its value, without the seed.
        sizes: of labels and of parameters, means over seeds.
        score: the main metric, mean over seeds.
        seconds, megabytes: of a run, with its pre-training, means over seeds.
        outcomes: one per seed.
    """

    row: str
    task: str
    place: Mapping[str, str]
    sizes: Mapping[str, float]
    score: float
    seconds: float
    megabytes: float
    outcomes: tuple[Outcome, ...]

    @property
    def pooled(self) -> bool:
        """Whether all data are in one place, so that nothing is sent."""
        return self.outcomes[0].cell.algorithm.pooled


@dataclass(frozen=True, slots=True)
class Measured:
    """A curve with its law, or with why there is none.

    Attributes:
        row, task, over: what it is of.
        place: axis -> label, of what stays the same along it.
        cells: from the smallest size to the largest.
        law: None where none is fitted.
        reason: why.
    """

    row: str
    task: str
    over: str
    place: Mapping[str, str]
    cells: tuple[Cell, ...]
    law: Law | None = None
    reason: str = ""
    bars: tuple[tuple[float, float], ...] = field(default=())

    @property
    def sizes(self) -> list[float]:
        """Of its cells."""
        return [cell.sizes[self.over] for cell in self.cells]

    @property
    def errors(self) -> list[float]:
        """Of its cells, means over seeds."""
        return [1 - cell.score for cell in self.cells]

    @property
    def slope(self) -> float | None:
        """The published slope, which two sizes have already."""
        if len(self.cells) < 2 or not all(cell.score > 0 for cell in self.cells):
            return None
        return published_slope(self.sizes, [cell.score for cell in self.cells])

    @property
    def named(self) -> str:
        """What it is of, but for its task, in words."""
        return ", ".join(self.place.values()) or "all else as it is"


def cells_of(page: Page) -> list[Cell]:
    """Every setting with numbers under all of the board's seeds."""
    places = {point.label: dict(point.place) for point in page.board.points}
    grouped: dict[tuple[str, str, tuple[tuple[str, str], ...]], list[Outcome]] = {}
    for outcome in page.collected.outcomes:
        place = places.get(outcome.cell.partition)
        if outcome.status != "ok" or outcome.record is None or outcome.evaluation is None or place is None:
            continue
        if outcome.cell.algorithm.bound and not outcome.cell.algorithm.pooled:
            continue
        still = tuple((axis, value) for axis, value in place.items() if axis != SEED)
        grouped.setdefault((outcome.cell.algorithm.name, outcome.cell.task, still), []).append(outcome)
    found = []
    for (row, task, still), outcomes in grouped.items():
        values = [_score(outcome, page) for outcome in outcomes]
        if any(value is None for value in values):
            continue
        found.append(
            Cell(
                row, task, dict(still),
                {LABELS: fmean(map(_patients, outcomes)), PARAMETERS: fmean(map(_parameters, outcomes))},
                fmean(value for value in values if value is not None), fmean(map(_seconds, outcomes)),
                fmean(map(_megabytes, outcomes)), tuple(outcomes),
            )
        )  # fmt: skip
    most = max((len(cell.outcomes) for cell in found), default=0)
    return [cell for cell in found if len(cell.outcomes) == most]


def curves_of(cells: Sequence[Cell], page: Page, context: Context) -> list[Measured]:
    """Every curve of two sizes or more, with its law where one can be fitted."""
    found = []
    for over in (LABELS, PARAMETERS):
        axes = moving(cells, over)
        grouped: dict[tuple[str, str, tuple[tuple[str, str], ...]], list[Cell]] = {}
        for cell in cells if axes else ():
            still = tuple((axis, value) for axis, value in cell.place.items() if axis not in axes)
            grouped.setdefault((cell.row, cell.task, still), []).append(cell)
        for (row, task, still), mine in grouped.items():
            ordered = sorted(mine, key=lambda cell: cell.sizes[over])
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
        if any(max(sizes) > min(sizes) * (1 + _SAME) for sizes in grouped.values() if min(sizes) > 0):
            found.append(axis)
    return found


def _measured(curve: Measured, page: Page, context: Context) -> Measured:
    """The curve with its law."""
    metric = _metric(curve.task, page)
    if metric is None or tuple(metric.range) != (0.0, 1.0) or metric.direction != "higher":
        return _without(curve, "its metric is not between 0 and 1 with more being better")
    if context.read is None:
        return _without(curve, "its predictions are not at hand")
    points = _points(curve, metric, context.read)
    if points is None:
        return _without(curve, "its sizes were not scored on the same patients under the same seeds")
    spread = points.spread * points.mean * (1 - points.mean)  # from logits to errors
    bars = tuple((float(e - 1.96 * s), float(e + 1.96 * s)) for e, s in zip(points.mean, spread, strict=True))
    if why := refusal(points):
        return Measured(curve.row, curve.task, curve.over, curve.place, curve.cells, None, why, bars)
    drawn = seeds.derive(0, "scaling", curve.task, curve.row, curve.over, *curve.place.values())
    law = fit(points, seed=drawn)
    return Measured(curve.row, curve.task, curve.over, curve.place, curve.cells, law, "", bars)


def _points(curve: Measured, metric: MetricSpec, read: Reader) -> Curve | None:
    names = {str(number): list(cell.outcomes) for number, cell in enumerate(curve.cells)}
    drawn = sorted({outcome.cell.seed for cell in curve.cells for outcome in cell.outcomes})
    found = panel(curve.task, metric, names, drawn, read)
    if found is None or len(found.rows) < len(names):
        return None
    order = [found.rows.index(name) for name in names]
    return Curve(np.array(curve.sizes), 1 - found.data.values[order], found.data.influences[order])


def _without(curve: Measured, why: str) -> Measured:
    return Measured(curve.row, curve.task, curve.over, curve.place, curve.cells, None, why)


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
