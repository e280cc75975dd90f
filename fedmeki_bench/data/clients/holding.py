"""What is told of a client's samples where they are elsewhere: counts, and nothing of any one of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from fedmeki_bench.data.cohort import CohortPart

GroupKind: TypeAlias = tuple[str, int]
"""Site and stratum of a group (a patient)."""


@dataclass(frozen=True)
class Holding:
    """What the server knows of a client's samples of one task.

    Attributes:
        counts: samples ``n``, ``groups``, ``positive`` ones and, of some kinds, ``classes``, as records show them.
        lacking: modalities of which no sample has an array.
        present: modality -> how many samples have an array of it.
        kinds: site and stratum -> how many groups.
        sums: sums over samples of :meth:`Kind.summands`, one per column; empty where clients learn no labels.
        known: how many samples each of these sums is over.
    """

    counts: Mapping[str, Any]
    lacking: frozenset[str]
    present: Mapping[str, int]
    kinds: Mapping[GroupKind, int]
    sums: tuple[float, ...]
    known: tuple[int, ...]

    @classmethod
    def of(cls, part: CohortPart | Holding) -> Holding:
        """What is to be told of these samples."""
        if isinstance(part, Holding):
            return part
        spec = part.cohort.learnt
        told = {} if spec is None else spec.how.counts(part.learnt, spec)
        counts = {"n": len(part), "groups": len(set(part.group_ids.tolist())), "positive": told.pop("positive", None)}
        return cls(
            counts | {name: count for name, count in told.items() if name == "classes"},
            part.lacking,
            {modality: part.holding(modality) for modality in part.cohort.arrays},
            groups_by_kind(part),
            *label_sums(part),
        )

    def __len__(self) -> int:
        return int(self.counts["n"])

    def holding(self, modality: str) -> int:
        """How many samples have an array of the modality."""
        return self.present[modality]

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "counts": dict(self.counts), "lacking": sorted(self.lacking), "present": dict(self.present),
            "kinds": [[site, stratum, n] for (site, stratum), n in self.kinds.items()],
            "sums": list(self.sums), "known": list(self.known),
        }  # fmt: skip

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Holding:
        """What :meth:`to_json` gave."""
        return cls(
            told["counts"], frozenset(told["lacking"]), told["present"],
            {(str(site), int(stratum)): int(n) for site, stratum, n in told["kinds"]},
            tuple(told["sums"]), tuple(told["known"]),
        )  # fmt: skip


def groups_by_kind(part: CohortPart | Holding) -> Mapping[GroupKind, int]:
    """Site and stratum -> how many groups of these samples."""
    if isinstance(part, Holding):
        return part.kinds
    found: dict[GroupKind, int] = {}
    for kind in kinds_of_groups(part).values():
        found[kind] = found.get(kind, 0) + 1
    return found


def label_sums(part: CohortPart | Holding) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Sums over samples of :meth:`Kind.summands`, and over how many each is; empty where no labels are learnt."""
    import numpy as np

    if isinstance(part, Holding):
        return part.sums, part.known
    if (spec := part.cohort.learnt) is None:
        return (), ()
    columns = spec.how.summands(part.learnt, spec)
    return tuple(np.nansum(columns, axis=0).tolist()), tuple(np.isfinite(columns).sum(axis=0).tolist())


def kinds_of_groups(part: CohortPart) -> dict[str, GroupKind]:
    """Group -> its first sample's site, and the most frequent stratum of its samples, the highest of equals."""
    strata = part.strata
    numbers = [0] * len(part) if strata is None else strata.astype(int).tolist()
    sites: dict[str, str] = {}
    often: dict[str, dict[int, int]] = {}
    for group, site, number in zip(part.group_ids.tolist(), part.sites.tolist(), numbers, strict=True):
        sites.setdefault(group, str(site))
        count = often.setdefault(group, {})
        count[number] = count.get(number, 0) + 1
    return {g: (sites[g], max(count, key=lambda value: (count[value], value))) for g, count in often.items()}
