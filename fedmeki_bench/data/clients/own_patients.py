"""Whose patients the held-out samples would be: shared out over the clients as the private ones are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from fedmeki_bench.data.clients.holding import GroupKind, groups_by_kind, kinds_of_groups
from fedmeki_bench.errors import InputError
from fedmeki_bench.seeds import generator

if TYPE_CHECKING:
    import numpy as np

    from fedmeki_bench.data.clients.holding import Holding
    from fedmeki_bench.data.cohort import CohortPart


def owners(private: Mapping[int, CohortPart | Holding], part: CohortPart, seed: int) -> np.ndarray:
    """The client whose patient each held-out sample is, (n,).

    A group goes to a client in proportion to how many of its private groups are of the same site and stratum (class,
    rarest finding, quarter of a number); where none are, of the same site, then of the same stratum, then to anybody in
    proportion to size. So hospitals that hold a site get its held-out patients, and a client that holds mostly
    positives is scored on mostly positives, whatever partition shared out the private samples.

    Args:
        private: client -> its private samples of the task, or what is told of them.
        part: held-out samples, such as the test split.
        seed: the run's.

    Raises:
        InputError: no client holds samples of the task.
    """
    import numpy as np

    if not private:
        raise InputError(f"no client holds samples of {part.cohort.name!r}")
    held = {client: groups_by_kind(mine) for client, mine in private.items()}
    alike: dict[tuple[float, ...], list[str]] = {}
    kinds = kinds_of_groups(part)
    for group, kind in kinds.items():
        alike.setdefault(_shares(held, kind), []).append(group)
    rng = generator(seed, "own patients", part.cohort.dataset, part.split, len(private))
    clients, owner = list(private), dict[str, int]()
    for shares, groups in sorted(alike.items()):  # evenly spaced points: each client gets its share to within one
        points = (rng.permutation(len(groups)) + rng.random()) / len(groups)
        chosen = np.searchsorted(np.cumsum(shares)[:-1], points, side="right")
        owner |= {group: clients[k] for group, k in zip(groups, chosen.tolist(), strict=True)}
    return np.array([owner[group] for group in part.group_ids.tolist()])


def _shares(held: Mapping[int, Mapping[GroupKind, int]], kind: GroupKind) -> tuple[float, ...]:
    """Each client's share of the groups that are most like this kind."""
    alike = (lambda k: k == kind, lambda k: k[0] == kind[0], lambda k: k[1] == kind[1], lambda k: True)
    counts = ([sum(n for k, n in mine.items() if like(k)) for mine in held.values()] for like in alike)
    found = next(found for found in counts if sum(found))
    return tuple(n / sum(found) for n in found)
