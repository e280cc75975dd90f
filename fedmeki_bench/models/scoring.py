"""What a client model says of samples."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from fedmeki_bench.data.cohort import CohortPart
    from fedmeki_bench.models.client_model import ClientModel

_BATCH = 256


def scores(model: ClientModel, task: str, part: CohortPart, *, precision: str = "float32") -> np.ndarray:
    """What the model says of each sample as the task's kind scores it, in evaluation mode; float64.

    (n,) probabilities of the positive class, (n, K) probabilities of classes or findings, or (n,) numbers.
    """
    model.eval()
    autocast = torch.autocast(model.device.type, dtype=torch.bfloat16) if precision == "bf16" else nullcontext()
    found, spec = [], model.labels[task]
    with torch.no_grad(), autocast:
        for start in range(0, len(part), _BATCH):
            index = np.arange(start, min(start + _BATCH, len(part)))
            logits = model(task, model.read(part, index)).logits
            found.append(spec.how.scores(logits, spec))
    return np.concatenate(found) if found else np.empty(0)
