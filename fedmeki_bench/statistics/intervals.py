"""The interval of one value over patients, by methods that hold on few patients and at the ends of the scale.

A percentile bootstrap of 40 to 100 patients covers too rarely, and always flatters: patients who happen to be easy show
too little spread as well as too good a value. Three remedies, chosen by simulation (docs/statistics.md):

- The variance is the measured one of the patients' influences, but where that falls below what as many independent
  patients would show by a textbook form, it is the mean of the two. At an end of the scale nothing is measured, and
  the form stands alone. The form is evaluated at the bound, not at the value, as in Wilson's interval: a worse truth
  scatters more.
- Quantiles are Student's.
- Where no form exists, the metric is taken to a scale without ends, and the degrees of freedom come from the
  influences: a variance that depends on a few patients has few.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]

_ZERO = 1e-20
"""A variance below this is rounding."""

_ROUNDING = 1e-12

_FEW = 20
"""Below as many patients no mean counts as more than its samples."""

_END = 1e-12
"""A value closer to 0 or 1 than this is there."""

TOO_FEW = "no interval: fewer than two patients count"
ONE_IN_CLASS = "no interval: fewer than two patients in a class"
NO_SPREAD = "no interval: the patients show no spread, and no method tried holds there"
AT_THE_END = "no interval: the value is at the end of its range, and no method tried holds there"


@dataclass(frozen=True, slots=True)
class Interval:
    """Two bounds; NaN where there is no interval, and then ``note`` says why.

    A value at the end of its scale has that end as one bound: the interval is one-sided.
    """

    low: float
    high: float
    note: str = ""


def no_interval(note: str) -> Interval:
    """What stands where no interval can be given."""
    return Interval(math.nan, math.nan, note)


def auroc_interval(
    value: float,
    influence: Floats,
    positives: int,
    negatives: int,
    *,
    constant: bool = False,
    classes: int = 1,
    level: float = 0.95,
) -> Interval:
    """Interval of an AUROC: Newcombe's (2006, method 5), with the patients' variance and Student's t in it.

    Newcombe's bounds are those b with ``|value - b| = z sqrt(V(b))``, V being Hanley and McNeil's variance for that
    many positives and negatives. Here V is multiplied by the measured variance over V(value), see the module.

    Args:
        value: the AUROC, or the mean of several models'.
        influence: (patients,) as :func:`~fedmeki_bench.statistics.influence.auroc_influence` gives it.
        positives: number of patients with a positive sample.
        negatives: number of patients with a negative sample.
        constant: whether the scores decide the value, whoever the patients are. One score for all samples is 0.5 on
            any patients, and [0.5, 0.5] is then right.
        classes: of how many classes' AUROCs the value is the mean. Its variance is then down to that part of one
            class's, and so much lower is the bound below which the measured variance is not believed.
        level: mass of the interval.
    """
    from scipy.optimize import brentq
    from scipy.stats import t as student

    if min(positives, negatives) < 2:
        return no_interval(ONE_IN_CLASS)
    if constant and _END < value < 1 - _END:
        return Interval(value, value)
    patients = min(len(influence), positives + negatives)  # fewer than the sum where patients have both
    quantile = float(student.ppf((1 + level) / 2, max(1, patients - 2)))
    ratio = 1.0
    if _END < value < 1 - _END:
        measured = float(influence @ influence)
        ratio = _not_below_half(classes * measured / _independent_auroc(value, positives, negatives)) / classes

    def excess(bound: float) -> float:
        return (value - bound) ** 2 - quantile**2 * ratio * _independent_auroc(bound, positives, negatives)

    low = 0.0 if value <= _END else float(brentq(excess, 0.0, min(value, 1 - _END)))
    high = 1.0 if value >= 1 - _END else float(brentq(excess, max(value, _END), 1.0))
    return Interval(low, high)


def _independent_auroc(value: float, positives: int, negatives: int) -> float:
    """Variance of an AUROC on independent samples (Hanley and McNeil 1982, made symmetric by Newcombe 2006)."""
    mean = (positives + negatives) / 2 - 1
    shape = 1 + mean * (1 - value) / (2 - value) + mean * value / (1 + value)
    return value * (1 - value) * shape / (positives * negatives)


def _not_below_half(ratio: float) -> float:
    """The measured variance over that of independent patients; where smaller, half the way towards it."""
    return max(ratio, (1 + ratio) / 2)


def share_interval(value: float, influence: Floats, patients: int, *, level: float = 0.95) -> Interval:
    """Interval of a proportion: Wilson's (1927) on the effective number of patients, with Student's t.

    The effective number is ``value (1 - value) / variance`` (Korn and Graubard 1998), the variance as the module says.

    Args:
        value: the proportion.
        influence: (patients,) as :func:`~fedmeki_bench.statistics.influence.mean_influence` gives it.
        patients: number of patients with a sample that counts.
        level: mass of the interval.
    """
    from scipy.stats import t as student

    if patients < 2:
        return no_interval(TOO_FEW)
    q2 = float(student.ppf((1 + level) / 2, patients - 1)) ** 2
    n = float(patients)
    if _END < value < 1 - _END:
        n /= _not_below_half(float(influence @ influence) * patients / (value * (1 - value)))
    middle = (value + q2 / (2 * n)) / (1 + q2 / n)
    half = math.sqrt(q2) / (1 + q2 / n) * math.sqrt(value * (1 - value) / n + q2 / (4 * n * n))
    return Interval(0.0 if value <= _END else middle - half, 1.0 if value >= 1 - _END else middle + half)


def mean_interval(value: float, influence: Floats, patients: int, samples: int, *, level: float = 0.95) -> Interval:
    """Interval of a mean of values in [0, 1]: Clopper and Pearson's on an effective number (Korn and Graubard 1998).

    Values between 0 and 1 scatter less than 0 and 1 do, so the effective number may exceed the number of samples; below
    20 patients that is not believed. Korn and Graubard's correction for the degrees of freedom takes them from
    :func:`freedom`, at most one less than patients.

    Args:
        value: the mean.
        influence: (patients,) as :func:`~fedmeki_bench.statistics.influence.mean_influence` gives it.
        patients: number of patients with a sample that counts.
        samples: number of samples that count.
        level: mass of the interval.
    """
    from scipy.stats import norm
    from scipy.stats import t as student
    from statsmodels.stats.proportion import proportion_confint

    if patients < 2:
        return no_interval(TOO_FEW)
    upper, variance, n = (1 + level) / 2, float(influence @ influence), float(patients)
    if _END < value < 1 - _END and variance > _ZERO:
        quantile = float(student.ppf(upper, min(patients - 1, freedom(influence, patients))))
        n = value * (1 - value) / variance * (float(norm.ppf(upper)) / quantile) ** 2
        if patients < _FEW:
            n = min(n, float(samples))
    low, high = proportion_confint(value * n, n, alpha=1 - level, method="beta")
    return Interval(0.0 if value <= _END else float(low), 1.0 if value >= 1 - _END else float(high))


def mean_of_two(
    values: tuple[float, float], intervals: tuple[Interval, Interval], correlation: float = 0.0
) -> Interval:
    """Interval of the mean of two values from their own (variance estimates recovered, Zou and Donner 2008).

    Args:
        values: the two values.
        intervals: their intervals; without one of them there is none.
        correlation: of the two values over patients, 0 where they depend on different patients.
    """
    for one in intervals:
        if one.note:
            return one
    below = [value - one.low for value, one in zip(values, intervals, strict=True)]
    above = [one.high - value for value, one in zip(values, intervals, strict=True)]
    half = [math.sqrt(max(0.0, a * a + b * b + 2 * correlation * a * b)) / 2 for a, b in (below, above)]
    mean = sum(values) / 2
    return Interval(max(0.0, mean - half[0]), min(1.0, mean + half[1]))


@dataclass(frozen=True, slots=True)
class Scale:
    """A scale without ends on which a metric is more nearly normal: there, back, and the slope of the way there."""

    forward: Callable[[float], float]
    back: Callable[[float], float]
    slope: Callable[[float], float]


LOGIT = Scale(lambda p: math.log(p / (1 - p)), lambda x: (1 + math.tanh(x / 2)) / 2, lambda p: 1 / (p * (1 - p)))
"""For values from 0 to 1."""

FISHER = Scale(math.atanh, math.tanh, lambda r: 1 / (1 - r * r))
"""For correlations, -1 to 1."""

SHORTFALL = Scale(lambda s: -math.log(1 - s), lambda x: 1 - math.exp(min(-x, 700.0)), lambda s: 1 / (1 - s))
"""For skills, which end at 1 and have no lower end: the logarithm of what is lacking."""


LOG = Scale(math.log, math.exp, lambda e: 1 / e)
"""For errors, which end at 0 and have no upper end."""


def freedom(influence: Floats, patients: int) -> float:
    """Degrees of freedom of a variance from the influences it is the sum of squares of, at least 1.

    2 (sum u²)² / (sum u⁴ - (sum u²)² / patients): twice the squared variance over the variance of its estimate
    (Satterthwaite 1946), so few where a few patients make up the variance.
    """
    import numpy as np

    squared = influence**2
    variance = float(squared.sum())
    scatter = float(np.sum(squared**2)) - variance**2 / patients
    return max(1.0, 2 * variance**2 / max(scatter, variance**2 * _ROUNDING))


def scaled_interval(value: float, influence: Floats, scale: Scale, *, level: float = 0.95) -> Interval:
    """Student's t interval on a scale without ends, with :func:`freedom` from the influences.

    Args:
        value: the metric.
        influence: (patients,) such as :func:`~fedmeki_bench.statistics.influence.jackknife` gives them.
        scale: where the interval is symmetric.
        level: mass of the interval.
    """
    from scipy.stats import t as student

    variance = float(influence @ influence)
    if not variance > _ZERO:  # NaN too
        return no_interval(NO_SPREAD)
    try:
        middle, slope = scale.forward(value), scale.slope(value)
    except (ValueError, ZeroDivisionError):
        return no_interval(AT_THE_END)
    quantile = float(student.ppf((1 + level) / 2, freedom(influence, len(influence))))
    half = quantile * math.sqrt(variance) * slope
    return Interval(scale.back(middle - half), scale.back(middle + half))
