"""Which client holds which private samples, with a digest that names the outcome."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fedmeki_bench.data.clients.availability import Availability
from fedmeki_bench.data.clients.holding import Holding
from fedmeki_bench.data.clients.partition import Partition, partition, partition_together
from fedmeki_bench.errors import InputError
from fedmeki_bench.seeds import generator

if TYPE_CHECKING:
    import numpy as np

    from fedmeki_bench.data.cohort import Cohort, CohortPart


@dataclass(frozen=True)
class Assignment:
    """The private samples of every client.

    Attributes:
        parts: per client, task -> samples, or what is told of them where they are elsewhere; a task the client has
            nothing of is absent.
        digest: SHA-256 over task, client and sample ids (16 hex digits): equal digests, equal federations.
    """

    parts: Sequence[Mapping[str, Any]]
    digest: str

    def counts(self) -> dict[str, list[dict[str, Any]]]:
        """Task -> per client ``n`` samples, ``groups``, ``positive`` ones (or None) and, of some kinds, ``classes``."""
        found: dict[str, list[dict[str, Any]]] = {}
        for task in sorted({t for held in self.parts for t in held}):
            rows = []
            for held in self.parts:
                part = held.get(task)
                rows.append({"n": 0, "groups": 0, "positive": 0} if part is None else dict(Holding.of(part).counts))
            found[task] = rows
        return found


def assign(
    cohorts: Mapping[str, Cohort], how: Partition, clients: int, seed: int, availability: Availability | None = None, *,
    pooled: bool = False,
) -> Assignment:  # fmt: skip
    """Assign the ``client`` split of every cohort to clients; one seed gives every algorithm the same assignment.

    A group that several tasks of a dataset use sits with the same client in all of them, unless labels decide who gets
    what (``Partition.by_labels``) or other clients hold a task's modalities. Then every client keeps the share of its
    groups that the availability names, the same ones in all tasks that are dealt at once.

    Args:
        pooled: one place has what these clients have together, whoever of them lacks a modality.

    Raises:
        InputError: nobody holds what a task needs, or no sample of it is left.
    """
    import numpy as np

    matrix = availability or Availability()
    parts = {name: cohorts[name].part("client") for name in sorted(cohorts)}
    holders = {name: _holders(cohorts[name], matrix, clients, seed) for name in parts}
    found: dict[str, list[np.ndarray]] = {}
    for names in _together(parts, holders, how):
        chosen = {name: parts[name] for name in names}
        if len(names) > 1:
            dealt = partition_together(chosen, how, len(holders[names[0]]), seed)
        else:
            dealt = {names[0]: partition(parts[names[0]], how, len(holders[names[0]]), seed)}
        found |= dealt if matrix.whole else _shares(chosen, dealt, holders[names[0]], matrix, seed)
    if pooled:
        found = {name: [np.sort(np.concatenate(index))] for name, index in found.items()}
        clients, holders, matrix = 1, {name: [0] for name in parts}, Availability()
    held: list[dict[str, CohortPart]] = [{} for _ in range(clients)]
    digest = hashlib.sha256()
    for name, part in parts.items():
        for client, index in zip(holders[name], found[name], strict=True):
            if not len(index):
                continue
            mine = part.take(index)
            if lacking := matrix.lacking(client, cohorts[name].optional, clients, seed):
                mine = mine.hiding(lacking)
                digest.update(f"{name}\x1f{client}\x1fwithout {', '.join(sorted(lacking))}\x1d".encode())
            held[client][name] = mine
            digest.update(f"{name}\x1f{client}\x1f{chr(30).join(mine.sample_ids)}\x1d".encode())
    return Assignment(held, digest.hexdigest()[:16])


def _shares(
    parts: Mapping[str, CohortPart], dealt: Mapping[str, Sequence[np.ndarray]], holders: Sequence[int],
    matrix: Availability, seed: int,
) -> dict[str, list[np.ndarray]]:  # fmt: skip
    """Of every client's samples those of the patients that it keeps: the first ones in an order of its own.

    The order depends on seed, dataset and client, so that a share lies within every larger one, whatever is trained.

    Raises:
        InputError: no client keeps a sample of a task.
    """
    import numpy as np

    from fedmeki_bench.data.clients.shares import rows_of_share

    found: dict[str, list[np.ndarray]] = {name: [] for name in parts}
    dataset = next(iter(parts.values())).cohort.dataset
    for at, client in enumerate(holders):
        groups = np.concatenate([parts[name].group_ids[dealt[name][at]] for name in parts])
        rng = generator(seed, "share", dataset, client)
        kept = groups[rows_of_share(groups, matrix.fraction * matrix.labelled, rng)]
        for name, part in parts.items():
            index = dealt[name][at]
            found[name].append(index[np.isin(part.group_ids[index], kept)])
    if lacking := next((name for name, index in found.items() if not any(map(len, index))), None):
        raise InputError(
            f"fraction {matrix.fraction:g} and labelled {matrix.labelled:g} leave no client a sample of {lacking!r}: "
            "raise one of them"
        )
    return found


def _holders(cohort: Cohort, matrix: Availability, clients: int, seed: int) -> list[int]:
    """The clients that share a task's samples: they hold what every sample has, and something of the rest.

    Raises:
        InputError: there is none, or nobody holds a modality.
    """
    optional = frozenset(cohort.optional)
    found = matrix.holders([m for m in cohort.arrays if m not in optional], clients, seed)
    lacking = {client: matrix.lacking(client, optional, clients, seed) for client in found}
    for modality in sorted(optional):
        if all(modality in lacks for lacks in lacking.values()):
            raise InputError(f"no client of task {cohort.name!r} holds {modality}: give it to one of them")
    return [client for client in found if len(lacking[client]) < len(cohort.arrays)]


def _together(parts: Mapping[str, CohortPart], holders: Mapping[str, list[int]], how: Partition) -> list[list[str]]:
    """The tasks in sets that are shared out at once: of one dataset, with the same clients, and of different samples.

    Tasks with the same samples are shared out alike anyway, because the stream is the dataset's.
    """
    sets: dict[tuple[Any, ...], list[str]] = {}
    for name, part in parts.items():
        sets.setdefault((part.cohort.dataset, *holders[name]), []).append(name)
    found: list[list[str]] = []
    for names in sets.values():
        samples = {tuple(parts[name].sample_ids.tolist()) for name in names}
        found += [names] if len(samples) > 1 and not how.by_labels else [[name] for name in names]
    return found


def label_shares(held: Mapping[str, Any]) -> str:
    """What a client's samples are, in words that follow their number: ``, 30 % positive``."""
    n, positive, classes = held.get("n"), held.get("positive"), held.get("classes")
    if not n:
        return ""
    if classes:
        return "".join(f", {100 * count / n:.0f} % {name}" for name, count in classes.items())
    return "" if positive is None else f", {100 * positive / n:.0f} % positive"
