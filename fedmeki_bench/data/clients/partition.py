"""Assigning private samples to clients: a plug-in decides, this module checks."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import BaseModel, ConfigDict

from fedmeki_bench.errors import InputError, RunFailed
from fedmeki_bench.seeds import generator

if TYPE_CHECKING:
    import numpy as np

    from fedmeki_bench.data.cohort import CohortPart


class Partition:
    """Base of all partitions: set ``name`` and define :meth:`assign`; ``Params`` holds its parameters.

    Attributes:
        version: raised, as a plain number, whenever a call assigns otherwise; part of a run's identity from 2 on.
        by_labels: whether labels decide. Tasks of one dataset that take different samples are then shared out each by
            itself, and a patient may sit with several clients; otherwise together (:func:`partition_together`).
    """

    class Params(BaseModel):
        """No parameters."""

        model_config = ConfigDict(extra="forbid", frozen=True)

    name: ClassVar[str]
    version: ClassVar[int] = 1
    by_labels: ClassVar[bool] = True

    def __init__(self, params: BaseModel | None = None) -> None:
        self.params = params if params is not None else self.Params()

    def assign(
        self,
        part_groups: np.ndarray,
        labels: np.ndarray | None,
        sites: np.ndarray,
        clients: int,
        rng: np.random.Generator,
    ) -> list[np.ndarray]:
        """Positions of the samples of each client.

        Args:
            part_groups: group of each sample, text of shape (n,); a group belongs to one client whole.
            labels: a whole number of shape (n,) that tells kinds of samples apart (:meth:`Kind.strata`): 1 and 0 of a
                binary task, the class, the rarest finding, the quarter of a number; ``None`` without labels.
            sites: recording site, text of shape (n,).
            clients: how many clients.
            rng: the only source of chance.
        """
        raise NotImplementedError


class Iid(Partition):
    """Whole groups, shuffled, each given to the client that has least: even sizes, no structure."""

    name: ClassVar[str] = "iid"
    by_labels: ClassVar[bool] = False

    def assign(
        self,
        part_groups: np.ndarray,
        labels: np.ndarray | None,
        sites: np.ndarray,
        clients: int,
        rng: np.random.Generator,
    ) -> list[np.ndarray]:
        """See :class:`Partition`."""
        import numpy as np

        distinct, member = np.unique(part_groups, return_inverse=True)
        sizes = np.bincount(member, minlength=len(distinct))
        owner = np.empty(len(distinct), dtype=np.intp)
        least = [(0, client) for client in range(clients)]
        for group in rng.permutation(len(distinct)):
            held, client = heapq.heappop(least)
            owner[group] = client
            heapq.heappush(least, (held + int(sizes[group]), client))
        of_sample = owner[member]
        return [np.flatnonzero(of_sample == client) for client in range(clients)]


def partition(part: CohortPart, how: Partition, clients: int, seed: int) -> list[np.ndarray]:
    """Sorted positions in ``part`` for each client, checked.

    The stream is named by seed, dataset, partition and number of clients: it does not depend on the algorithm
    or on anything that ran before.

    Raises:
        InputError: fewer groups than clients, or a client is left without a sample.
        RunFailed: the plug-in's result is no partition by whole groups.
    """
    _enough(part, clients)
    rng = generator(seed, "partition", part.cohort.dataset, how.name, clients)
    assigned = how.assign(part.group_ids, part.strata, part.sites, clients, rng)
    return _checked(assigned, part.group_ids, clients, part.cohort.name, how)


def partition_together(
    parts: Mapping[str, CohortPart], how: Partition, clients: int, seed: int
) -> dict[str, list[np.ndarray]]:
    """As :func:`partition`, for tasks of one dataset: a group sits with the same client in all of them.

    All samples that any of them takes are shared out, without labels. A client may be left without a sample of a task
    that few groups take part in.
    """
    import numpy as np

    for part in parts.values():
        _enough(part, clients)
    names = np.concatenate([part.sample_ids for part in parts.values()])
    _, once = np.unique(names, return_index=True)
    once.sort()
    groups = np.concatenate([part.group_ids for part in parts.values()])[once]
    sites = np.concatenate([part.sites for part in parts.values()])[once]
    dataset = next(iter(parts.values())).cohort.dataset
    rng = generator(seed, "partition", dataset, how.name, clients)
    assigned = _checked(how.assign(groups, None, sites, clients, rng), groups, clients, ", ".join(parts), how)
    owner = {group: client for client, index in enumerate(assigned) for group in groups[index].tolist()}
    found = {}
    for name, part in parts.items():
        of_sample = np.array([owner[group] for group in part.group_ids.tolist()])
        found[name] = [np.flatnonzero(of_sample == client) for client in range(clients)]
    return found


def _enough(part: CohortPart, clients: int) -> None:
    if clients < 1:
        raise InputError(f"the number of clients cannot be {clients}: at least 1 is needed")
    if clients > (groups := len(set(part.group_ids.tolist()))):
        raise InputError(
            f"cohort '{part.cohort.name}' has {groups} groups in split '{part.split}': too few for {clients} clients"
        )


def _checked(
    assigned: Sequence[np.ndarray], groups: np.ndarray, clients: int, name: str, how: Partition
) -> list[np.ndarray]:
    """Sorted, and a partition by whole groups of the samples of ``name``, whose groups are given."""
    import numpy as np

    distinct, member = np.unique(groups, return_inverse=True)
    found = [np.sort(np.asarray(i, dtype=np.intp)) for i in assigned]
    if len(found) != clients:
        raise RunFailed(f"partition '{how.name}' returned {len(found)} clients instead of {clients}")
    if not np.array_equal(np.sort(np.concatenate(found)), np.arange(len(groups))):
        raise RunFailed(f"partition '{how.name}' does not assign each sample of '{name}' exactly once")
    owner = np.full(len(distinct), -1)
    for client, index in enumerate(found):
        mine = np.unique(member[index])
        if len(mine) == 0:
            raise InputError(f"partition '{how.name}' leaves client {client} of '{name}' without a sample")
        if np.any(owner[mine] != -1):
            raise RunFailed(f"partition '{how.name}' puts a group of '{name}' on two clients")
        owner[mine] = client
    return found
