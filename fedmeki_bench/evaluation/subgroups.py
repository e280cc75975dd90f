"""Who is served worse: the main metric per site, sex and age band, and per client where each has its own model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fedmeki_bench.evaluation.estimates import columns
from fedmeki_bench.evaluation.interval_methods import method_of
from fedmeki_bench.evaluation.intervals import estimate
from fedmeki_bench.evaluation.metrics import MetricSpec
from fedmeki_bench.evaluation.predictions import Predictions, TextPredictions
from fedmeki_bench.records.record import Subgroup
from fedmeki_bench.statistics import age_band_names, age_bands, by_group

if TYPE_CHECKING:
    from fedmeki_bench.data.cohort import CohortPart


def memberships(part: CohortPart) -> dict[str, list[str]]:
    """Attribute -> which group each sample belongs to; sex and age are read where the cohort has them."""
    found: dict[str, list[str]] = {"site": [str(s) for s in part.sites]}
    sexes, ages = part.attribute("sex"), part.attribute("age")
    if sexes is not None:
        found["sex"] = [str(s) if s else "unknown" for s in sexes]
    if ages is not None:
        found["age"] = age_bands(ages)
    return found


def memberships_of(predictions: Predictions | TextPredictions) -> dict[str, list[str]]:
    """As :func:`memberships`, from what is stored beside the predictions."""
    found = {"site": [str(s) for s in predictions.site]}
    return found | {name: [str(v) for v in values] for name, values in predictions.attributes.items()}


def subgroups(
    predictions: Predictions | TextPredictions,
    metric: MetricSpec,
    membership: Mapping[str, Sequence[str]],
    *,
    seed: int,
    clients: Sequence[int] = (),
) -> dict[str, list[Subgroup]]:
    """Attribute -> the metric on each of its groups, sorted by name; attributes with a single value are left out.

    Args:
        predictions: what the metric's cell is computed from, so that groups and cell agree.
        membership: attribute -> the group of each sample, as :func:`memberships` gives it.
        seed: as for :func:`~fedmeki_bench.evaluation.intervals.estimate`.
        clients: whose model each row of scores is, where every client has its own; clients without the task have none.
    """
    taken = columns(predictions, metric)
    method = method_of(metric)
    ids = np.asarray(predictions.group_id)
    found = {}
    for attribute, names in membership.items():
        named = [m or "unknown" for m in names]
        if len(set(named)) > 1:
            order = age_band_names() if attribute == "age" else None
            values = by_group(
                metric.function, taken.labels, taken.scores, named, ids, seed=seed, order=order, interval=method
            )
            found[attribute] = [
                Subgroup(name=v.name, n=v.n, groups=v.groups, value=v.value, low=v.low, high=v.high, note=v.note)
                for v in values
            ]
    if taken.per_client:
        found["client"] = [
            _client(number, row, taken.labels, ids, metric, seed)
            for number, row in zip(clients, taken.scores, strict=True)
        ]
    return found


def _client(
    number: int, scores: np.ndarray, labels: np.ndarray, ids: np.ndarray, metric: MetricSpec, seed: int
) -> Subgroup:
    """A client's own model on the whole test split."""
    value = estimate(labels, scores[None], ids, [metric], seed=seed)[metric.name]
    return Subgroup(
        name=str(number), n=len(labels), groups=len(np.unique(ids)), value=value.value, low=value.low, high=value.high,
        note=value.note,
    )  # fmt: skip
