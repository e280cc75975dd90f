"""Open what ``run --keep-model`` left, without its cohorts, and ask it.

    kept = open_kept("results/KEY")
    kept.answers("lung_opacity", part)          # what the injected foundation model says
    kept.scores("lung_opacity", part)    # encoders and decoder

``part`` is anything with ``questions``, ``batch`` and a length, such as a part of a prepared cohort.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from fedmeki_bench import registry
from fedmeki_bench.errors import InputError, UsageError, nearest
from fedmeki_bench.evaluation.view import Answers
from fedmeki_bench.evaluation.views_in_words import Foundation
from fedmeki_bench.federation.server import Server, ServerContext
from fedmeki_bench.kinds.kind import LabelSpec
from fedmeki_bench.models.client_model import ClientModel
from fedmeki_bench.models.encoder import Input
from fedmeki_bench.models.scoring import scores
from fedmeki_bench.options import parse_options
from fedmeki_bench.profiles import Profile
from fedmeki_bench.runs.kept_card import (
    CARD,
    INJECTED,
    MODEL,
    KeptCard,
    kept_folder,
    kept_tensors,
    read_kept,
)
from fedmeki_bench.runs.plugins import foundation_identity

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from fedmeki_bench.data.cohort import CohortPart
    from fedmeki_bench.federation.stage import Stage
    from fedmeki_bench.foundation.injected import Injected
    from fedmeki_bench.task import Task


class Kept:
    """A trained model, opened again.

    Attributes:
        card: what is known of it.
        tasks: the tasks by name that it was trained on or asked.
        model: encoders and decoders, in evaluation mode.
        server: the global model and what the stage keeps beside it.
        stage, at_server, settings: what a :class:`~fedmeki_bench.evaluation.view.View` asks for.
    """

    def __init__(
        self, card: KeptCard, tasks: Mapping[str, Task], model: ClientModel, server: Server, stage: Stage,
        settings: Profile,
    ) -> None:  # fmt: skip
        self.card = card
        self.tasks = dict(tasks)
        self.model = model
        self.server = server
        self.stage = stage
        self.settings = settings
        trained = {name: task for name, task in tasks.items() if card.tasks[name].role == "training"}
        self.at_server = ServerContext(model, settings, seed=card.seed, tasks=trained)

    @property
    def injected(self) -> Injected | None:
        """The foundation model with what was injected; loaded on first use, None where the stage has none."""
        return self.stage.foundation(self.server, self.at_server)

    def scores(self, task: str, part: CohortPart) -> np.ndarray:
        """What encoders and decoder say: (n,) probabilities of the positive class, (n, K) of classes, (n,) numbers.

        Raises:
            UsageError: the model was not trained on that task.
        """
        if task not in self.model.tasks:
            raise UsageError(f"the kept model has no decoder for {task!r}; {nearest(task, self.model.tasks)}")
        self.model.load(self.server.model)
        return scores(self.model, task, part, precision=self.settings.precision)

    def answers(self, task: str | Task, part: CohortPart) -> Answers | None:
        """What the injected foundation model says; None where a modality of the task was never trained.

        Args:
            task: a name of ``tasks``, or any task over the modalities that were trained.
            part: what is asked.

        Raises:
            UsageError: an unknown name.
            RunFailed: nothing was injected into a foundation model.
        """
        if isinstance(task, str) and task not in self.tasks:
            raise UsageError(f"the kept model knows no task {task!r}; {nearest(task, self.tasks)}")
        return Foundation().predict(self, self.tasks[task] if isinstance(task, str) else task, part)


def open_kept(
    place: Path | str, *, foundation: str | Path | None = None, device: torch.device | str = "cpu", files: bool = False
) -> Kept:
    """Open a kept model; its data are not needed.

    Args:
        place: the folder ``model`` that a run left, or the run's own folder.
        foundation: where the foundation model lies, if not where the card says.
        device: where the model is to live.
        files: run the Python files that the card names as encoders or stage, and the code that comes with the
            foundation model; without it they are refused.

    Raises:
        InputError: a file is missing or damaged, the foundation model is another one, or the installed tasks or
            stage are not those it was trained with.
    """
    folder = kept_folder(place)
    card = read_kept(folder)
    if card.pretext:
        raise InputError(
            f"{folder / CARD}: trained by {card.pretext} without labels, it answers nothing: start a run from it with "
            f"-o start.from={folder}"
        )
    tasks = {name: _task(card, name, folder) for name in card.tasks}
    params = dict(card.stage_params)
    if params.get("trust_remote_code") and not files:
        raise InputError(
            f"{folder / CARD}: its foundation model brings Python code of its own, which is run only if asked for: "
            "open_kept(..., files=True)"
        )
    if foundation is not None and "foundation" in params:
        params["foundation"] = str(foundation)
    _check_foundation(card, params, folder)
    try:
        settings = parse_options(Profile, card.profile, owner="the kept profile")
        named = {choice.name for choice in settings.encoders.values()}
        for kind, name in (("stages", card.stage), *(("encoders", name) for name in sorted(named))):
            registry.find(kind, name, files=files)
        stage_class = registry.load("stages", card.stage)
        if stage_class.version != card.stage_version:
            raise ValueError(
                f"version {card.stage_version} of stage {card.stage} trained it, {stage_class.version} is installed"
            )
        stage = stage_class(parse_options(stage_class.Params, params, owner=f"stage {card.stage}"))
        trained = {name: kept.modalities for name, kept in card.tasks.items() if kept.role == "training"}
        model = ClientModel(
            trained, {m: Input(i.shape, i.scale, i.facts) for m, i in card.inputs.items()},
            {m: (choice.name, choice.params) for m, choice in settings.encoders.items()},
            hidden=settings.decoder_hidden, seed=card.seed, device=device,
            optional={name: t.optional for name, t in card.tasks.items()},
            labels={name: LabelSpec(**dict(t.labels)) for name, t in card.tasks.items() if t.labels is not None},
        )  # fmt: skip
    except (UsageError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{folder / CARD}: the model can't be put together: {error}") from error
    tensors = kept_tensors(folder, card, MODEL)
    load_units(model, tensors, model.values.units, where=str(folder / MODEL))
    model.eval()
    server = Server(model.values.clone(), clients=0)
    kept = Kept(card, tasks, model, server, stage, settings)
    if INJECTED in card.files:
        kept.at_server.memory["injected"] = dict(kept_tensors(folder, card, INJECTED))
        try:
            kept.injected  # noqa: B018 - loads it, so that what is wrong is said here
        except RuntimeError as error:  # load_state_dict lists every tensor that does not fit
            reason = " ".join(str(error).split())[:200]
            raise InputError(f"{folder / INJECTED} does not fit its stage {card.stage}: {reason}") from error
    return kept


def load_units(model: ClientModel, tensors: Mapping[str, Tensor], units: tuple[str, ...], *, where: str) -> None:
    """Overwrite these units of a model with kept tensors.

    Raises:
        InputError: a unit is missing there or has another shape; nothing is overwritten.
    """
    chosen = [entry for entry in model.values.layout.entries.values() if entry.unit in units]
    for entry in chosen:
        found = tensors.get(entry.name)
        if found is None:
            raise InputError(f"{where} has no tensor {entry.name}, so its {entry.unit} is of another architecture")
        if tuple(found.shape) != entry.shape:
            raise InputError(
                f"{where}: {entry.name} has the shape {tuple(found.shape)}, this run's model wants {entry.shape}; "
                f"use the encoder, its parameters and the image size of the kept model for {entry.unit}"
            )
    with torch.no_grad():
        for entry in chosen:
            model.values[entry.name].copy_(tensors[entry.name])


def _task(card: KeptCard, name: str, folder: Path) -> Task:
    try:
        task: Task = registry.load("tasks", name, files=False)()
    except UsageError as error:
        raise InputError(f"{folder / CARD}: {error}") from error
    if task.meta.version != card.tasks[name].version:
        raise InputError(
            f"{folder / CARD}: version {card.tasks[name].version} of the task {name} was trained, version "
            f"{task.meta.version} is installed: its questions may differ; run again with --keep-model"
        )
    return task


def _check_foundation(card: KeptCard, params: Mapping[str, Any], folder: Path) -> None:
    """Refuse a foundation model that is not the one injected into."""
    if card.foundation is None:
        return
    if foundation_identity(params).get("foundation") != card.foundation:
        raise InputError(
            f"{folder / CARD}: the model was injected into a foundation model that '{params.get('foundation')}' is not "
            f"or where it does not lie ({card.foundation}); say where it lies with foundation="
        )
