"""From the stored series, with their gaps, to what a model takes: fill, standardise, and tell what was measured.

The stored array is the truth: float32 (hours, 48), NaN where nothing was charted. Filling and standardising need
figures of the private training data only, so they are computed once the split is known, kept on the card, and
applied when a batch is read. The functions work on any number of hours and variables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np

Imputation = Literal["none", "forward_median"]


@dataclass(frozen=True, slots=True)
class SeriesStatistics:
    """Per variable: median, mean and standard deviation of the values charted in the client split.

    A variable never charted there has 0, 0 and 1; a constant one has standard deviation 1.
    """

    median: tuple[float, ...]
    mean: tuple[float, ...]
    sd: tuple[float, ...]

    def as_json(self) -> dict[str, list[float]]:
        """For the card."""
        return {name: list(values) for name, values in asdict(self).items()}

    @classmethod
    def from_json(cls, facts: Mapping[str, Sequence[float]]) -> SeriesStatistics:
        """What :meth:`as_json` gave."""
        return cls(tuple(facts["median"]), tuple(facts["mean"]), tuple(facts["sd"]))


def series_statistics(values: Any, rows: Sequence[int] | np.ndarray) -> SeriesStatistics:
    """The statistics of the samples ``rows`` (the client split) of an array (samples, hours, variables).

    ``values`` may be a memory map; one variable is in memory at a time.
    """
    import numpy as np

    rows = np.asarray(rows, dtype=np.intp)
    figures: list[tuple[float, float, float]] = []
    for variable in range(values.shape[-1]):
        column = np.asarray(values[..., variable])[rows].astype(np.float64)
        charted = column[~np.isnan(column)]
        if not charted.size:
            figures.append((0.0, 0.0, 1.0))
            continue
        spread = float(charted.std())
        figures.append((float(np.median(charted)), float(charted.mean()), spread if spread > 1e-12 else 1.0))
    median, mean, sd = zip(*figures, strict=True)
    return SeriesStatistics(median, mean, sd)


def forward_fill(values: np.ndarray) -> np.ndarray:
    """Carry each value forward over the hours that follow without one; (..., hours, variables)."""
    import numpy as np

    hours = np.arange(values.shape[-2])[:, None]
    latest = np.maximum.accumulate(np.where(np.isnan(values), 0, hours), axis=-2)
    return np.take_along_axis(values, latest, axis=-2)


def model_input(
    values: np.ndarray,
    statistics: SeriesStatistics,
    *,
    lengths: np.ndarray | None = None,
    imputation: Imputation = "forward_median",
    mask: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Fill and standardise a batch of stored series.

    Args:
        values: (batch, hours, variables) with NaN, as stored.
        statistics: of the client split of the *training* cohort, also where another cohort is read.
        lengths: (batch,) hours that belong to each series, the rest is padding; all of them by default.
        imputation: ``forward_median`` fills forward, then with the median; ``none`` puts the mean (0 after
            standardising), best with ``mask``.
        mask: append one column per variable, 1 where a value was charted.

    Returns:
        float32 (batch, hours, variables or twice as many), and the hours that are padding (batch, hours), whose
        features are 0.
    """
    import numpy as np

    charted = ~np.isnan(values)
    hours = np.arange(values.shape[-2])
    empty = np.zeros(charted.shape[:-1], dtype=bool) if lengths is None else hours >= lengths[:, None]
    mean, sd = np.asarray(statistics.mean), np.asarray(statistics.sd)
    if imputation == "forward_median":
        filled = forward_fill(values.astype(np.float64))
        filled = np.where(np.isnan(filled), np.asarray(statistics.median), filled)
    else:
        filled = np.where(charted, values, mean)
    features = ((filled - mean) / sd).astype(np.float32)
    if mask:
        features = np.concatenate([features, charted.astype(np.float32)], axis=-1)
    features[empty] = 0.0
    return features, empty
