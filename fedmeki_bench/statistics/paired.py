"""The difference of one metric between two algorithms: same task, same seeds, same patients."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fedmeki_bench.seeds import generator
from fedmeki_bench.statistics.resampling import drawn_groups, left_out_note, metric_of, sorted_models

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fedmeki_bench.statistics.resampling import Metric

    Floats = NDArray[np.floating[Any]]

FEW_SEEDS = 3
"""Below this many seeds a difference says in its note that its interval rests on a guess at their spread."""


@dataclass(frozen=True, slots=True, eq=False)
class Paired:
    """What two algorithms said about the same test samples under one seed.

    Attributes:
        labels: (n,) gold labels; of a text metric, anything of that length.
        groups: (n,) patient of each sample.
        a: scores of the first algorithm, (n,), or (clients, n) where every client has its own model: the metric is
            then the mean over clients. Of a text metric, its values per sample.
        b: scores of the second one; may have clients where ``a`` has one model, and the reverse.
    """

    labels: NDArray[Any]
    groups: NDArray[Any]
    a: Floats
    b: Floats


@dataclass(frozen=True, slots=True)
class Difference:
    """A metric of two algorithms and their difference with its interval.

    Attributes:
        a: mean over seeds of the metric of the first algorithm.
        b: the same of the second.
        difference: ``a - b``; NaN where the metric is undefined on the whole of a seed.
        low: lower end of the interval.
        high: its upper end.
        seeds: number of training seeds.
        samples: test samples of the seed that has most.
        groups: distinct patients over all seeds.
        note: what the interval leaves out; empty if nothing.
    """

    a: float
    b: float
    difference: float
    low: float
    high: float
    seeds: int
    samples: int
    groups: int
    note: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Seed:
    """One seed, checked: (n,) labels, (n,) indices of patients over all seeds, and two (clients, n) scores."""

    labels: NDArray[Any]
    group: NDArray[Any]
    a: Floats
    b: Floats


def paired_difference(
    metric: Metric, data: Sequence[Paired], *, seed: int, resamples: int = 2000, level: float = 0.95
) -> Difference:
    """Mean over seeds of metric(a) - metric(b), with an interval over patients and seeds together.

    Patients and seeds are crossed: all seeds are tested on the same patients, as all readers of a reader study read
    the same cases. The variance is that of Obuchowski and Rockette (1995) in the form of Hillis (2007), s²/S + max(c,
    0): s² is the variance of the differences between the S seeds, c the covariance of two seeds' differences that
    comes from their common patients. c and the shape of the patients' part come from a bootstrap in which one draw of
    patients serves all seeds (independent draws would understate their share). The seeds' part is added as a Student
    t with S - 1 degrees of freedom, because its variance is estimated from S values. Where seeds hold different
    patients, names are drawn over the union.

    Drawing the seeds with replacement too (a nested bootstrap, of S seeds or of S - 1 as Rao and Wu 1988 advise) was
    measured and is not used: with two to five seeds that differ much it covers far too rarely, because it cannot see
    beyond the seeds it has, and where seeds differ by noise on single patients it covers too often; the figures are in
    ``docs/statistics.md``.

    Fewer than three seeds are too few: with one the interval holds patients only, with two it covers, but can be many
    times wider than one of five seeds. Both are told in ``note``. The t supposes that seeds scatter about normally.

    Args:
        metric: ``(labels, scores, weights) -> values`` with shapes (n,), (n,), (B, n), (B,): the ``function`` of a
            :class:`~fedmeki_bench.evaluation.metrics.MetricSpec`.
        data: one per training seed. Scores are not checked; NaN means what the metric takes it for.
        seed: of the bootstrap; the same seed and patients draw the same resamples whatever the algorithms.
        resamples: number of bootstrap resamples.
        level: mass of the interval.

    Returns:
        The difference. Resamples on which the metric is undefined are left out, and counted in ``note`` above 1 %.

    Raises:
        ValueError: no seeds, no samples, shapes that do not fit.
    """
    import numpy as np

    seeds, n_groups = checked(data)
    sides = [(sorted_models(s.labels, s.a, s.group), sorted_models(s.labels, s.b, s.group)) for s in seeds]
    ones = np.ones((1, n_groups))
    whole = np.array([[metric_of(metric, models, ones)[0] for models in pair] for pair in sides])  # (S, 2)
    a, b = (float(v) for v in whole.mean(axis=0))
    sizes = (len(seeds), max(len(s.labels) for s in seeds), n_groups)
    nan = math.nan
    if not np.isfinite(whole).all():
        undefined = int((~np.isfinite(whole)).any(axis=1).sum())
        return Difference(a, b, nan, nan, nan, *sizes, f"undefined on {undefined} of {_seeds(len(seeds))}")
    per_seed = whole[:, 0] - whole[:, 1]
    difference = float(per_seed.mean())
    chunks = [
        np.stack([metric_of(metric, x, counts) - metric_of(metric, y, counts) for x, y in sides])
        for counts in drawn_groups(n_groups, sizes[1], resamples, generator(seed, "paired", "patients"))
    ]
    drawn = np.concatenate(chunks, axis=1) if chunks else np.empty((len(seeds), 0))  # (S, resamples)
    defined = drawn[:, np.isfinite(drawn).all(axis=0)]
    notes = _notes(len(seeds), n_groups, drawn.shape[1], defined.shape[1])
    if not defined.shape[1]:
        return Difference(a, b, difference, nan, nan, *sizes, notes)
    tail = (1 - level) / 2
    low, high = np.quantile(_with_seeds(defined, per_seed, seed), [tail, 1 - tail])
    return Difference(a, b, difference, float(low), float(high), *sizes, notes)


def _with_seeds(drawn: Floats, per_seed: Floats, seed: int) -> Floats:
    """(resamples,) differences that vary with patients and seeds, of (S, resamples) that vary with patients alone."""
    import numpy as np
    from scipy.stats import t

    n_seeds, resamples = drawn.shape
    means = drawn.mean(axis=0)
    if n_seeds == 1 or resamples < 2:
        return means
    covariance = np.cov(drawn)
    common = (covariance.sum() - np.trace(covariance)) / (n_seeds * (n_seeds - 1))
    total = covariance.mean()  # the variance of ``means``: c and a share of what is not common to the seeds
    share = math.sqrt(min(1.0, max(0.0, common / total))) if total > 0 else 0.0
    # Quantiles in random order, not random draws: the tails of a t with few degrees of freedom would be noisy.
    order = generator(seed, "paired", "seeds").permutation(resamples)
    scatter = t.ppf((order + 0.5) / resamples, n_seeds - 1) * per_seed.std(ddof=1) / math.sqrt(n_seeds)
    centre = per_seed.mean()
    return centre + share * (means - centre) + scatter


def checked(data: Sequence[Paired]) -> tuple[list[Seed], int]:
    """The seeds with patients numbered over their union, and the number of patients.

    Raises:
        ValueError: no seeds, no samples, shapes that do not fit.
    """
    import numpy as np

    if not data:
        raise ValueError("a paired difference needs at least one seed")
    groups = [np.asarray(item.groups) for item in data]
    names, index = np.unique(np.concatenate(groups), return_inverse=True)
    parts = np.split(index.reshape(-1), np.cumsum([len(g) for g in groups])[:-1])
    seeds = []
    for item, group in zip(data, parts, strict=True):
        labels = np.asarray(item.labels)
        a, b = (np.atleast_2d(np.asarray(s, dtype=np.float64)) for s in (item.a, item.b))
        n = len(labels)
        fits = labels.shape == group.shape == (n,) and a.ndim == b.ndim == 2 and a.shape[1] == b.shape[1] == n
        if not fits or n == 0 or 0 in (len(a), len(b)):
            raise ValueError(
                "labels (n,), groups (n,) and two scores (n,) or (clients, n) do not fit together: got "
                f"{labels.shape}, {group.shape}, {a.shape} and {b.shape}"
            )
        seeds.append(Seed(labels, group, a, b))
    return seeds, len(names)


def _notes(n_seeds: int, n_groups: int, resamples: int, defined: int) -> str:
    notes = []
    if n_seeds == 1:
        notes.append("one seed: the interval holds the spread over patients, not over seeds")
    elif n_seeds < FEW_SEEDS:
        notes.append(f"{n_seeds} seeds: their spread is hardly known, and the interval can be far too wide")
    if n_groups == 1:
        notes.append("one patient: the interval holds no spread over patients")
    notes.append(left_out_note(resamples, defined))
    return "; ".join(note for note in notes if note)


def _seeds(n: int) -> str:
    return f"{n} seed{'s' * (n != 1)}"
