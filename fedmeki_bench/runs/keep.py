"""Keep what a run has trained: the global model, what was injected, and each task's adapter in PEFT's format."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from fedmeki_bench.digests import file_digest
from fedmeki_bench.files import replacing
from fedmeki_bench.foundation.injected import described
from fedmeki_bench.kinds.kind import LabelSpec
from fedmeki_bench.runs.kept_card import CARD, FOLDER, INJECTED, MODEL, KeptCard, KeptInput, KeptLabels, KeptTask
from fedmeki_bench.runs.plugins import portable, portable_params

if TYPE_CHECKING:
    from torch import Tensor

    from fedmeki_bench.data.cohort import Cohort
    from fedmeki_bench.federation.loop import Federation
    from fedmeki_bench.models.encoder import Input
    from fedmeki_bench.runs.spec import RunSpec
    from fedmeki_bench.task import Task


def keep(
    federation: Federation, spec: RunSpec, key: str, cohorts: Mapping[str, Cohort], tasks: Mapping[str, Task],
    folder: Path,
) -> None:  # fmt: skip
    """Write ``folder/model``: safetensors by name, ``adapters/<task>`` that the peft library loads onto F, and a card.

    With the card, ``model.json``, the model can be opened again without its cohorts (see :mod:`~.kept`). The gate
    depends on the task, so every task has an adapter of its own: the experts folded into one LoRA.
    """
    with replacing(folder / FOLDER) as target:  # a folder of this name means that everything is in it
        target.mkdir(parents=True)
        files = _write(federation, tasks, target)
        told, units = portable_params(spec.params), federation.model.values.units
        pretext = spec.params.get("pretext", {}).get("kind", "")
        card = KeptCard(
            key=key, algorithm=portable(spec.algorithm), rule=portable(spec.rule), stage=spec.stage,
            stage_version=spec.versions["stage"], stage_params=told["stage"],
            foundation=spec.versions.get("foundation"), seed=spec.seed, profile=told["profile"],
            tasks={name: _task(task, cohorts[name]) for name, task in tasks.items()},
            inputs={modality: _input(taken) for modality, taken in federation.model.inputs.items()},
            pretext=pretext, units=tuple(u for u in units if u.startswith("encoder.") or not pretext),
            files={name: file_digest(target / name) for name in files},
        )  # fmt: skip
        (target / CARD).write_text(card.model_dump_json(indent=1) + "\n", encoding="utf-8")


def _task(task: Task, cohort: Cohort) -> KeptTask:
    meta = task.meta
    return KeptTask(
        version=meta.version, modalities=meta.modalities, optional=cohort.optional, role=meta.role,
        cohort=cohort.card_hash,
        synthetic=cohort.synthetic, labels=_labels(cohort.learnt or cohort.labels),
    )  # fmt: skip


def _labels(spec: LabelSpec) -> KeptLabels | None:
    return None if spec == LabelSpec("binary") else KeptLabels(kind=spec.kind, **spec.as_json())


def _input(taken: Input) -> KeptInput:
    return KeptInput(shape=taken.shape, scale=taken.scale, facts=dict(taken.facts))


def _write(federation: Federation, tasks: Mapping[str, Task], target: Path) -> list[str]:
    """Write the tensors and the adapters; returns the names of the tensor files."""
    _save(federation.server.model, target / MODEL)
    injected = federation.stage.foundation(federation.server, federation.at_server)
    if injected is None:
        return [MODEL]
    _save(injected.state_dict(), target / INJECTED)
    if injected.adapters is not None:
        for name, task in tasks.items():
            if injected.applies(task):
                with torch.no_grad():
                    alpha = injected.alpha(described(task))
                injected.adapters.export_peft(target / "adapters" / name, alpha)
    return [MODEL, INJECTED]


def _save(tensors: Mapping[str, Tensor], path: Path) -> None:
    from safetensors.torch import save_file

    save_file({n: t.detach().cpu().contiguous() for n, t in tensors.items()}, path, metadata={"format": "pt"})
