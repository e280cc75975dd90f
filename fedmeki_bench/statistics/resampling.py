"""Patients drawn with replacement, as counts that weigh the samples of many resamples at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]
    Metric = Callable[[NDArray[Any], Floats, Floats], Floats]
    Model = tuple[NDArray[Any], Floats, NDArray[Any]]

CHUNK_ELEMENTS = 500_000
"""Weights held at once: 4 MB of float64, about a core's cache."""

_TOLERATED_UNDEFINED = 0.01


def sorted_models(labels: NDArray[Any], scores: Floats, group: NDArray[Any]) -> list[Model]:
    """(labels, scores, patients) of each client's model, highest score first.

    Sorted once here rather than by the metric for every chunk of resamples.

    Args:
        labels: (n,) or (n, K).
        scores: (clients, n), or (clients, n, K), which have no order.
        group: (n,) index of each sample's patient.
    """
    import numpy as np

    if scores.ndim > 2:
        return [(labels, column, group) for column in scores]
    orders = [np.argsort(-column, kind="stable") for column in scores]
    return [(labels[o], column[o], group[o]) for o, column in zip(orders, scores, strict=True)]


def metric_of(metric: Metric, models: Sequence[Model], counts: Floats) -> Floats:
    """(B,) means over clients of a metric under (B, patients) counts; NaN of one client stays NaN."""
    import numpy as np

    return np.mean([metric(labels, scores, counts[:, group]) for labels, scores, group in models], axis=0)


def drawn_groups(n_groups: int, samples: int, resamples: int, rng: np.random.Generator) -> Iterator[Floats]:
    """Chunks (b, patients) of how often each patient occurs when all are drawn with replacement.

    Args:
        n_groups: number of patients.
        samples: number of samples that will be weighed, which decides how many resamples make a chunk.
        resamples: number of resamples over all chunks.
        rng: where they are drawn from.
    """
    import numpy as np

    chunk = max(1, CHUNK_ELEMENTS // max(samples, n_groups))
    for start in range(0, resamples, chunk):
        rows = min(chunk, resamples - start)
        picks = rng.integers(0, n_groups, size=(rows, n_groups)) + np.arange(rows)[:, None] * n_groups
        yield np.bincount(picks.ravel(), minlength=rows * n_groups).reshape(rows, n_groups).astype(np.float64)


def left_out_note(resamples: int, defined: int) -> str:
    """What to say about resamples on which a metric was undefined; empty up to 1 % of them."""
    missing = resamples - defined
    if missing <= _TOLERATED_UNDEFINED * resamples:
        return ""
    if not defined:
        return "undefined on every resample"
    return f"undefined on {missing} of {resamples} resamples, which are left out of the interval"
