"""Near-duplicate signals, whatever gain, sign, noise, filter and small shift lie between them.

The filter compares magnitude spectra of each channel, less their local mean: a shift, a gain or a sign changes
nothing there, and what remains is the pattern of this recording's own beats. The second look finds the best shift by
cross-correlation and then asks the worst of five equal windows, because two patients with the same heart rate agree in
some beats but not all along.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedmeki_bench.near.prints import Pairs, Prints, blocks, placed, row_products

if TYPE_CHECKING:
    import numpy as np

_LOWEST, _HIGHEST = 10, 200
"""Band in cycles per record: 1 to 20 Hz of a ten-second ECG."""
_LEAST_SAMPLES = 500
_POINTS = 500
"""Points of the signal that the second look sees: 50 Hz of ten seconds."""
_SMOOTH = 9  # bins of the spectrum's local mean
_SPARSE = 3  # every third bin is compared first
_LIKELY, _CANDIDATE = 0.7, 0.79
"""Correlation of the sparse and of the whole spectra from which a pair is looked at again."""
_FURTHEST = 30  # points, 0.6 s of ten seconds
_FINER = 4  # lags are tried in quarters of a point
_WHOLE = 0.8  # no pair whose windows agree correlates less as a whole
_WINDOWS = 5
_CHUNK = 64
_FLAT = 2.0
"""Root mean square in stored steps below which integer signals are flat: quantisation alone gives as much."""
_INDEPENDENT = (0, 1, 6, 7, 8, 9, 10, 11)
"""Of the twelve standard leads: III and the augmented ones follow from I and II."""


class SignalSearch:
    """Signals (n, channels, samples) of one length."""

    what = "recordings"
    blank = "are flat"
    threshold = 0.9

    def prints(self, values: np.ndarray) -> Prints | None:
        """Spectra (n, channels x bins) and the band-limited signal (n, channels, points), both float16, unit size."""
        import numpy as np

        if values.ndim != 3 or values.shape[-1] < _LEAST_SAMPLES:
            return None
        parts = [self._some(np.asarray(values[k : k + _CHUNK])) for k in range(0, len(values), _CHUNK)]
        return Prints.stacked(parts) if parts else None

    def _some(self, values: np.ndarray) -> Prints:
        import numpy as np
        from scipy.fft import irfft, rfft
        from scipy.ndimage import uniform_filter1d

        chosen = values[:, list(_INDEPENDENT)] if values.shape[1] == 12 else values
        waves = rfft(np.nan_to_num(chosen.astype(np.float32)), axis=-1)[..., _LOWEST : _HIGHEST + 1]
        waves *= np.sqrt(np.arange(_LOWEST, _HIGHEST + 1, dtype=np.float32) / _LOWEST)
        size = np.sqrt((np.abs(waves) ** 2).sum(axis=(1, 2)))
        floor = _FLAT if values.dtype.kind in "iu" else 1e-9
        blank = size < floor * values.shape[-1] * np.sqrt(chosen.shape[1] / 2)
        waves = waves / np.where(blank, np.inf, size)[:, None, None]
        spectrum = np.abs(waves)
        spectrum = _unit((spectrum - uniform_filter1d(spectrum, _SMOOTH, axis=-1)).reshape(len(values), -1))
        padded = np.zeros((*waves.shape[:2], _POINTS // 2 + 1), dtype=np.complex64)
        padded[..., _LOWEST : _HIGHEST + 1] = waves
        wave = irfft(padded, n=_POINTS, axis=-1)
        wave = _unit(wave.reshape(len(values), -1)).reshape(wave.shape)
        return Prints({"spectrum": spectrum.astype(np.float16), "wave": wave.astype(np.float16)}, blank)

    def pairs(self, left: Prints, right: Prints | None = None) -> Pairs:
        """See :class:`~fedmeki_bench.near.prints.Search`; sets with another number of channels have no pairs."""
        import numpy as np

        other = left if right is None else right
        found = [np.empty((0, 2), dtype=np.intp)]
        if left.arrays["wave"].shape[1:] == other.arrays["wave"].shape[1:]:
            sparse = [_unit(x.arrays["spectrum"][:, ::_SPARSE].astype(np.float32)) for x in (left, other)]
            for rows, columns in blocks(len(left), None if right is None else len(other)):
                hits = np.argwhere(sparse[0][rows] @ sparse[1][columns].T >= _LIKELY)
                places = placed(rows, columns, hits, within=right is None)
                whole = row_products(left.arrays["spectrum"], other.arrays["spectrum"], places)
                found.append(places[whole >= _CANDIDATE])
        places = np.concatenate(found)
        score = np.zeros(len(places))
        for start in range(0, len(places), _CHUNK):
            i, j = places[start : start + _CHUNK].T
            score[start : start + _CHUNK] = likeness(left.arrays["wave"][i], other.arrays["wave"][j])
        kept = score >= self.threshold
        return Pairs(places[kept, 0], places[kept, 1], score[kept])


def likeness(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """|correlation| over all channels in the worst of five windows, at the shift that fits best; (n,)."""
    import numpy as np
    from scipy.fft import irfft, rfft

    points = left.shape[-1]
    size = 2 * points  # zeros behind each, so that nothing wraps around
    a, b = (rfft(x.astype(np.float32), size, axis=-1) for x in (left, right))
    fine = irfft((a * b.conj()).sum(axis=1), size * _FINER, axis=-1) * _FINER
    lags = np.arange(-_FURTHEST * _FINER, _FURTHEST * _FINER + 1)
    # a shift leaves less to compare: per shared length, not in all
    shared = 1 - np.abs(lags) / (points * _FINER)
    together = np.abs(fine[:, lags] / shared)  # the arrays have unit size, so this is a correlation
    lag = lags[together.argmax(axis=1)] / _FINER
    told = np.zeros(len(left))
    likely = together.max(axis=1) >= _WHOLE
    if likely.any():
        told[likely] = _worst_window(left[likely], b[likely], lag[likely])
    return told


def _worst_window(left: np.ndarray, b: np.ndarray, lag: np.ndarray) -> np.ndarray:
    import numpy as np
    from scipy.fft import irfft

    points = left.shape[-1]
    size = 2 * points
    turn = np.exp(-2j * np.pi * np.arange(points + 1) / size * lag[:, None]).astype(np.complex64)
    moved = irfft(b * turn[:, None], size, axis=-1)[..., :points]
    at = np.arange(points)
    both = (at >= np.ceil(lag)[:, None]) & (at <= points - 1 + np.floor(lag)[:, None])
    a, b = left.astype(np.float32) * both[:, None], moved * both[:, None]
    windows = (len(left), left.shape[1], _WINDOWS, points // _WINDOWS)
    a, b = a.reshape(windows), b.reshape(windows)
    together, own_a, own_b = ((x * y).sum(axis=(1, 3)) for x, y in ((a, b), (a, a), (b, b)))
    told: np.ndarray = np.abs(together / np.sqrt(np.maximum(own_a * own_b, 1e-12))).min(axis=1)
    return told


def _unit(rows: np.ndarray) -> np.ndarray:
    import numpy as np

    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
