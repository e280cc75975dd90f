"""Which interval over patients belongs to which metric: the methods a :class:`MetricSpec` may name as its ``interval``.

Each turns labels and scores into influences of patients and hands them to :mod:`fedmeki_bench.statistics.intervals`.
Nothing is drawn, so nothing depends on a seed. How often each holds the truth is in docs/statistics.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from fedmeki_bench.errors import InputError
from fedmeki_bench.evaluation.class_metrics import chosen, one_against_rest
from fedmeki_bench.evaluation.metric_spec import THRESHOLD, MetricSpec
from fedmeki_bench.statistics import influence
from fedmeki_bench.statistics import intervals as of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fedmeki_bench.statistics.groups import IntervalOf

    Floats = NDArray[np.floating[Any]]

RESAMPLED = "resampled"
"""The one method that is none of :data:`METHODS`: the percentile bootstrap, for any function of weighted samples."""

_ROUNDING = 1e-9

SMALLEST_CLASS = 20
"""Patients that each class needs for an interval of AUPRC, F1, MCC or Brier skill, and a number's metrics in all."""

TOO_FEW = f"no interval: fewer than {SMALLEST_CLASS} patients in a class; no method tried holds there"
TOO_FEW_PATIENTS = f"no interval: fewer than {SMALLEST_CLASS} patients; no method tried holds there"
BIASED = "no interval: a calibration error on resampled patients is larger than on the patients themselves"


@dataclass(frozen=True, slots=True)
class Sample:
    """What an interval is computed from.

    Attributes:
        labels: (n,) of 0 and 1; of other kinds of task as the kind has them.
        scores: (clients, n), a single row where there is one model; (clients, n, K) with several classes or findings.
        patient: (n,) index of each sample's patient, every index from 0 on in use.
        patients: number of patients.
    """

    labels: NDArray[Any]
    scores: Floats
    patient: NDArray[Any]
    patients: int

    def influence(self, of_one: Callable[[NDArray[Any], Floats, NDArray[Any], int], Floats]) -> Floats:
        """(patients,) influences of the mean over clients: the mean of theirs."""
        import numpy as np

        rows = [of_one(self.labels, row, self.patient, self.patients) for row in self.scores]
        return np.asarray(np.mean(rows, axis=0))

    def having(self, counted: NDArray[Any]) -> int:
        """Number of patients with a sample that counts."""
        import numpy as np

        return len(np.unique(self.patient[counted]))


Method = Callable[[MetricSpec, Sample, float, float], of.Interval]
"""``(metric, sample, value, level) -> interval``; ``value`` is the metric on the sample, mean over clients."""

Counted = Callable[["NDArray[Any]", "Floats"], "Floats"]
"""``(labels, scores) -> values``, all (n,): what is averaged, NaN where a sample does not count."""


def _given(labels: NDArray[Any], scores: Floats) -> Floats:
    return scores


def _right(labels: NDArray[Any], scores: Floats) -> Floats:
    return ((scores >= THRESHOLD) == (labels == 1)).astype(float)


def _right_of_positive(labels: NDArray[Any], scores: Floats) -> Floats:
    import numpy as np

    return np.where(labels == 1, _right(labels, scores), np.nan)


def _right_of_negative(labels: NDArray[Any], scores: Floats) -> Floats:
    import numpy as np

    return np.where(labels == 1, np.nan, _right(labels, scores))


def _right_of_predicted(labels: NDArray[Any], scores: Floats) -> Floats:
    import numpy as np

    return np.where(scores >= THRESHOLD, _right(labels, scores), np.nan)


def _squared_error(labels: NDArray[Any], scores: Floats) -> Floats:
    return (scores - labels) ** 2


@dataclass(frozen=True, slots=True)
class _Averaged:
    """A mean over samples: value, (patients,) influences, and how many patients and samples count.

    Where clients differ in what counts, the fewest are taken.
    """

    value: float
    influences: Floats
    patients: int
    samples: int


def _averaged(counted: Counted, sample: Sample) -> _Averaged:
    import numpy as np

    def of_one(labels: NDArray[Any], scores: Floats, patient: NDArray[Any], patients: int) -> Floats:
        return influence.mean_influence(labels, counted(labels, scores), patient, patients)

    rows = [counted(sample.labels, row) for row in sample.scores]
    there = [np.isfinite(row) for row in rows]
    value = float(np.mean([row[t].mean() if t.any() else np.nan for row, t in zip(rows, there, strict=True)]))
    patients, samples = min(sample.having(t) for t in there), min(int(t.sum()) for t in there)
    return _Averaged(value, sample.influence(of_one), patients, samples)


def _of_metric(counted: Counted, metric: MetricSpec, sample: Sample, value: float) -> _Averaged:
    """As :func:`_averaged`, once it is clear that the metric is that mean.

    Raises:
        InputError: it is another function, such as one put in place of a built-in metric's.
    """
    found = _averaged(counted, sample)
    if abs(found.value - value) > _ROUNDING:  # never of NaN: nothing counts, and the metric says what that is worth
        raise InputError(
            f"metric {metric.name!r} is {value:.6g} and its interval {metric.interval!r} is for {found.value:.6g}; "
            f"give a metric with a function of its own the interval {RESAMPLED!r}"
        )
    return found


def _share(counted: Counted, metric: MetricSpec, sample: Sample, value: float, level: float) -> of.Interval:
    found = _of_metric(counted, metric, sample, value)
    return of.share_interval(value, found.influences, found.patients, level=level)


def _mean(counted: Counted, metric: MetricSpec, sample: Sample, value: float, level: float) -> of.Interval:
    found = _of_metric(counted, metric, sample, value)
    return of.mean_interval(value, found.influences, found.patients, found.samples, level=level)


def _auroc(metric: MetricSpec, sample: Sample, value: float, level: float) -> of.Interval:
    import numpy as np

    influences = sample.influence(influence.auroc_influence)
    constant = False
    if not np.any(np.abs(influences) > _ROUNDING):  # rare: do single samples have no influence either?
        alone = Sample(sample.labels, sample.scores, np.arange(len(sample.labels)), len(sample.labels))
        constant = not np.any(np.abs(alone.influence(influence.auroc_influence)) > _ROUNDING)
    positive = sample.labels == 1
    return of.auroc_interval(
        value, influences, sample.having(positive), sample.having(~positive), constant=constant, level=level
    )


def _balanced_accuracy(metric: MetricSpec, sample: Sample, value: float, level: float) -> of.Interval:
    """From the intervals of recall and specificity, which share patients only where a patient has both labels."""
    if all((row >= THRESHOLD).all() or (row < THRESHOLD).all() for row in sample.scores):
        return of.Interval(value, value)  # a constant prediction scores 0.5 on any patients
    one, other = (_averaged(counted, sample) for counted in (_right_of_positive, _right_of_negative))
    first, second = (of.share_interval(s.value, s.influences, s.patients, level=level) for s in (one, other))
    size = math.sqrt((one.influences @ one.influences) * (other.influences @ other.influences))
    correlation = float(one.influences @ other.influences) / size if size > 0 else 0.0
    return of.mean_of_two((one.value, other.value), (first, second), correlation)


def _scaled(
    scale: of.Scale,
    influence_of: Callable[[MetricSpec], Callable[[NDArray[Any], Floats, NDArray[Any], int], Floats]],
    metric: MetricSpec,
    sample: Sample,
    value: float,
    level: float,
) -> of.Interval:
    positive = sample.labels == 1
    if min(sample.having(positive), sample.having(~positive)) < SMALLEST_CLASS:
        return of.no_interval(TOO_FEW)
    return of.scaled_interval(value, sample.influence(influence_of(metric)), scale, level=level)


def _auroc_macro(metric: MetricSpec, sample: Sample, value: float, level: float) -> of.Interval:
    """As for one AUROC, from the mean of the classes' influences; the smallest class decides the form."""
    import numpy as np

    def of_one(labels: NDArray[Any], scores: Floats, patient: NDArray[Any], patients: int) -> Floats:
        classes = list(one_against_rest(labels, scores))
        each = [influence.auroc_influence(own, column, patient[told], patients) for _, told, own, column in classes]
        return np.asarray(np.mean(each, axis=0))

    influences = sample.influence(of_one)
    sides = [
        (len(np.unique(sample.patient[told][own == 1])), len(np.unique(sample.patient[told][own == 0])))
        for _, told, own, _ in one_against_rest(sample.labels, sample.scores[0])
    ]
    positive, negative = min(sides, key=min)
    flat = not np.any(np.abs(influences) > _ROUNDING)
    constant = flat and bool((np.ptp(sample.scores, axis=1) <= _ROUNDING).all())
    return of.auroc_interval(value, influences, positive, negative, constant=constant, classes=len(sides), level=level)


def _top1(labels: NDArray[Any], scores: Floats) -> Floats:
    return (chosen(scores) == labels).astype(float)


def _smallest_class(sample: Sample) -> int:
    """Patients of the smaller side of the smallest class that is in part there."""
    import numpy as np

    return min(
        (
            min(len(np.unique(sample.patient[told][own == side])) for side in (0, 1))
            for _, told, own, _ in one_against_rest(sample.labels, sample.scores[0])
        ),
        default=0,
    )


def _jackknifed(
    scale: of.Scale, enough: Callable[[Sample], bool], few: str, metric: MetricSpec, sample: Sample, value: float,
    level: float,
) -> of.Interval:  # fmt: skip
    if not enough(sample):
        return of.no_interval(few)
    return of.scaled_interval(value, sample.influence(_jackknife(metric)), scale, level=level)


def _patients_enough(sample: Sample) -> bool:
    return sample.patients >= SMALLEST_CLASS


def _classes_enough(sample: Sample) -> bool:
    return _smallest_class(sample) >= SMALLEST_CLASS


def _jackknife(metric: MetricSpec) -> Callable[[NDArray[Any], Floats, NDArray[Any], int], Floats]:
    """By leaving out patients; samples that differ in nothing the metric looks at are weighed together."""

    def of_one(labels: NDArray[Any], scores: Floats, patient: NDArray[Any], patients: int) -> Floats:
        told = (scores >= THRESHOLD).astype(float) if metric.needs == "label" else scores
        return influence.jackknife(metric.function, labels, told, patient, patients)

    return of_one


def _none(metric: MetricSpec, sample: Sample, value: float, level: float) -> of.Interval:
    return of.no_interval(BIASED)


def method_of(metric: MetricSpec, *, level: float = 0.95) -> IntervalOf | None:
    """The metric's method as :func:`~fedmeki_bench.statistics.by_group` takes it; None where it is resampled."""
    if metric.interval == RESAMPLED:
        return None
    method = METHODS[metric.interval]

    def interval_of(labels: NDArray[Any], scores: Floats, patient: NDArray[Any], value: float) -> of.Interval:
        return method(metric, Sample(labels, scores, patient, int(patient.max()) + 1), value, level)

    return interval_of


METHODS: Mapping[str, Method] = {
    "auroc": _auroc,
    "share": partial(_share, _given),
    "accuracy": partial(_share, _right),
    "recall": partial(_share, _right_of_positive),
    "specificity": partial(_share, _right_of_negative),
    "precision": partial(_share, _right_of_predicted),
    "mean": partial(_mean, _given),
    "squared_error": partial(_mean, _squared_error),
    "balanced_accuracy": _balanced_accuracy,
    "jackknife_logit": partial(_scaled, of.LOGIT, _jackknife),
    "jackknife_fisher": partial(_scaled, of.FISHER, _jackknife),
    "auprc": partial(_scaled, of.LOGIT, lambda _: influence.auprc_influence),
    "brier_skill": partial(_scaled, of.SHORTFALL, lambda _: influence.brier_skill_influence),
    "auroc_macro": _auroc_macro,
    "top1": partial(_share, _top1),
    "jackknife_classes": partial(_jackknifed, of.LOGIT, _classes_enough, TOO_FEW),
    "jackknife_correlation": partial(_jackknifed, of.FISHER, _patients_enough, TOO_FEW_PATIENTS),
    "jackknife_error": partial(_jackknifed, of.LOG, _patients_enough, TOO_FEW_PATIENTS),
    "jackknife_skill": partial(_jackknifed, of.SHORTFALL, _patients_enough, TOO_FEW_PATIENTS),
    "none": _none,
}
"""By the name that :attr:`MetricSpec.interval` holds. ``share`` and ``mean`` average the scores as given, NaN left out:
0 and 1 the former, values in [0, 1] the latter."""
