"""Partitions that are not iid: label skew, quantity skew, and the sites the data came from. Always by whole groups.

Every client gets at least one group, so that no client is empty by accident; the skew is applied to the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from fedmeki_bench.data.clients.partition import Iid, Partition
from fedmeki_bench.errors import InputError

if TYPE_CHECKING:
    import numpy as np


class Dirichlet(Partition):
    """Label skew: each class is shared out in Dirichlet proportions; a small alpha concentrates a class on few clients.

    Hsu, Qi, Brown, "Measuring the Effects of Non-Identical Data Distribution", arXiv 1909.06335. A patient with
    several records counts under the most frequent of their labels, the highest of equally frequent ones. Findings count
    by the rarest, numbers by quarters; answers in words have no class and are shared out as by ``iid``.
    """

    name: ClassVar[str] = "dirichlet"

    class Params(Partition.Params):
        alpha: float = Field(0.5, gt=0, description="concentration: 0.1 strong skew, 100 nearly iid")

    params: Params

    def assign(
        self, part_groups: np.ndarray, labels: np.ndarray | None, sites: np.ndarray, clients: int,
        rng: np.random.Generator,
    ) -> list[np.ndarray]:  # fmt: skip
        """See :class:`Partition`."""
        import numpy as np

        if labels is None:
            return Iid().assign(part_groups, labels, sites, clients, rng)
        distinct, member = np.unique(part_groups, return_inverse=True)
        column = labels.astype(int)
        often = np.zeros((len(distinct), max(2, int(column.max()) + 1)))
        np.add.at(often, (member, column), 1)
        most = often.shape[1] - 1 - np.argmax(often[:, ::-1], axis=1)
        owner = np.full(len(distinct), -1)
        for value in range(often.shape[1]):
            mine = rng.permutation(np.flatnonzero(most == value))
            shares = rng.dirichlet(np.full(clients, self.params.alpha))
            cuts = np.round(np.cumsum(shares)[:-1] * len(mine)).astype(int)
            for client, groups in enumerate(np.split(mine, cuts)):
                owner[groups] = client
        return _assigned(_nobody_empty(owner, clients, rng), member, clients)


class Quantity(Partition):
    """Quantity skew: client sizes follow a Dirichlet; within a client nothing is skewed."""

    name: ClassVar[str] = "quantity"
    by_labels: ClassVar[bool] = False

    class Params(Partition.Params):
        alpha: float = Field(0.5, gt=0, description="concentration: 0.1 very unequal sizes, 100 nearly equal")

    params: Params

    def assign(
        self, part_groups: np.ndarray, labels: np.ndarray | None, sites: np.ndarray, clients: int,
        rng: np.random.Generator,
    ) -> list[np.ndarray]:  # fmt: skip
        """See :class:`Partition`."""
        import numpy as np

        distinct, member = np.unique(part_groups, return_inverse=True)
        shares = rng.dirichlet(np.full(clients, self.params.alpha))
        cuts = np.round(np.cumsum(shares)[:-1] * len(distinct)).astype(int)
        owner = np.empty(len(distinct), dtype=np.intp)
        for client, groups in enumerate(np.split(rng.permutation(len(distinct)), cuts)):
            owner[groups] = client
        return _assigned(_nobody_empty(owner, clients, rng), member, clients)


class Natural(Partition):
    """The sites the data came from: PTB-XL's site, MIMIC's care unit, the view of an X-ray.

    With at least as many sites as clients, whole sites go to clients, the largest first to whoever has least. With
    fewer, each site is shared by a number of clients in proportion to its size.
    """

    name: ClassVar[str] = "natural"
    by_labels: ClassVar[bool] = False

    def assign(
        self, part_groups: np.ndarray, labels: np.ndarray | None, sites: np.ndarray, clients: int,
        rng: np.random.Generator,
    ) -> list[np.ndarray]:  # fmt: skip
        """See :class:`Partition`.

        Raises:
            InputError: all samples come from one site.
        """
        import numpy as np

        distinct, first, member = np.unique(part_groups, return_index=True, return_inverse=True)
        names, at = np.unique(sites[first], return_inverse=True)  # a group stays whole: its first sample's site
        if len(names) < 2 and clients > 1:
            raise InputError(f"partition 'natural' needs at least two sites, all samples are from {names[0]!r}")
        sizes = np.bincount(at, weights=np.bincount(member))
        owner = np.empty(len(distinct), dtype=np.intp)
        if len(names) >= clients:
            held = np.zeros(clients)
            for site in np.argsort(-sizes, kind="stable"):
                client = int(np.argmin(held))
                owner[at == site] = client
                held[client] += sizes[site]
        else:
            begin = 0
            for site, count in enumerate(_seats(sizes, clients)):
                mine = rng.permutation(np.flatnonzero(at == site))
                owner[mine] = begin + np.arange(len(mine)) % count
                begin += count
        return _assigned(_nobody_empty(owner, clients, rng), member, clients)


def _seats(sizes: np.ndarray, clients: int) -> list[int]:
    """How many clients share each site: at least one, the rest to whoever has most samples per client."""
    import numpy as np

    seats = np.ones(len(sizes), dtype=int)
    for _ in range(clients - len(sizes)):
        seats[np.argmax(sizes / seats)] += 1
    return [int(s) for s in seats]


def _nobody_empty(owner: np.ndarray, clients: int, rng: np.random.Generator) -> np.ndarray:
    """Give each client without a group one of the groups of the client that has most."""
    import numpy as np

    for client in range(clients):
        if not np.any(owner == client):
            richest = int(np.argmax(np.bincount(owner, minlength=clients)))
            owner[rng.choice(np.flatnonzero(owner == richest))] = client
    return owner


def _assigned(owner: np.ndarray, member: np.ndarray, clients: int) -> list[np.ndarray]:
    import numpy as np

    of_sample = owner[member]
    return [np.flatnonzero(of_sample == client) for client in range(clients)]
