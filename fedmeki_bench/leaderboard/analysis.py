"""What statistics say about one section of a board: ranks with intervals, shares, differences, costs.

Everything here is a pure function of the section's outcomes and predictions, drawn from fixed streams, so that the
same records give the same page.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedmeki_bench.errors import InputError
from fedmeki_bench.evaluation.constant_answer import CONSTANT
from fedmeki_bench.leaderboard.collect import Outcome
from fedmeki_bench.leaderboard.pairs import Reader, paired
from fedmeki_bench.statistics import (
    RankInterval,
    ScoreTable,
    delong,
    holm,
    normalised,
    paired_difference,
    pareto,
    rank_intervals,
    resolution,
    summarise_seeds,
    swap_test,
    tied_for_first,
    to_target,
)

if TYPE_CHECKING:
    from fedmeki_bench.algorithm import Algorithm
    from fedmeki_bench.evaluation.metrics import MetricSpec
    from fedmeki_bench.leaderboard.grid import Grid
    from fedmeki_bench.statistics import Paired

_SEED = 0
"""Of the bootstraps of a page; the same for every board, so that rebuilding one gives the same bytes."""

_UNVALIDATED = "foundation"
_LEAST_GAIN = 0.02
"""Below this gain of central over majority a share of it is noise divided by nearly nothing."""

_RANK_METRICS = ("auroc", "auprc")


@dataclass(frozen=True, slots=True)
class Comparison:
    """An algorithm against the reference on one task, on the same seeds and patients.

    Attributes:
        difference, low, high: algorithm minus reference in the metric's units, with the 95 % interval.
        p, adjusted: two-sided p of the test, and after Holm over the section's family; None where untested.
        test: which test, in a word.
        better: whether the difference favours the algorithm; None at zero or where undefined.
        note: what a reader must know, or why there is no number.
    """

    algorithm: str
    task: str
    metric: str
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    adjusted: float | None = None
    test: str = ""
    better: bool | None = None
    seeds: int = 0
    samples: int = 0
    groups: int = 0
    note: str = ""

    @property
    def separated(self) -> bool:
        """Whether the adjusted p is below 0.05 and the interval leaves out 0.

        The test asks whether other patients could undo the difference between these very runs, the interval whether
        other patients and other seeds could; only both together speak of the algorithms.
        """
        if self.adjusted is None or self.low is None or self.high is None:
            return False
        return self.adjusted < 0.05 and not self.low <= 0 <= self.high


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


@dataclass(frozen=True, slots=True)
class Analysis:
    """The statistics of one section.

    Attributes:
        reference: the row others are compared with.
        ranks: ranked algorithm -> interval of its place, by bootstrap over tasks and seeds.
        first: algorithms whose interval contains place 1.
        resolution: what this grid can and can't separate.
        shares: algorithm -> mean over tasks of the share of the pooled gain recovered; None without both bounds.
        without_gain: tasks left out of the shares, because pooling gains too little there.
        front: algorithms that no other beats in both traffic and score, cheapest first.
        comparisons: against the reference; one family for Holm's adjustment.
        targets: rounds and bytes to the reference's score.
    """

    reference: Algorithm | None
    ranks: Mapping[str, RankInterval]
    first: tuple[str, ...]
    resolution: str
    shares: Mapping[str, float | None]
    without_gain: tuple[str, ...]
    front: tuple[str, ...]
    comparisons: tuple[Comparison, ...]
    targets: tuple[Target, ...]

    @property
    def uncompared(self) -> tuple[Comparison, ...]:
        """Differences without a test: predictions lost or damaged, an undefined metric; ``note`` says why."""
        return tuple(c for c in self.comparisons if c.adjusted is None)


def analyse(grid: Grid, read: Reader | None) -> Analysis:
    """The statistics of a section; without ``read`` there are no paired differences."""
    ranked = [name for name, a in grid.algorithms.items() if not a.bound and grid.complete(name)]
    table = _score_table(grid, ranked)
    ranks = rank_intervals(table, seed=_SEED) if table is not None else {}
    ranks = {name: interval for name, interval in ranks.items() if interval.determined}
    reference = _reference(grid)
    shares, without_gain = _shares(grid)
    return Analysis(
        reference=reference,
        ranks=ranks,
        first=tied_for_first(ranks) if ranks else (),
        resolution=resolution(len(ranked), len(grid.tasks), len(grid.board.seeds)).sentence if len(ranked) > 1 else "",
        shares=shares,
        without_gain=without_gain,
        front=_front(grid, ranked),
        comparisons=_comparisons(grid, reference, read) if reference and read else (),
        targets=_targets(grid, reference) if reference else (),
    )


def _score_table(grid: Grid, ranked: Sequence[str]) -> ScoreTable | None:
    """The main metrics of the complete rows; None unless there are two with the same seeds."""
    if len(ranked) < 2:
        return None
    rows = []
    for name in ranked:
        for task in grid.tasks:
            metric = grid.main_metric(task)
            for outcome in grid.outcomes[name, task]:
                assert outcome.evaluation is not None
                value = outcome.evaluation.metrics[metric].value
                assert value is not None
                rows.append((name, task, outcome.cell.seed, value))
    return ScoreTable.from_rows(rows, {task: _higher(grid, grid.main_metric(task)) for task in grid.tasks})


def _higher(grid: Grid, metric: str) -> bool:
    spec = grid.facts.metrics.get(metric)
    return spec is None or spec.direction == "higher"


def _reference(grid: Grid) -> Algorithm | None:
    """The board's reference if it answers here, else the first competitor with numbers."""
    named = grid.algorithms.get(grid.board.reference or "")
    rows = [named] if named else []
    rows += [a for a in grid.algorithms.values() if not a.bound]
    return next((a for a in rows if any(o.status == "ok" for o in grid.of(a.name))), None)


def _shares(grid: Grid) -> tuple[dict[str, float | None], tuple[str, ...]]:
    """Mean share of (central - majority) per complete row, over the tasks where that gain is worth dividing by."""
    floor = next((a.name for a in grid.algorithms.values() if a.view == "constant"), None)
    ceiling = next((a.name for a in grid.algorithms.values() if a.pooled), None)
    bounds: dict[str, tuple[float, float]] = {}
    for task in grid.tasks:
        low, high = (grid.mean(row, task, grid.main_metric(task)) if row else None for row in (floor, ceiling))
        if low is None or high is None:
            return dict.fromkeys(grid.algorithms), ()
        gain = high - low if _higher(grid, grid.main_metric(task)) else low - high
        if gain >= _LEAST_GAIN:
            bounds[task] = (low, high)
    found: dict[str, float | None] = {}
    for name in grid.algorithms:
        shares = []
        for task, (low, high) in bounds.items() if grid.complete(name) else ():
            value = grid.mean(name, task, grid.main_metric(task))
            assert value is not None
            shares.append(normalised(value, low, high, higher=_higher(grid, grid.main_metric(task))))
        known = [share for share in shares if share is not None]
        found[name] = math.fsum(known) / len(known) if known else None
    return found, tuple(task for task in grid.tasks if task not in bounds)


def _front(grid: Grid, ranked: Sequence[str]) -> tuple[str, ...]:
    points = {}
    for name in ranked:
        cost, score = grid.cost(name), grid.overall(name)
        if cost is not None and score is not None:
            points[name] = (cost.megabytes, score)
    if not points:
        return ()
    return pareto(points, higher=_higher(grid, grid.main_metric(grid.tasks[0])))


def compare_outcomes(
    a: Sequence[Outcome], b: Sequence[Outcome], metric: MetricSpec, read: Reader, read_b: Reader | None = None
) -> Comparison:
    """One algorithm against another on one task: difference, its interval over patients and seeds, and a test.

    AUROC from one seed of one model each is tested by DeLong; everything else by swapping the two models' answers
    patient by patient. ``read_b`` reads the other side where it lies elsewhere.
    """
    first = a[0]
    empty = Comparison(first.cell.algorithm.name, first.cell.task, metric.name)
    try:
        data = paired(a, b, metric, read, read_b or read)
    except InputError as error:
        return _noted(empty, str(error))
    if not data:
        return _noted(empty, "no seed that both finished")
    found = paired_difference(metric.function, data, seed=_SEED)
    if not math.isfinite(found.difference):
        return _noted(empty, found.note)
    p, test = _tested(metric, data)
    sign = found.difference if metric.direction == "higher" else -found.difference
    return Comparison(
        empty.algorithm, empty.task, metric.name, found.difference, _finite(found.low), _finite(found.high), _finite(p),
        None, test, None if sign == 0 else sign > 0, found.seeds, found.samples, found.groups, found.note,
    )  # fmt: skip


def _tested(metric: MetricSpec, data: Sequence[Paired]) -> tuple[float, str]:
    one = data[0]
    if metric.name == "auroc" and len(data) == 1 and one.a.ndim == one.b.ndim == 1:
        return delong(one.labels, one.a, one.b, groups=one.groups).p, "DeLong"
    return swap_test(metric.function, data, seed=_SEED, ranks=metric.name in _RANK_METRICS).p, "swap"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _noted(empty: Comparison, note: str) -> Comparison:
    return Comparison(empty.algorithm, empty.task, empty.metric, note=note)


def certain(seeds: int) -> str:
    """What :attr:`Comparison.separated` means, in words."""
    if seeds == 1:
        return (
            "p below 0.05 after Holm's adjustment over all of them as one family, and an interval over patients "
            "that leaves out 0; one seed was trained, so this speaks of these trained models, not of the algorithms"
        )
    return (
        "p below 0.05 after Holm's adjustment over all of them as one family, and an interval over patients and seeds "
        "without 0"
    )


def adjust(comparisons: Sequence[Comparison]) -> tuple[Comparison, ...]:
    """Holm's adjustment over these comparisons as one family."""
    from dataclasses import replace

    tested = {i: c.p for i, c in enumerate(comparisons) if c.p is not None}
    adjusted = holm(tested)
    return tuple(replace(c, adjusted=adjusted.get(i)) for i, c in enumerate(comparisons))


def _comparisons(grid: Grid, reference: Algorithm, read: Reader) -> tuple[Comparison, ...]:
    """Every competitor against the reference on every task."""
    found = []
    for name, algorithm in grid.algorithms.items():
        if algorithm.bound or name == reference.name:
            continue
        for task in grid.tasks:
            spec = grid.facts.metrics.get(grid.main_metric(task))
            ours, theirs = grid.outcomes.get((name, task), []), grid.outcomes.get((reference.name, task), [])
            if not (any(o.status == "ok" for o in ours) and any(o.status == "ok" for o in theirs)):
                continue
            if spec is None:
                unknown = "this installation does not know the metric"
                found.append(Comparison(name, task, grid.main_metric(task), note=unknown))
            else:
                found.append(compare_outcomes(ours, theirs, spec, read))
    return adjust(found)


def _targets(grid: Grid, reference: Algorithm) -> tuple[Target, ...]:
    """Rounds and bytes until a row's validation score reaches what the reference ended with.

    What is validated is the model after aggregation: a foundation view has no curve of its own, and neither has a
    bound that trains nothing. Pooling sends data, not models, so it has no traffic to count.
    """
    found = []
    curved = [name for name, a in grid.algorithms.items() if a.view != _UNVALIDATED and not a.pooled]
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
                    higher=_higher(grid, grid.main_metric(task)),
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
