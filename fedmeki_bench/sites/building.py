"""A place with some clients of a run, built from the run's specification and a folder of cohorts."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from fedmeki_bench.definitions.places import look_in
from fedmeki_bench.evaluation.at_clients import questions_about
from fedmeki_bench.runs.assemble import assignment, clients_of, engine_here, models_of
from fedmeki_bench.runs.execute import open_cohorts
from fedmeki_bench.runs.resolved import resolve
from fedmeki_bench.sites.place import Place

if TYPE_CHECKING:
    from fedmeki_bench.runs.spec import RunSpec


def place_of(spec: RunSpec, data: Path, clients: Collection[int], *, device: str, folder: Path) -> Place:
    """The place of these clients; what they hold is kept in ``folder``.

    Raises:
        InputError: a cohort is missing, or does not fit the model.
    """
    import torch

    look_in(data)  # this is a process of its own
    settings = spec.resolved_profile()
    torch.set_num_threads(settings.threads or torch.get_num_threads())
    plugins = resolve(spec)
    own = open_cohorts(spec, data, plugins.tasks)
    everybody = clients_of(spec, assignment(spec, plugins, own), plugins.pretext)
    here = [client for client in everybody if client.number in clients]
    engine = engine_here(spec, plugins, own, here, models_of(spec, plugins, own, device), None)
    return Place(engine, folder, questions_about(own, plugins.tasks))
