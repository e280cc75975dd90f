"""Metrics of numbers, for many weightings of the same samples at once; equal to scikit-learn's and scipy's."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from fedmeki_bench.evaluation.metric_spec import MetricSpec
from fedmeki_bench.evaluation.metrics import weighted_mean

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]
    Labels = NDArray[Any]

_FLAT = 1e-12
"""Below this share of its squared mean a variance is rounding."""


def mae(labels: Labels, scores: Floats, weights: Floats) -> Floats:
    """Mean absolute error."""
    return weighted_mean(labels, abs(scores - labels), weights)


def rmse(labels: Labels, scores: Floats, weights: Floats) -> Floats:
    """Root of the mean squared error."""
    import numpy as np

    found: Floats = np.sqrt(weighted_mean(labels, (scores - labels) ** 2, weights))
    return found


def r2(labels: Labels, scores: Floats, weights: Floats) -> Floats:
    """1 - squared error / that of the samples' own mean; NaN where all labels are alike."""
    import numpy as np

    error = weighted_mean(labels, (scores - labels) ** 2, weights)
    spread = _moments(labels, labels, weights)
    out = np.full(len(weights), np.nan)
    np.divide(error, spread, out=out, where=spread > 0)
    return 1 - out


def pearson(labels: Labels, scores: Floats, weights: Floats) -> Floats:
    """Correlation of numbers said and true; 0 where the model says one number, NaN where all labels are alike."""
    import numpy as np

    shared = _moments(labels, scores, weights)
    own, said = _moments(labels, labels, weights), _moments(scores, scores, weights)
    out = np.full(len(weights), np.nan)
    np.divide(shared, np.sqrt(own) * np.sqrt(said), out=out, where=(own > 0) & (said > 0))
    out[(own > 0) & (said <= 0)] = 0.0
    return np.clip(out, -1.0, 1.0)


def _moments(a: Floats, b: Floats, weights: Floats) -> Floats:
    """(B,) weighted covariances of two columns; 0 where it is rounding."""
    import numpy as np

    x, y = a - np.mean(a, dtype=np.float64), b - np.mean(b, dtype=np.float64)
    total = weights.sum(axis=1)
    mean_x, mean_y, both = ((weights @ v) / total for v in (x, y, x * y))
    found: Floats = both - mean_x * mean_y
    size = _FLAT * (np.abs(a).max() * np.abs(b).max() + 1e-300)
    return np.where(np.abs(found) > size, found, 0.0)


def _spec(
    title: str, function: Callable[[Labels, Floats, Floats], Floats], definition: str, *, interval: str,
    ends: tuple[float, float] = (0.0, float("inf")), direction: Literal["higher", "lower"] = "lower",
    undefined: str = "there are no samples", margin: float = 0.01,
) -> MetricSpec:  # fmt: skip
    return MetricSpec(
        name=function.__name__, version=1, title=title, definition=definition, direction=direction, range=ends,
        kinds=("regression",), needs="answer", function=function, interval=interval, undefined=undefined, margin=margin,
    )  # fmt: skip


_ALIKE = "all labels are alike"

MAE = _spec(
    "MAE", mae, "Mean absolute error, in the task's unit; lower is better.", interval="jackknife_error", margin=1.0
)
RMSE = _spec(
    "RMSE",
    rmse,
    "Root of the mean squared error, in the task's unit; lower is better.",
    interval="jackknife_error",
    margin=1.0,
)
R2 = _spec(
    "R²", r2,
    "1 − squared error / that of the mean of these samples: 1 perfect, 0 no better than that constant, below 0 worse.",
    ends=(-float("inf"), 1.0), direction="higher", interval="jackknife_skill", undefined=_ALIKE,
)  # fmt: skip
PEARSON = _spec(
    "Correlation", pearson, "Pearson's correlation of numbers said and true; 0 for a constant.",
    ends=(-1.0, 1.0), direction="higher", interval="jackknife_correlation", undefined=_ALIKE,
)  # fmt: skip
