"""Who is served worse: the main metric per site, sex and age band, and per client where each has its own model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from fedmeki_bench.evaluation.intervals import estimate
from fedmeki_bench.evaluation.metrics import MetricSpec
from fedmeki_bench.results.record import Subgroup
from fedmeki_bench.statistics import age_band_names, age_bands, by_group

if TYPE_CHECKING:
    from fedmeki_bench.cohort.format import CohortPart


def subgroups(
    part: CohortPart,
    labels: np.ndarray,
    scores: np.ndarray,
    metric: MetricSpec,
    *,
    seed: int,
    clients: Sequence[int] = (),
) -> dict[str, list[Subgroup]]:
    """Attribute -> the metric on each of its groups, sorted by name; attributes with a single value are left out.

    Args:
        part: the test samples; sex and age are read where the cohort has them.
        labels: (n,) of 0 and 1; ignored by metrics of text.
        scores: (n,) probabilities or values per sample, or (clients, n) where every client has its own model.
        seed: as for :func:`~fedmeki_bench.evaluation.intervals.estimate`.
        clients: whose model each row of scores is; clients without the task have none.
    """
    memberships: dict[str, list[str]] = {"site": [str(s) for s in part.sites]}
    sexes, ages = part.attribute("sex"), part.attribute("age")
    if sexes is not None:
        memberships["sex"] = [str(s) if s else "unknown" for s in sexes]
    if ages is not None:
        memberships["age"] = age_bands(ages)
    found = {}
    for attribute, membership in memberships.items():
        named = [m or "unknown" for m in membership]
        if len(set(named)) > 1:
            order = age_band_names() if attribute == "age" else None
            values = by_group(metric.function, labels, scores, named, part.group_ids, seed=seed, order=order)
            found[attribute] = [
                Subgroup(name=v.name, n=v.n, groups=v.groups, value=v.value, low=v.low, high=v.high, note=v.note)
                for v in values
            ]
    if scores.ndim == 2:
        found["client"] = [_client(c, row, labels, part, metric, seed) for c, row in zip(clients, scores, strict=True)]
    return found


def _client(
    number: int, scores: np.ndarray, labels: np.ndarray, part: CohortPart, metric: MetricSpec, seed: int
) -> Subgroup:
    """A client's own model on the whole test split."""
    value = estimate(labels, scores, part.group_ids, [metric], seed=seed)[metric.name]
    groups = len(np.unique(part.group_ids))
    return Subgroup(
        name=str(number), n=len(part), groups=groups, value=value.value, low=value.low, high=value.high,
        note=value.note,
    )  # fmt: skip
