"""Near-duplicate clinical series: hourly values with gaps, whatever unit, noise or shift by an hour lies between them.

Each variable of a stay is centred and scaled by its own mean and deviation, so that what is compared is the course, not
the level (most patients' levels are alike). Gaps count as nothing: products run over the hours that both have. A first
product leaves the few pairs that are looked at again, over shared values alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from fedmeki_bench.near.prints import Pairs, Prints, blocks, placed

if TYPE_CHECKING:
    import numpy as np

_HOURS = 25
"""Hours that are compared, from the first: a day, as the mortality cohort has it."""
_LEAST_VALUES = 3  # of a variable, below which it has no course
_LEAST_SHARED = 40  # values that both stays must have
_LEAST_SHARE = 0.4  # of the stay with fewer
_CANDIDATE = 0.5
_SHIFTS = (-2, -1, 0, 1, 2)
_CHUNK = 512


class SeriesSearch:
    """Series (n, hours, variables), NaN where nothing was charted."""

    what = "series"
    blank = "have too few charted values to be told apart"
    threshold = 0.8

    def prints(self, values: np.ndarray) -> Prints | None:
        """The courses (n, hours, variables), 0 in gaps, and where they are known."""
        import numpy as np

        if values.ndim != 3 or values.shape[1] < _LEAST_VALUES:
            return None
        parts = [self._some(np.asarray(values[k : k + _CHUNK, :_HOURS])) for k in range(0, len(values), _CHUNK)]
        return Prints.stacked(parts) if parts else None

    def _some(self, values: np.ndarray) -> Prints:
        import numpy as np

        known = np.isfinite(values)
        count = known.sum(axis=1, keepdims=True)
        filled = np.where(known, values, 0).astype(np.float64)
        rest = np.where(known, filled - filled.sum(axis=1, keepdims=True) / np.maximum(count, 1), 0)
        spread = np.sqrt((rest * rest).sum(axis=1, keepdims=True) / np.maximum(count, 1))
        known &= (count >= _LEAST_VALUES) & (spread > 1e-6 * np.abs(filled).max(axis=1, keepdims=True))
        course = np.where(known, rest / np.where(spread > 0, spread, 1), 0).clip(-8, 8).astype(np.float16)
        return Prints({"course": course, "known": known}, known.sum(axis=(1, 2)) < _LEAST_SHARED)

    def pairs(self, left: Prints, right: Prints | None = None) -> Pairs:
        """See :class:`~fedmeki_bench.near.prints.Search`; only series of the same variables can have pairs."""
        import numpy as np

        other = left if right is None else right
        empty = np.empty(0, dtype=np.intp)
        if left.arrays["course"].shape[2] != other.arrays["course"].shape[2]:
            return Pairs(empty, empty, np.empty(0))
        best: dict[tuple[int, int], float] = {}
        for shift in _SHIFTS:
            a, b = _shifted(left.arrays, other.arrays, shift)
            units = [_unit(x["course"]) for x in (a, b)]
            for rows, columns in blocks(len(left), None if right is None else len(other)):
                hits = np.argwhere(units[0][rows] @ units[1][columns].T >= _CANDIDATE)
                places = placed(rows, columns, hits, within=right is None)
                for start in range(0, len(places), _CHUNK):
                    part = places[start : start + _CHUNK]
                    for (i, j), score in zip(part.tolist(), _shared_correlation(a, b, part).tolist(), strict=True):
                        if score >= self.threshold:
                            best[i, j] = max(score, best.get((i, j), 0.0))
        found = sorted(best)
        index = np.array(found, dtype=np.intp).reshape(-1, 2)
        return Pairs(index[:, 0], index[:, 1], np.array([best[pair] for pair in found]))


def _shifted(
    left: Mapping[str, np.ndarray], right: Mapping[str, np.ndarray], shift: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Both sides cut to the hours that they share when ``right`` lags by ``shift`` hours."""
    hours = min(left["course"].shape[1], right["course"].shape[1])
    length = hours - abs(shift)
    first = max(-shift, 0), max(shift, 0)
    a, b = (
        {name: x[:, k : k + length] for name, x in side.items()} for side, k in ((left, first[0]), (right, first[1]))
    )
    return a, b


def _unit(course: np.ndarray) -> np.ndarray:
    import numpy as np

    flat = course.reshape(len(course), -1).astype(np.float32)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)


def _shared_correlation(a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray], places: np.ndarray) -> np.ndarray:
    """Correlation over the values that both have; 0 where those are too few."""
    import numpy as np

    i, j = places.T
    shared = a["known"][i] & b["known"][j]
    x, y = (np.where(shared, s["course"][k], 0).astype(np.float32) for s, k in ((a, i), (b, j)))
    count = shared.sum(axis=(1, 2))
    fewer = np.minimum(a["known"][i].sum(axis=(1, 2)), b["known"][j].sum(axis=(1, 2)))
    size = np.sqrt((x * x).sum(axis=(1, 2)) * (y * y).sum(axis=(1, 2)))
    enough = (count >= _LEAST_SHARED) & (count >= _LEAST_SHARE * fewer)
    told: np.ndarray = np.where(enough, (x * y).sum(axis=(1, 2)) / np.maximum(size, 1e-6), 0.0)
    return told
