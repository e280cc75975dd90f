"""Assigning private samples to clients: a plug-in decides, this module checks."""

from __future__ import annotations

import heapq
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
    """

    class Params(BaseModel):
        """No parameters."""

        model_config = ConfigDict(extra="forbid", frozen=True)

    name: ClassVar[str]
    version: ClassVar[int] = 1

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
    import numpy as np

    groups = part.group_ids
    distinct, member = np.unique(groups, return_inverse=True)
    name = part.cohort.name
    if clients < 1:
        raise InputError(f"the number of clients cannot be {clients}: at least 1 is needed")
    if clients > len(distinct):
        raise InputError(
            f"cohort '{name}' has {len(distinct)} groups in split '{part.split}': too few for {clients} clients"
        )
    rng = generator(seed, "partition", part.cohort.dataset, how.name, clients)
    assigned = [
        np.sort(np.asarray(i, dtype=np.intp)) for i in how.assign(groups, part.strata, part.sites, clients, rng)
    ]
    if len(assigned) != clients:
        raise RunFailed(f"partition '{how.name}' returned {len(assigned)} clients instead of {clients}")
    if not np.array_equal(np.sort(np.concatenate(assigned)), np.arange(len(part))):
        raise RunFailed(f"partition '{how.name}' does not assign each sample of '{name}' exactly once")
    owner = np.full(len(distinct), -1)
    for client, index in enumerate(assigned):
        mine = np.unique(member[index])
        if len(mine) == 0:
            raise InputError(f"partition '{how.name}' leaves client {client} of '{name}' without a sample")
        if np.any(owner[mine] != -1):
            raise RunFailed(f"partition '{how.name}' puts a group of '{name}' on two clients")
        owner[mine] = client
    return assigned
