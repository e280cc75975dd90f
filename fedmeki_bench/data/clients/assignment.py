"""Which client holds which private samples, with a digest that names the outcome."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fedmeki_bench.data.clients.availability import Availability
from fedmeki_bench.data.clients.partition import Partition, partition
from fedmeki_bench.errors import InputError

if TYPE_CHECKING:
    from fedmeki_bench.data.cohort import Cohort, CohortPart


@dataclass(frozen=True)
class Assignment:
    """The private samples of every client.

    Attributes:
        parts: per client, task -> samples; a task the client has nothing of is absent.
        digest: SHA-256 over task, client and sample ids (16 hex digits): equal digests, equal federations.
    """

    parts: list[dict[str, CohortPart]]
    digest: str

    def counts(self) -> dict[str, list[dict[str, Any]]]:
        """Task -> per client ``n`` samples, ``groups``, ``positive`` ones (or None) and, of some kinds, ``classes``."""
        found: dict[str, list[dict[str, Any]]] = {}
        for task in sorted({t for held in self.parts for t in held}):
            rows = []
            for held in self.parts:
                part = held.get(task)
                rows.append({"n": 0, "groups": 0, "positive": 0} if part is None else _count(part))
            found[task] = rows
        return found


def assign(
    cohorts: Mapping[str, Cohort], how: Partition, clients: int, seed: int, availability: Availability | None = None
) -> Assignment:
    """Assign the ``client`` split of every cohort to clients; one seed gives every algorithm the same assignment."""
    matrix = availability or Availability()
    held: list[dict[str, CohortPart]] = [{} for _ in range(clients)]
    digest = hashlib.sha256()
    for name in sorted(cohorts):
        cohort = cohorts[name]
        part, optional = cohort.part("client"), frozenset(cohort.optional)
        lacking = [matrix.lacking(client, optional, clients, seed) for client in range(clients)]
        holders = matrix.holders(optional.symmetric_difference(cohort.arrays), clients, seed)
        holders = [client for client in holders if lacking[client] != frozenset(cohort.arrays)]
        if not holders:
            raise InputError(f"no client holds any modality of task {name!r}: give one to a client")
        for client, index in zip(holders, partition(part, how, len(holders), seed), strict=True):
            mine = part.take(index)
            if lacking[client]:
                mine = mine.hiding(lacking[client])
                digest.update(f"{name}\x1f{client}\x1fwithout {', '.join(sorted(lacking[client]))}\x1d".encode())
            held[client][name] = mine
            digest.update(f"{name}\x1f{client}\x1f{chr(30).join(mine.sample_ids)}\x1d".encode())
    return Assignment(held, digest.hexdigest()[:16])


def label_shares(held: Mapping[str, Any]) -> str:
    """What a client's samples are, in words that follow their number: ``, 30 % positive``."""
    n, positive, classes = held.get("n"), held.get("positive"), held.get("classes")
    if not n:
        return ""
    if classes:
        return "".join(f", {100 * count / n:.0f} % {name}" for name, count in classes.items())
    return "" if positive is None else f", {100 * positive / n:.0f} % positive"


def _count(part: CohortPart) -> dict[str, Any]:
    labels = part.labels
    told = {} if labels is None else part.cohort.kind.counts(labels, part.cohort.labels)
    return {
        "n": len(part),
        "groups": len(set(part.group_ids.tolist())),
        "positive": told.pop("positive", None),
    } | {name: count for name, count in told.items() if name == "classes"}
