"""Which model is scored: each view turns a trained federation and samples into probabilities."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING

import numpy as np
import torch

from fedmeki_bench.errors import RunFailed

if TYPE_CHECKING:
    from fedmeki_bench.cohort.format import CohortPart
    from fedmeki_bench.federation.loop import Federation
    from fedmeki_bench.models.client_model import ClientModel

_BATCH = 256

View = Callable[["Federation", str, "CohortPart"], np.ndarray]


def probabilities(model: ClientModel, task: str, part: CohortPart, *, precision: str = "float32") -> np.ndarray:
    """Probability of the positive class for each sample, (n,), in evaluation mode; float64."""
    model.eval()
    autocast = torch.autocast(model.device.type, dtype=torch.bfloat16) if precision == "bf16" else nullcontext()
    found = []
    with torch.no_grad(), autocast:
        for start in range(0, len(part), _BATCH):
            index = np.arange(start, min(start + _BATCH, len(part)))
            logits = model(task, model.to_inputs(part.batch(index))).logits
            found.append(torch.sigmoid(logits.double()).cpu().numpy())
    return np.concatenate(found) if found else np.empty(0)


def aggregated(federation: Federation, task: str, part: CohortPart) -> np.ndarray:
    """The global model: encoders and the task's decoder as they stand on the server."""
    federation.model.load(federation.server.model)
    return probabilities(federation.model, task, part, precision=federation.settings.precision)


def personal(federation: Federation, task: str, part: CohortPart) -> np.ndarray:
    """Every client's own model on the same samples: (clients, n); clients without the task are left out."""
    rows = []
    for client in federation.clients:
        ctx = federation.context(client.number, federation.server.round)
        if task not in ctx.data:
            continue
        received = federation.broadcast(ctx)
        federation.model.load(federation.server.model)
        ctx.load(received)
        own = federation.rule.personal(ctx, received)
        if own is not None:
            federation.model.load(own)
        rows.append(probabilities(federation.model, task, part, precision=federation.settings.precision))
    if not rows:
        raise RunFailed(f"no client holds data for the task {task!r}")
    return np.stack(rows)


def constant(federation: Federation, task: str, part: CohortPart) -> np.ndarray:
    """The share of positives that the clients reported, whatever the sample."""
    prevalence = federation.server.memory.get("prevalence", {})
    if task not in prevalence:
        raise RunFailed(f"rule {type(federation.rule).__name__} left no prevalence for the task {task!r}")
    return np.full(len(part), float(prevalence[task]))


VIEWS: dict[str, View] = {"aggregated": aggregated, "personal": personal, "constant": constant}
