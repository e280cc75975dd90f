"""Put a federation together: assign the private data, build the model, hand both to the loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedmeki_bench import registry
from fedmeki_bench.data.clients.assignment import Assignment, assign
from fedmeki_bench.data.clients.availability import Availability
from fedmeki_bench.data.clients.holding import Holding
from fedmeki_bench.errors import InputError
from fedmeki_bench.federation.client import Client
from fedmeki_bench.federation.curriculum import Curriculum
from fedmeki_bench.federation.engine import Engine, Sequential
from fedmeki_bench.federation.faults import Faults
from fedmeki_bench.federation.faulty import Faulty
from fedmeki_bench.federation.loop import Federation
from fedmeki_bench.federation.memories import FOLDER
from fedmeki_bench.foundation.places import check_marks
from fedmeki_bench.kinds.kind import LabelSpec
from fedmeki_bench.models.inputs import inputs_of
from fedmeki_bench.profiles import EncoderChoice, Profile
from fedmeki_bench.runs.deal import dealt, read_deal
from fedmeki_bench.runs.resolved import Resolved
from fedmeki_bench.runs.spec import RunSpec
from fedmeki_bench.runs.start import take

if TYPE_CHECKING:
    from fedmeki_bench.data.cohort import Cohort, CohortPart
    from fedmeki_bench.models.client_model import ClientModel
    from fedmeki_bench.models.pretext import Pretext, PretextModel
    from fedmeki_bench.task import Task


OpenEngine = Callable[["Models", Callable[[], Sequential]], Engine]
"""Opens an engine, given the work models and what builds the one that has all clients in this process."""


def assemble(
    spec: RunSpec, plugins: Resolved, cohorts: Mapping[str, Cohort], private: Assignment, *,
    device: str = "cpu", folder: Path | None = None, engine: OpenEngine | None = None,
) -> Federation:  # fmt: skip
    """A federation ready to run; ``private`` is what :func:`assignment` gave.

    Args:
        engine: opens the engine; without it, all clients are in this process.

    Raises:
        InputError: a cohort does not fit the model (pictures prepared too small) or has too few patients, the kept
            model that the run starts from does not fit, or a prompt places what its task does not have.
    """
    settings = spec.resolved_profile()
    if "foundation" in spec.params["stage"]:
        for name, task in plugins.all_tasks.items():
            usual = task.meta.asks or task.meta.clinical.what
            asked = cohorts[name].part("public").questions if name in cohorts else (usual,)
            check_marks(task, map(str, asked), settings.encoders, cohorts[name].many if name in cohorts else {})
    models = models_of(spec, plugins, cohorts, device)
    clients = clients_of(spec, private, plugins.pretext)
    here = partial(engine_here, spec, plugins, cohorts, clients, models, folder)
    return Federation(
        models.common,
        plugins.rule,
        plugins.stage,
        clients,
        public_of(cohorts),
        settings,
        seed=spec.seeds,
        tasks=plugins.tasks,
        folder=folder,
        models=models.own,
        faulty=faulty_of(spec),
        curriculum=curriculum_of(spec),
        engine=engine(models, here) if engine is not None else here(),
    )


@dataclass(frozen=True, slots=True)
class Models:
    """The work models of a run: the common one, and client -> its own, which may be the same."""

    common: ClientModel
    own: Mapping[int, ClientModel]


def models_of(spec: RunSpec, plugins: Resolved, cohorts: Mapping[str, Cohort], device: str) -> Models:
    """Work models with the initial weights of the run."""
    settings = spec.resolved_profile()
    made: dict[tuple[str, ...], ClientModel] = {}

    def model_of(chosen: Profile) -> ClientModel:
        names = tuple(choice.name for choice in chosen.encoders.values())
        if names not in made:
            build = plugins.stage.client_model if plugins.pretext is None else partial(_pretext_model, plugins.pretext)
            made[names] = build(
                plugins.tasks,
                inputs=inputs_of(cohorts.values(), chosen),
                encoders={modality: (choice.name, choice.params) for modality, choice in chosen.encoders.items()},
                hidden=settings.decoder_hidden,
                seed=spec.seeds,
                labels=_learnt(cohorts, plugins),
                optional={name: cohorts[name].optional for name in plugins.tasks if name in cohorts},
                device=device,
            )
        return made[names]

    common = model_of(settings)
    take(common, spec.params["start"])
    return Models(common, {client: model_of(own_profile(settings, client)) for client in range(spec.clients)})


def _pretext_model(pretext: Pretext, tasks: Mapping[str, Task], **how: Any) -> PretextModel:
    from fedmeki_bench.models.pretext import PretextModel

    return PretextModel({name: task.meta.modalities for name, task in tasks.items()}, pretext=pretext, **how)


def clients_of(spec: RunSpec, private: Assignment, pretext: Pretext | None = None) -> list[Client]:
    """The clients with their samples as they see them, or with what is told of samples elsewhere.

    Args:
        pretext: what is learnt in the place of labels: clients with fewer samples of a task than it compares have none.
    """
    faulty = faulty_of(spec)
    least = 1 if pretext is None else pretext.least
    found = []
    for number, data in enumerate(private.parts):
        enough = {task: part for task, part in data.items() if len(part) >= least}
        found.append(Client(number, faulty.data(number, enough) if faulty and not _told(enough) else enough))
    return found


def faulty_of(spec: RunSpec) -> Faulty | None:
    """The faults of a run; None if there are none."""
    faults = Faults(**spec.params["faults"])
    return Faulty(faults, spec.clients, spec.seeds) if faults != Faults() else None


def curriculum_of(spec: RunSpec) -> Curriculum | None:
    """Which tasks a run trains when; None where all of them in every round."""
    return Curriculum.of(spec.params["curriculum"], spec.params["profile"]["rounds"])


def public_of(cohorts: Mapping[str, Cohort]) -> dict[str, CohortPart]:
    """Task -> the public samples, of tasks that have some."""
    return {name: cohort.part("public") for name, cohort in cohorts.items() if len(cohort.part("public"))}


def engine_here(
    spec: RunSpec, plugins: Resolved, cohorts: Mapping[str, Cohort], clients: Sequence[Client], models: Models,
    folder: Path | None,
) -> Sequential:  # fmt: skip
    """The engine that has these clients in this process."""
    return Sequential(
        plugins.rule, clients, spec.resolved_profile(), model=models.common, seed=spec.seeds, models=models.own,
        public=public_of(cohorts), faulty=faulty_of(spec), curriculum=curriculum_of(spec),
        folder=folder and folder / FOLDER,
    )  # fmt: skip


def _told(data: Mapping[str, Any]) -> bool:
    return any(isinstance(part, Holding) for part in data.values())


def own_profile(settings: Profile, client: int) -> Profile:
    """The profile with a client's own encoders: of each modality, those of ``client_encoders`` are taken in turn.

    Raises:
        InputError: one is given as a file, whose source would be no part of the run's name.
    """
    turns: dict[str, list[str]] = {}
    for name in settings.client_encoders:
        if ".py:" in name:
            raise InputError(f"client_encoders takes names of installed encoders, not the file {name}")
        turns.setdefault(registry.load("encoders", name).modality, []).append(name)
    own = {modality: names[client % len(names)] for modality, names in turns.items()}
    usual = {modality: choice.name for modality, choice in settings.encoders.items()}
    other = {modality: EncoderChoice(name=name) for modality, name in own.items() if usual.get(modality) != name}
    return settings.model_copy(update={"encoders": settings.encoders | other}) if other else settings


def _learnt(cohorts: Mapping[str, Cohort], plugins: Resolved) -> dict[str, LabelSpec]:
    """Task -> what clients train on.

    Raises:
        InputError: a task whose answers are texts names no concepts.
    """
    found = {}
    for name in plugins.tasks:
        if name in cohorts:
            learnt = cohorts[name].learnt
            if learnt is None:
                raise InputError(
                    f"clients can't train on task {name!r}: its answers are texts and it names no concepts of them "
                    "(TaskMeta.concepts)"
                )
            found[name] = learnt
    return found


def assignment(spec: RunSpec, plugins: Resolved, cohorts: Mapping[str, Cohort]) -> Assignment:
    """The clients' private samples; every algorithm with this seed gets the same ones.

    In a folder that was dealt over sites, what is told of them, or those of one site.
    """
    folder = next(iter(cohorts.values())).path.parent
    if (deal := read_deal(folder)) is not None:
        return dealt(deal, spec, cohorts, folder)
    how, clients, matrix = plugins.partition, spec.clients, spec.params["availability"]
    if pooled := spec.params.get("pooled"):
        named = registry.load("partitions", pooled["partition"])
        how, clients = named(named.Params(**pooled["options"])), pooled["clients"]
        matrix = matrix | pooled["availability"]
    return assign(cohorts, how, clients, spec.seeds, Availability(**matrix), pooled=bool(pooled))
