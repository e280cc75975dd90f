"""95 % intervals over the patients of the test split, by bootstrap.

Patients, not samples, are drawn with replacement: two recordings of one patient are not two independent
observations, and an interval over samples would be too narrow. The interval says how much the number would
move with other patients; it says nothing about other training seeds, which are reported separately.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fedmeki_bench.errors import InputError, RunFailed
from fedmeki_bench.evaluation.metrics import MetricSpec
from fedmeki_bench.seeds import generator

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.floating[Any]]

_CHUNK_ELEMENTS = 2_000_000
"""Weights held at once: 16 MB of float64, whatever the number of samples and resamples."""

_TOLERATED_UNDEFINED = 0.01


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
) -> dict[str, Estimate]:
    """Each metric with its percentile interval over resampled groups (Efron and Tibshirani 1993, chapter 13).

    Args:
        labels: (n,) of 0 and 1.
        scores: (n,) probabilities, or (clients, n) where every client has its own model: the value is then
            the mean over clients, and all clients are resampled jointly, being scored on the same samples.
        groups: (n,) patient (or other unit) of each sample; order and type do not matter.
        metrics: what to compute.
        seed: the same seed and groups draw the same resamples whatever the scores (a paired design).
        resamples: number of bootstrap resamples.
        level: mass of the interval.

    Returns:
        Metric name to estimate. A metric undefined on the whole split is NaN with the reason in ``note``;
        resamples on which it is undefined are left out, and counted in ``note`` above 1 %.

    Raises:
        InputError: shapes that do not fit, labels other than 0 and 1, no samples.
        RunFailed: a score that is not a finite number (the model diverged).
    """
    import numpy as np

    y = np.asarray(labels)
    columns = np.atleast_2d(np.asarray(scores, dtype=np.float64))
    ids = np.asarray(groups)
    _validate(y, columns, ids)
    whole = np.ones((1, len(y)))
    values = {m.name: float(_mean_over_clients(m, y, columns, whole)[0]) for m in metrics}

    drawn: dict[str, list[Floats]] = {m.name: [] for m in metrics}
    wanted = [m for m in metrics if np.isfinite(values[m.name])]
    if wanted:
        for weights in _resampled_weights(ids, seed=seed, resamples=resamples):
            for metric in wanted:
                drawn[metric.name].append(_mean_over_clients(metric, y, columns, weights))

    tail = (1 - level) / 2
    return {m.name: _summarise(m, values[m.name], drawn[m.name], tail) for m in metrics}


def _validate(labels: NDArray[Any], scores: Floats, groups: NDArray[Any]) -> None:
    import numpy as np

    n = len(labels)
    if n == 0:
        raise InputError("there are no samples to evaluate")
    if labels.ndim != 1 or scores.ndim != 2 or scores.shape[1] != n or groups.shape != (n,):
        raise InputError(
            "labels (n,), scores (n,) or (clients, n) and groups (n,) do not fit together: got "
            f"{labels.shape}, {scores.shape} and {groups.shape}"
        )
    if not np.isin(labels, (0, 1)).all():
        raise InputError("labels must be 0 or 1")
    bad = int((~np.isfinite(scores)).sum())
    if bad:
        raise RunFailed(f"{bad} of {scores.size} test scores are not finite: the model diverged")


def _mean_over_clients(metric: MetricSpec, labels: NDArray[Any], scores: Floats, weights: Floats) -> Floats:
    import numpy as np

    # NaN of any client stays NaN: a mean over the clients that happen to be defined would flatter.
    values: Floats = np.mean([metric.function(labels, column, weights) for column in scores], axis=0)
    return values


def _resampled_weights(groups: NDArray[Any], *, seed: int, resamples: int) -> Iterator[Floats]:
    """Chunks (b, n) of how often each sample occurs when groups are drawn with replacement."""
    import numpy as np

    names, group_of = np.unique(groups, return_inverse=True)
    n_groups = len(names)
    rng = generator(seed, "bootstrap")
    chunk = max(1, _CHUNK_ELEMENTS // len(groups))
    for start in range(0, resamples, chunk):
        rows = min(chunk, resamples - start)
        picks = rng.integers(0, n_groups, size=(rows, n_groups))
        flat = picks + np.arange(rows)[:, None] * n_groups
        counts = np.bincount(flat.ravel(), minlength=rows * n_groups).reshape(rows, n_groups)
        yield counts[:, group_of].astype(np.float64)


def _summarise(metric: MetricSpec, value: float, drawn: list[Floats], tail: float) -> Estimate:
    import numpy as np

    if not np.isfinite(value):
        return Estimate(float("nan"), float("nan"), float("nan"), f"undefined: {metric.undefined}")
    draws = np.concatenate(drawn)
    defined = draws[np.isfinite(draws)]
    if not len(defined):
        return Estimate(value, float("nan"), float("nan"), "undefined on every resample")
    low, high = np.quantile(defined, [tail, 1 - tail])
    left_out = len(draws) - len(defined)
    note = ""
    if left_out > _TOLERATED_UNDEFINED * len(draws):
        note = f"undefined on {left_out} of {len(draws)} resamples, which are left out of the interval"
    return Estimate(value, float(low), float(high), note)
