"""How an error falls with size: a power law above a floor, with an interval over patients and seeds.

For sizes x (labelled patients, parameters) and errors e = 1 - metric, the law is e = E + A x^-alpha: E is what no size
removes, alpha how fast the rest goes (Hestness et al., arXiv 1712.00409; Hoffmann et al., arXiv 2203.15556, for one
variable). It is fitted by weighted least squares on the logit of the error, so that errors near 0 count by their ratio.
Beside it stands the slope that BioVFM reports (Liu et al., arXiv 2505.09329): a line through log AUC over log N.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]

ENOUGH_SIZES, ENOUGH_RANGE = 4, 10.0
"""A law has three parameters, and an exponent that is seen over less than a decade says little beyond it."""

DRAWS = 400
_STEEPEST, _SLOWEST = 3.0, -1.0
_EDGE = 1e-6
_NEAR = 0.01  # of the way between its bounds, a floor lies at one of them
_LARGE = 12.0  # of transformed parameters: sigmoid(12) is 1 to five digits
_STARTS = tuple((alpha, floor) for alpha in (0.1, 0.5, 1.2) for floor in (0.02, 0.7))


@dataclass(frozen=True, slots=True)
class Curve:
    """Errors over sizes, all on the same patients.

    Attributes:
        sizes: (K,) positive, rising.
        errors: (K, S) of each size under each seed, between 0 and 1.
        influences: (K, S, P) what each patient contributes to each error; their squares add up to its variance over
            patients (see :mod:`~fedmeki_bench.statistics.influence`).
    """

    sizes: Floats
    errors: Floats
    influences: Floats

    @property
    def mean(self) -> Floats:
        """(K,) errors, mean over seeds."""
        found: Floats = self.errors.mean(axis=1)
        return found

    @property
    def residuals(self) -> Floats:
        """(K * S,) how far each seed lies from its size's mean, in logits, widened for what a mean takes away."""
        seeds = self.errors.shape[1]
        if seeds < 2:
            return np.zeros(1)
        y = _logit(self.errors)
        found: Floats = ((y - y.mean(axis=1, keepdims=True)) * math.sqrt(seeds / (seeds - 1))).ravel()
        return found

    @property
    def spread(self) -> Floats:
        """(K,) standard errors of the mean errors, in logits: over patients, and over seeds pooled over sizes."""
        e = np.clip(self.mean, _EDGE, 1 - _EDGE)
        patients = (self.influences.mean(axis=1) ** 2).sum(axis=1) / (e * (1 - e)) ** 2
        seeds = float((self.residuals**2).mean()) / self.errors.shape[1]
        found: Floats = np.sqrt(np.maximum(patients + seeds, 1e-12))
        return found


@dataclass(frozen=True, slots=True)
class Law:
    """A fitted law, e = floor + factor x^-exponent.

    Attributes:
        floor, factor, exponent: the parameters.
        floor_interval, exponent_interval: 95 % intervals.
        doubling, doubling_interval: by how much the error falls when the largest size is doubled.
        at, low, high: sizes, and the 95 % band of the error there, between the smallest and largest size.
        slope: of the logarithm of 1 - error on the logarithm of size, least squares without weights, as published.
        floor_at_bound: share of draws whose floor lies at a bound, 0 or the smallest error, where its interval says
            nothing.
    """

    floor: float
    factor: float
    exponent: float
    floor_interval: tuple[float, float]
    exponent_interval: tuple[float, float]
    doubling: float
    doubling_interval: tuple[float, float]
    at: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    slope: float
    floor_at_bound: float = 0.0

    @property
    def floor_identified(self) -> bool:
        """Whether the data say what no size removes: most draws find it between its bounds."""
        return self.floor_at_bound <= 0.5

    @property
    def seen(self) -> str:
        """``falls``, ``rises`` or ``no scaling seen``: whether the exponent's interval holds 0."""
        low, high = self.exponent_interval
        return "falls" if low > 0 else "rises" if high < 0 else "no scaling seen"

    def error(self, size: float) -> float:
        """The error at a size."""
        return self.floor + self.factor * size**-self.exponent


def refusal(curve: Curve) -> str:
    """Why no law is fitted, to follow "no fit: "; empty if one can be."""
    sizes, errors = curve.sizes, curve.mean
    if len(sizes) < ENOUGH_SIZES:
        return f"{len(sizes)} sizes, and a law of three parameters needs {ENOUGH_SIZES}"
    if not sizes.min() > 0:
        return f"a size of {sizes.min():g} has no logarithm"
    if sizes.max() < ENOUGH_RANGE * sizes.min() * (1 - 1e-9):
        return f"sizes from {sizes.min():g} to {sizes.max():g} span less than a factor of {ENOUGH_RANGE:g}"
    patients = int((np.abs(curve.influences).max(axis=(0, 1)) > 0).sum())
    low = float(errors.min())
    if low <= 0 or low < 1 / max(1, patients):
        return f"an error of {low:.4f} on {patients} patients is at its floor: less than one of them is left to gain"
    if not errors.max() < 1:
        return "an error is 1: nothing was right there"
    return ""


def published_slope(sizes: Sequence[float] | Floats, scores: Sequence[float] | Floats) -> float:
    """Slope of the least-squares line of log score on log size: what BioVFM's notebook reports of AUC and parameters.

    Scores are bounded, so this is no law; it stands beside one to be compared with what others print.
    """
    return float(np.polyfit(np.log(np.asarray(sizes, float)), np.log(np.asarray(scores, float)), 1)[0])


def fit(curve: Curve, *, seed: int, draws: int = DRAWS) -> Law:
    """The law of a curve, with intervals by bootstrap.

    Every draw takes patients with replacement, the same ones at all sizes, and for each size seeds' residuals with
    replacement from those of all sizes; the law is fitted anew, with the weights of the data.

    Raises:
        ValueError: :func:`refusal` says why.
    """
    if why := refusal(curve):
        raise ValueError(f"no fit: {why}")
    centre = float(np.exp(np.log(curve.sizes).mean()))  # so that factor and exponent are not one ridge
    x = curve.sizes / centre
    point = _point(x, curve.mean, curve.spread)
    drawn = _drawn(curve, np.random.default_rng(seed), draws)
    found = _fitted(x, drawn, curve.spread, point)
    share = found[:, 0] / drawn.min(axis=1)
    at = np.geomspace(curve.sizes.min(), curve.sizes.max(), 25)
    band = _errors(found, at / centre)
    largest = float(curve.sizes.max())
    gains = _gain(found, largest / centre)
    return Law(
        floor=float(point[0]), factor=float(point[1] * centre ** point[2]), exponent=float(point[2]),
        floor_interval=_ends(found[:, 0]), exponent_interval=_ends(found[:, 2]),
        doubling=float(_gain(point[None], largest / centre)[0]), doubling_interval=_ends(gains),
        at=tuple(at.tolist()), low=tuple(np.quantile(band, 0.025, axis=0).tolist()),
        high=tuple(np.quantile(band, 0.975, axis=0).tolist()),
        slope=published_slope(curve.sizes, 1 - curve.mean),
        floor_at_bound=float(((share < _NEAR) | (share > 1 - _NEAR)).mean()),
    )  # fmt: skip


def _drawn(curve: Curve, rng: np.random.Generator, draws: int) -> Floats:
    """(draws, K) errors of other patients and seeds."""
    sizes, seeds = curve.errors.shape
    influence = curve.influences.mean(axis=1)  # the patients of all seeds are the same
    patients = influence.shape[1]
    counts = rng.multinomial(patients, np.full(patients, 1 / patients), size=draws) if patients else np.ones((draws, 0))
    e = np.clip(curve.mean + (counts - 1.0) @ influence.T, _EDGE, 1 - _EDGE)
    moved = rng.choice(curve.residuals, size=(draws, sizes, seeds)).mean(axis=2)
    found: Floats = 1 / (1 + np.exp(-(_logit(e) + moved)))
    return found


def _point(x: Floats, errors: Floats, spread: Floats) -> Floats:
    """(E, A, alpha) of the data, the best of several starts."""
    from scipy.optimize import least_squares

    top = float(errors.min()) * (1 - _EDGE)
    y = _logit(errors)

    def off(values: Floats) -> Floats:
        modelled = np.clip(values[0] + np.exp(values[1]) * x ** -values[2], _EDGE, 1 - _EDGE)
        return (y - _logit(modelled)) / spread

    best = None
    for alpha, share in _STARTS:
        floor = share * top
        start = [floor, math.log(max(float(np.median(errors)) - floor, 1e-4)), alpha]
        tried = least_squares(off, start, bounds=([0, -25, _SLOWEST], [top, 8, _STEEPEST]), x_scale=(0.1, 1, 0.5))
        if best is None or tried.cost < best.cost:
            best = tried
    assert best is not None
    return np.array([best.x[0], math.exp(best.x[1]), best.x[2]])


def _fitted(x: Floats, errors: Floats, spread: Floats, point: Floats) -> Floats:
    """(draws, 3) laws of (draws, K) errors: all at once by Levenberg and Marquardt, from the data's law and others.

    Bounds are kept by transformed parameters: sigmoids of the floor's share of the smallest error and of the exponent
    in its range, and the logarithm of the factor.
    """
    low = errors.min(axis=1, keepdims=True) * (1 - _EDGE)
    y = _logit(errors)
    starts = [(point[2], min(point[0] / float(low.mean()), 0.98), math.log(point[1]))]
    starts += [(alpha, share, math.log(max(float(np.median(errors)) * (1 - share), 1e-4))) for alpha, share in _STARTS]
    best, cost = np.zeros((len(errors), 3)), np.full(len(errors), np.inf)
    for slope, share, level in starts:
        begin = np.array([_logit(np.clip(share, 1e-4, 0.999)), level, _logit(_place(slope))])
        theta, left = _descend(np.tile(begin, (len(errors), 1)), x, y, low, spread)
        better = left < cost
        best[better], cost[better] = theta[better], left[better]
    return np.concatenate(_natural(best, low), axis=1)


def _descend(
    theta: Floats, x: Floats, y: Floats, low: Floats, spread: Floats, steps: int = 40
) -> tuple[Floats, Floats]:
    damping = np.full(len(theta), 1e-2)
    residual, jacobian = _linearised(theta, x, y, low, spread)
    cost = (residual**2).sum(axis=1)
    for _ in range(steps):
        normal = np.einsum("bki,bkj->bij", jacobian, jacobian)
        slope = np.einsum("bki,bk->bi", jacobian, residual)
        diagonal = np.einsum("bii->bi", normal)
        ridge = normal + np.einsum("b,bi,ij->bij", damping, diagonal + 1e-9, np.eye(3))
        step = np.linalg.solve(ridge, slope[..., None])[..., 0]
        tried = np.clip(theta + step, [-_LARGE, -25.0, -_LARGE], [_LARGE, 8.0, _LARGE])
        new_residual, new_jacobian = _linearised(tried, x, y, low, spread)
        new_cost = (new_residual**2).sum(axis=1)
        better = new_cost < cost
        theta = np.where(better[:, None], tried, theta)
        residual = np.where(better[:, None], new_residual, residual)
        jacobian = np.where(better[:, None, None], new_jacobian, jacobian)
        cost = np.where(better, new_cost, cost)
        damping = np.clip(np.where(better, damping / 4, damping * 6), 1e-10, 1e10)
    return theta, cost


def _linearised(theta: Floats, x: Floats, y: Floats, low: Floats, spread: Floats) -> tuple[Floats, Floats]:
    """(draws, K) weighted residuals, and (draws, K, 3) how modelled logits move with the transformed parameters."""
    floor, factor, alpha = _natural(theta, low)
    power = factor * x**-alpha
    modelled = np.clip(floor + power, _EDGE, 1 - _EDGE)
    inside = 1 / (modelled * (1 - modelled))
    share, place = floor / low, _place(alpha)
    by_floor = floor * (1 - share) * np.ones_like(x)
    by_alpha = -power * np.log(x) * (_STEEPEST - _SLOWEST) * place * (1 - place)
    jacobian = np.stack([by_floor, power, by_alpha], axis=2) * inside[..., None]
    return (y - _logit(modelled)) / spread, jacobian / spread[None, :, None]


def _natural(theta: Floats, low: Floats) -> tuple[Floats, Floats, Floats]:
    """Floor, factor and exponent, (draws, 1) each, of transformed parameters."""
    floor = low / (1 + np.exp(-theta[:, :1]))
    alpha = _SLOWEST + (_STEEPEST - _SLOWEST) / (1 + np.exp(-theta[:, 2:]))
    return floor, np.exp(theta[:, 1:2]), alpha


def _place(alpha: Any) -> Any:
    return (alpha - _SLOWEST) / (_STEEPEST - _SLOWEST)


def _errors(laws: Floats, x: Floats) -> Floats:
    found: Floats = laws[:, :1] + laws[:, 1:2] * x ** -laws[:, 2:]
    return found


def _gain(laws: Floats, x: float) -> Floats:
    found: Floats = (_errors(laws, np.array([x])) - _errors(laws, np.array([2 * x])))[:, 0]
    return found


def _ends(values: Floats) -> tuple[float, float]:
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def _logit(p: Any) -> Any:
    p = np.clip(p, _EDGE, 1 - _EDGE)
    return np.log(p / (1 - p))
