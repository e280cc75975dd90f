"""A data folder dealt over a server and sites: who has which clients, and what the server is told of their samples."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from fedmeki_bench.bounded import bounded_json, first_problem, regular_text
from fedmeki_bench.data.clients.assignment import Assignment
from fedmeki_bench.data.clients.availability import Availability
from fedmeki_bench.data.clients.holding import Holding
from fedmeki_bench.errors import InputError
from fedmeki_bench.options import silent

if TYPE_CHECKING:
    from fedmeki_bench.data.cohort import Cohort
    from fedmeki_bench.runs.spec import RunSpec

SERVER, SITE = "federation.json", "site.json"
"""The files that make a data folder that of the server, or of a site."""

_LARGEST = 500_000_000  # bytes; ten thousand clients of a few tasks have a hundredth of it


class Group(BaseModel):
    """How the samples of some tasks, trained together, are dealt to clients.

    Attributes:
        tasks: sorted.
        digest: of the assignment, as records show it.
        holdings: at the server: per client, task -> what is told of its samples.
        rows: at a site: client -> task -> positions in the site's ``client`` split.
        lacking: at a site: client -> task -> modalities that the client does not have.
    """

    model_config = ConfigDict(extra="forbid")

    tasks: list[str]
    digest: str
    holdings: list[dict[str, dict[str, Any]]] = []
    rows: dict[str, dict[str, list[int]]] = {}
    lacking: dict[str, dict[str, list[str]]] = {}


class Deal(BaseModel):
    """What ``federation.json`` and ``site.json`` say.

    Attributes:
        identity: what a run must agree with: clients, seed, partition, its parameters, availability.
        sites: how many there are.
        site: which one this is; None at the server.
        groups: the sets of tasks that can be trained together.
        cards: task -> hash of the card of the cohort that was dealt.
        whole: tasks of which every private sample went to some site.
    """

    model_config = ConfigDict(extra="forbid")

    version: int = 1
    identity: dict[str, Any]
    sites: int
    site: int | None = None
    groups: list[Group]
    cards: dict[str, str]
    whole: list[str] = []

    def of(self, spec: RunSpec, folder: Path) -> Group:
        """How this run's tasks are dealt.

        Raises:
            InputError: the folder was dealt for other options, or not for these tasks together.
        """
        asked = identity_of(spec)
        if differing := [name for name in asked if asked[name] != self.identity.get(name)]:
            name = differing[0]
            raise InputError(
                f"{folder} was dealt with {name} {json.dumps(self.identity.get(name))}, the run has "
                f"{json.dumps(asked[name])}: run with the former, or deal again with `fedmeki-bench site prepare`"
            )
        found = next((group for group in self.groups if group.tasks == sorted(spec.tasks)), None)
        if found is None:
            known = "; ".join(", ".join(group.tasks) for group in self.groups)
            raise InputError(f"{folder} was not dealt for training {', '.join(spec.tasks)} together (but for {known})")
        return found

    @property
    def clients(self) -> tuple[int, ...]:
        """The clients of this site; of all at the server."""
        return tuple(c for c in range(self.identity["clients"]) if self.site is None or c % self.sites == self.site)


def identity_of(spec: RunSpec) -> dict[str, Any]:
    """What decides who has which samples; options that came later are left out where they stand at their defaults."""
    matrix, unsaid = spec.params["availability"], silent(Availability, spec.params["availability"])
    return {
        "clients": spec.clients, "seed": spec.seeds.of("partition"), "partition": spec.partition,
        "partition options": spec.params["partition"],
        "availability": {key: value for key, value in matrix.items() if key not in unsaid},
    }  # fmt: skip


def read_deal(data: Path) -> Deal | None:
    """What a data folder is dealt as; None for one that holds everything.

    Raises:
        InputError: the file is damaged.
    """
    for name in (SERVER, SITE):
        path = data / name
        if not path.is_file():
            continue
        try:
            return Deal.model_validate(bounded_json(regular_text(path, _LARGEST, "deal")))
        except ValidationError as error:
            raise InputError(f"{path} is damaged ({first_problem(error)}): deal the data again") from None
        except (OSError, ValueError) as error:
            raise InputError(f"{path} is damaged ({error}): deal the data again") from None
    return None


def dealt(deal: Deal, spec: RunSpec, cohorts: Mapping[str, Cohort], folder: Path) -> Assignment:
    """The private samples of every client as far as this folder has them; of the others what is told, or nothing.

    Raises:
        InputError: the folder was dealt for other options.
    """
    group = deal.of(spec, folder)
    parts: list[Mapping[str, Any]]
    if deal.site is None:
        parts = [{task: Holding.from_json(told) for task, told in held.items()} for held in group.holdings]
        return Assignment(parts, group.digest)
    whole = {task: cohorts[task].part("client") for task in spec.tasks if task in cohorts}
    parts = [{} for _ in range(spec.clients)]
    for client, held in group.rows.items():
        for task, rows in held.items():
            part = whole[task].take(rows)
            if lacking := group.lacking.get(client, {}).get(task):
                part = part.hiding(lacking)
            parts[int(client)] = {**parts[int(client)], task: part}
    return Assignment(parts, group.digest)


def together(tasks: Sequence[str]) -> list[list[str]]:
    """The sets of tasks that runs train together: all of them, and each alone."""
    names = sorted(tasks)
    return [names, *([name] for name in names)] if len(names) > 1 else [names]


def check_folder(data: Path, *, has_data: bool) -> None:
    """Refuse a data folder that does not go with the engine.

    Args:
        has_data: whether the engine looks for the clients' samples in the folder.

    Raises:
        InputError: the samples are elsewhere, or the folder is a site's, or was not dealt.
    """
    deal = read_deal(data)
    if deal is not None and deal.site is not None:
        raise InputError(f"{data} is the folder of site {deal.site}: serve it with `fedmeki-bench site serve`")
    if deal is not None and has_data:
        raise InputError(
            f"the samples of clients are not in {data} but at {deal.sites} sites: run with --engine flower"
        )
    if deal is None and not has_data:
        raise InputError(
            f"{data} holds the samples of clients: deal it with `fedmeki-bench site prepare`, run on the server's"
        )
