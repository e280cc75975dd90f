"""Whether anything can be computed with a global model."""

from __future__ import annotations

import torch

from fedmeki_bench.errors import RunFailed
from fedmeki_bench.models.flat import FlatTensors


def check_usable(model: FlatTensors, number: int, culprit: str) -> None:
    """Refuse a global model with a value that is not finite, or with a negative variance of batch norm.

    Args:
        number: the round, from 0.
        culprit: what has just changed the model, e.g. ``rule FedAvgM``.

    Raises:
        RunFailed: which tensor of which unit, and what to do about it.
    """
    entries = model.layout.entries.values()
    # a finite sum has finite summands, and a sum takes a twentieth of the time
    if not bool(torch.isfinite(model.flat.sum())) and not bool(torch.isfinite(model.flat).all()):
        bad = [entry for entry in entries if not bool(torch.isfinite(model[entry.name]).all())]
        if any(entry.trained or not entry.batch_norm for entry in bad):
            raise RunFailed(
                f"{culprit} left a global model that is no longer finite after round {number + 1} ({bad[0].name}); a "
                "smaller lr may help"
            )
        raise RunFailed(_about_statistics(bad[0].name, bad[0].unit, "not finite", number, culprit))
    for entry in entries:
        if entry.variance and bool((model[entry.name] < 0).any()):
            raise RunFailed(_about_statistics(entry.name, entry.unit, "negative", number, culprit))


def _about_statistics(name: str, unit: str, how: str, number: int, culprit: str) -> str:
    return (
        f"{culprit} made {name} of the unit {unit} {how} in round {number + 1}, and it is a statistic of batch norm: a "
        "server's step with momentum or Adam is for parameters alone, so take segment(unit, trained_only=True) and let "
        "statistics stay the clients' mean, or leave them with the clients by `keeps`"
    )
