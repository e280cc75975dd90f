"""95 % intervals over the patients of the test split.

Over patients, not samples: two recordings of one patient are not two independent observations, and an interval over
samples would be too narrow. The interval says how much the number would move with other patients; it says nothing about
other training seeds, which are reported separately. The method is the metric's own (``interval_methods``); a metric
that names none gets the percentile bootstrap over patients.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from fedmeki_bench.errors import InputError, RunFailed, nearest
from fedmeki_bench.evaluation.interval_methods import METHODS, RESAMPLED, Sample
from fedmeki_bench.evaluation.metrics import THRESHOLD, MetricSpec, weighted_mean, weighted_means
from fedmeki_bench.seeds import generator
from fedmeki_bench.statistics.resampling import drawn_groups, left_out_note

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A metric with its interval; NaN where undefined, and then ``note`` says why."""

    value: float
    low: float
    high: float
    note: str = ""


def estimate(
    labels: ArrayLike,
    scores: ArrayLike,
    groups: ArrayLike,
    metrics: Sequence[MetricSpec],
    *,
    seed: int,
    resamples: int = 1000,
    level: float = 0.95,
    classes: Sequence[str] = (),
) -> dict[str, Estimate]:
    """Each metric with its interval over groups, by the method that it names.

    A metric at the end of its range has a one-sided interval, that end being one of its bounds.

    Args:
        labels: (n,) of 0 and 1; of other kinds of task as the kind has them, (n,) or (n, K).
        scores: (n,) probabilities, or (clients, n) where every client has its own model: the value is then
            the mean over clients, whose errors go together, being made on the same samples. (models, n, K) where there
            is a score per class or finding.
        groups: (n,) patient (or other unit) of each sample; order and type do not matter.
        metrics: what to compute.
        seed: of the resamples of a metric whose method is ``resampled``; the same seed and groups draw the same ones
            whatever the scores (a paired design). No other method draws anything.
        resamples: number of resamples (Efron and Tibshirani 1993, chapter 13); 0 for no intervals at all.
        level: mass of the interval.
        classes: names of classes or findings, for remarks.

    Returns:
        Metric name to estimate. A metric undefined on the whole split is NaN with the reason in ``note``, and so is an
        interval that cannot be given. Resamples on which a metric is undefined are left out, and counted in ``note``
        above 1 %.

    Raises:
        InputError: shapes that do not fit, no samples, a metric with an unknown method; labels other than 0 and 1 where
            a metric is one of binary tasks.
        RunFailed: a score that is not a finite number (the model diverged).
    """
    import numpy as np

    y = np.asarray(labels)
    columns = np.atleast_2d(np.asarray(scores, dtype=np.float64))
    ids = np.asarray(groups)
    _validate(y, columns, ids, metrics)
    if len(columns) == 1 and columns.ndim == 2:  # sorted once here, not by every metric for every chunk of resamples
        order = np.argsort(-columns[0], kind="stable")
        y, columns, ids = y[order], columns[:, order], ids[order]
    by_side = [m for m in metrics if m.needs == "label"]
    # Only the side of the threshold matters to these: all columns of weights that share it are added up once.
    compact = [_compact(y, column) for column in columns] if by_side else []

    def values_of(weights: Floats, wanted: Sequence[MetricSpec]) -> Iterator[tuple[str, Floats]]:
        sides = [(y2, s2, weights @ member) for y2, s2, member in compact]
        for metric in wanted:
            cases = sides if metric.needs == "label" else [(y, column, weights) for column in columns]
            # NaN of any client stays NaN: a mean over the clients that happen to be defined would flatter.
            yield metric.name, np.mean([metric.function(*case) for case in cases], axis=0)

    index, n_groups = _indexed(ids)

    def sample_of(metric: MetricSpec) -> Sample:
        return Sample(y, columns, index, n_groups)

    found = _estimates(metrics, values_of, sample_of, index, n_groups, seed=seed, resamples=resamples, level=level)
    remarks = {m.name: m.remark(y, classes) for m in metrics if m.remark is not None}
    return {name: replace(one, note=_joined(remarks.get(name, ""), one.note)) for name, one in found.items()}


def estimate_text(
    gold: Sequence[str],
    predicted: Sequence[str | None],
    groups: ArrayLike,
    metrics: Sequence[MetricSpec],
    *,
    seed: int,
    closed: Sequence[bool] | None = None,
    resamples: int = 1000,
    level: float = 0.95,
) -> dict[str, Estimate]:
    """Each text metric with its interval over groups, as :func:`estimate` does for scores.

    Args:
        gold: n correct answers.
        predicted: n generated answers; None where nothing could be read.
        groups: n patients (or other units).
        metrics: what to compute; each must have a ``per_sample``.
        seed: as for :func:`estimate`.
        closed: which questions are closed; by default those whose gold answer is yes or no.
        resamples: as for :func:`estimate`.
        level: mass of the interval.

    Raises:
        InputError: lengths that do not fit, no samples, a metric that does not compare texts or has an unknown method.
    """
    import numpy as np

    ids = np.asarray(groups)
    n = len(gold)
    if n == 0:
        raise InputError("there are no samples to evaluate")
    if len(predicted) != n or ids.shape != (n,) or (closed is not None and len(closed) != n):
        raise InputError(
            f"gold answers ({n}), predictions ({len(predicted)}), groups ({len(ids)}) and closed differ in length"
        )
    columns = per_sample_values(gold, predicted, metrics)
    if closed is not None and "closed_accuracy" in columns:
        columns["closed_accuracy"] = np.where(np.asarray(closed, dtype=bool), columns["closed_accuracy"], np.nan)
    unused = np.zeros(n)
    index, n_groups = _indexed(ids)

    def values_of(weights: Floats, wanted: Sequence[MetricSpec]) -> Iterator[tuple[str, Floats]]:
        averaged = [m.name for m in wanted if m.function is weighted_mean]  # all at once, in one product
        if averaged:
            table = np.stack([columns[name] for name in averaged], axis=1)
            yield from zip(averaged, weighted_means(table, weights).T, strict=True)
        for metric in wanted:
            if metric.function is not weighted_mean:
                yield metric.name, metric.function(unused, columns[metric.name], weights)

    def sample_of(metric: MetricSpec) -> Sample:
        return Sample(unused, columns[metric.name][None], index, n_groups)

    return _estimates(metrics, values_of, sample_of, index, n_groups, seed=seed, resamples=resamples, level=level)


def per_sample_values(
    gold: Sequence[str], predicted: Sequence[str | None], metrics: Sequence[MetricSpec]
) -> dict[str, Floats]:
    """Metric name to (n,) values; each distinct pair of texts is computed once.

    Raises:
        InputError: a metric that does not compare texts.
    """
    import numpy as np

    functions = []
    for metric in metrics:
        if metric.per_sample is None:
            raise InputError(f"metric {metric.name!r} needs probabilities, not generated text")
        functions.append(metric.per_sample)
    place: dict[tuple[str, str | None], int] = {}
    which = np.fromiter(
        (place.setdefault(pair, len(place)) for pair in zip(gold, predicted, strict=True)), np.int64, len(gold)
    )
    # Pairs outside, metrics inside: the metrics share the tokens of a text through a small cache.
    shape = (len(place), len(functions))
    flat = np.fromiter((f(*pair) for pair in place for f in functions), np.float64, shape[0] * shape[1])
    distinct = flat.reshape(shape)
    return {m.name: distinct[which, column] for column, m in enumerate(metrics)}


def _indexed(ids: NDArray[Any]) -> tuple[NDArray[Any], int]:
    """(n,) number of each sample's group, in the order of their names, and how many groups there are."""
    import numpy as np

    names, index = np.unique(ids, return_inverse=True)
    return index.reshape(-1), len(names)


def _estimates(
    metrics: Sequence[MetricSpec],
    values_of: Callable[[Floats, Sequence[MetricSpec]], Iterable[tuple[str, Floats]]],
    sample_of: Callable[[MetricSpec], Sample],
    index: NDArray[Any],
    n_groups: int,
    *,
    seed: int,
    resamples: int,
    level: float,
) -> dict[str, Estimate]:
    """Values on the whole split with their intervals, each by its metric's method."""
    import numpy as np

    for metric in metrics:
        if metric.interval != RESAMPLED and metric.interval not in METHODS:
            hint = nearest(metric.interval, [RESAMPLED, *METHODS])
            raise InputError(f"metric {metric.name!r} asks for an unknown interval {metric.interval!r}; {hint}")
    values = {name: float(found[0]) for name, found in values_of(np.ones((1, len(index))), metrics)}
    resampled = [m for m in metrics if m.interval == RESAMPLED and np.isfinite(values[m.name])]
    drawn: dict[str, list[Floats]] = {m.name: [] for m in resampled}
    if resampled:
        for counts in drawn_groups(n_groups, len(index), resamples, generator(seed, "bootstrap")):
            for name, found in values_of(counts[:, index], resampled):
                drawn[name].append(found)
    tail, nan = (1 - level) / 2, float("nan")
    estimates = {}
    for metric in metrics:
        value = values[metric.name]
        if not np.isfinite(value):
            estimates[metric.name] = Estimate(nan, nan, nan, f"undefined: {metric.undefined}")
        elif resamples == 0:  # no intervals wanted
            estimates[metric.name] = Estimate(value, nan, nan, metric.note)
        elif metric.interval == RESAMPLED:
            estimates[metric.name] = _summarise(metric, value, np.concatenate(drawn[metric.name]), tail)
        else:
            interval = METHODS[metric.interval](metric, sample_of(metric), value, level)
            estimates[metric.name] = Estimate(value, interval.low, interval.high, _joined(interval.note, metric.note))
    return estimates


def _compact(labels: NDArray[Any], scores: Floats) -> tuple[NDArray[Any], Floats, Floats]:
    """The four kinds of (label, side of the threshold): their labels, scores and (n, 4) membership."""
    import numpy as np

    kind = 2 * (labels == 1) + (scores >= THRESHOLD)
    return np.array([0, 0, 1, 1]), np.array([0.0, 1.0, 0.0, 1.0]), np.eye(4)[kind]


def _validate(labels: NDArray[Any], scores: Floats, groups: NDArray[Any], metrics: Sequence[MetricSpec]) -> None:
    import numpy as np

    n = len(labels)
    if n == 0:
        raise InputError("there are no samples to evaluate")
    fits = scores.ndim in (2, 3) and scores.shape[1] == n and groups.shape == (n,)
    if not fits or (labels.ndim != 1 and (scores.ndim != 3 or labels.shape != scores.shape[1:])):
        raise InputError(
            "labels (n,), scores (n,) or (clients, n) and groups (n,) do not fit together: got "
            f"{labels.shape}, {scores.shape} and {groups.shape}"
        )
    of_two = scores.ndim == 2 and any(metric.needs != "answer" for metric in metrics)
    if of_two and not np.isin(labels, (0, 1)).all():
        raise InputError("labels must be 0 or 1")
    bad = int((~np.isfinite(scores)).sum())
    if bad:
        raise RunFailed(f"{bad} of {scores.size} test scores are not finite: the model diverged")


def _summarise(metric: MetricSpec, value: float, draws: Floats, tail: float) -> Estimate:
    import numpy as np

    nan = float("nan")
    defined = draws[np.isfinite(draws)]
    note = left_out_note(len(draws), len(defined))
    if not len(defined):
        return Estimate(value, nan, nan, _joined(note, metric.note))
    low, high = np.quantile(defined, [tail, 1 - tail])
    return Estimate(value, float(low), float(high), _joined(note, metric.note))


def _joined(*notes: str) -> str:
    return "; ".join(note for note in notes if note)
