"""Keep what a run has trained: the global model, what was injected, and each task's adapter in PEFT's format."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from fedmeki_bench.files import replacing
from fedmeki_bench.models.injected import described
from fedmeki_bench.runs.execute import KEPT

if TYPE_CHECKING:
    from fedmeki_bench.federation.loop import Federation
    from fedmeki_bench.task import Task


def keep(federation: Federation, tasks: Mapping[str, Task], folder: Path) -> None:
    """Write ``folder/model``: safetensors by name, and ``adapters/<task>`` that the peft library loads onto F.

    The gate depends on the task, so every task has an adapter of its own: the experts folded into one LoRA.
    """
    with replacing(folder / KEPT) as target:  # a folder of this name means that everything is in it
        target.mkdir(parents=True)
        _write(federation, tasks, target)


def _write(federation: Federation, tasks: Mapping[str, Task], target: Path) -> None:
    from safetensors.torch import save_file

    model = {name: value.detach().cpu().contiguous() for name, value in federation.server.model.items()}
    save_file(model, target / "model.safetensors", metadata={"format": "pt"})
    injected = federation.stage.foundation(federation.server, federation.at_server)
    if injected is None:
        return
    state = {name: value.detach().cpu().contiguous() for name, value in injected.state_dict().items()}
    save_file(state, target / "injected.safetensors", metadata={"format": "pt"})
    if injected.adapters is None:
        return
    for name, task in tasks.items():
        if injected.applies(task):
            with torch.no_grad():
                alpha = injected.alpha(described(task))
            injected.adapters.export_peft(target / "adapters" / name, alpha)
