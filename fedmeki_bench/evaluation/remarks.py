"""What a finished run must be doubted for, seen on `valid` alone: nothing was learned, or nothing that shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from fedmeki_bench.data.clients.holding import label_sums
from fedmeki_bench.evaluation.views import holders
from fedmeki_bench.federation.questions import Checksums, checksums

if TYPE_CHECKING:
    from fedmeki_bench.data.cohort import CohortPart
    from fedmeki_bench.evaluation.metrics import MetricSpec
    from fedmeki_bench.federation.loop import Federation

LEAST_GAIN = 0.02
"""Below this gain over a constant a run is said to be no better: in the units of the metric; of one without ends as a
share of the constant's value."""

Predicted = Callable[["Federation", str, "CohortPart"], np.ndarray]
"""Probabilities of a view, (n,) or (clients, n), of a task's samples."""

Remarks = dict[tuple[str, str], str]
"""(view, task) -> a sentence."""


def remarks(
    federation: Federation, start: Mapping[str, int], view: str, scored: Predicted, parts: Mapping[str, CohortPart],
    main: Mapping[str, MetricSpec],
) -> Remarks:  # fmt: skip
    """What is to be said about the validated view of a trained federation, per task.

    *Never moved*: the units the task uses hold the initial parameters bit for bit, in the model that is scored.
    *No better than a constant*: the task's main metric on `valid` exceeds what a constant predictor (the clients' share
    of positives) has there by less than 0.02. It is a rule of thumb and no test: the interval of a small valid split
    would cover the constant's value for most models that did learn.

    A rule that trains nothing is a constant by design. Where a foundation model was injected and the clients trained
    no decoder, the aggregated view was not what was trained, and nothing is said about it.

    Args:
        start: the checksums of the units before the first round.
        view, scored: the name of the validated view, and what it gives.
        parts: task -> its valid split.
        main: task -> its main metric.
    """
    if not federation.rule.trains:
        return {}
    injected = federation.stage.foundation(federation.server, federation.at_server) is not None
    found: Remarks = {}
    for task, part in parts.items():
        own = federation.model.units(task)
        moved = _moved(federation, task, start, view)
        if injected and f"decoder.{task}" not in moved:
            continue
        if not moved & set(own):
            found[view, task] = f"{task}: the model never moved: its parameters are the initial ones, bit for bit"
            continue
        told = _against_constant(federation, task, part, scored, main[task])
        if told:
            found[view, task] = told
    return found


def _moved(federation: Federation, task: str, start: Mapping[str, int], view: str) -> set[str]:
    """Units whose parameters differ from the initial ones, on the server or, if clients are scored, at any client."""
    moved = {unit for unit, was in checksums(federation.server.model).items() if was != start[unit]}
    if view != "personal":
        return moved
    for found in federation.ask(Checksums(), holders(federation, task)):
        moved |= {unit for unit, was in found.items() if was != start[unit]}
    return moved


def _against_constant(
    federation: Federation, task: str, part: CohortPart, scored: Predicted, metric: MetricSpec
) -> str:
    told = [label_sums(federation.clients[client].data[task]) for client in holders(federation, task)]
    spec = part.cohort.learnt
    if len(part) == 0 or not told or metric.needs == "text" or spec is None:
        return ""
    means = np.sum([sums for sums, _ in told], axis=0) / np.sum([known for _, known in told], axis=0)
    same = np.asarray(spec.how.constant(means, spec), dtype=np.float64)
    constant = metric(part.learnt, np.tile(same, (len(part), *[1] * same.ndim)))
    value = float(np.mean([metric(part.learnt, row) for row in spec.by_model(scored(federation, task, part))]))
    gain = value - constant if metric.direction == "higher" else constant - value
    least = LEAST_GAIN if np.isfinite(metric.range).all() else LEAST_GAIN * abs(constant)
    if not np.isfinite(gain) or gain >= least:
        return ""
    return (
        f"{task}: no better than a constant on valid: {metric.title} {value:.3f} over {len(part)} samples, a constant "
        f"has {constant:.3f}"
    )
