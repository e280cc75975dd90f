"""The federations that a board compares: how private samples are shared out, and which clients fail how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from fedmeki_bench.boards.rows import Scalar


@dataclass(frozen=True, slots=True)
class FederationChoice:
    """A partition of the private samples with its options, and faults; each has tables of its own.

    Attributes:
        partition: its name.
        options: the partition's own.
        faults: what is injected, keys of ``faults``.
        label: tells it from the board's others; empty where there are none.
    """

    partition: str
    options: tuple[tuple[str, Scalar], ...] = ()
    faults: tuple[tuple[str, Scalar], ...] = ()
    label: str = ""

    @property
    def in_full(self) -> dict[str, Scalar]:
        """Its options under their full names."""
        return {f"partition.{k}": v for k, v in self.options} | {f"faults.{k}": v for k, v in self.faults}


def federations_of(
    partitions: Sequence[str | Mapping[str, Mapping[str, Scalar]]], faults: Mapping[str, Mapping[str, Scalar]]
) -> list[FederationChoice]:
    """Every partition with every kind of fault.

    Args:
        partitions: names, or one name with its options; at least one.
        faults: heading -> what is injected; empty: nothing.
    """
    found = []
    for entry, (heading, injected) in product(partitions, (faults or {"": {}}).items()):
        name, options = (entry, {}) if isinstance(entry, str) else next(iter(entry.items()))
        said = partition_words(name, tuple(options.items()))
        label = ", ".join(filter(None, (said if len(partitions) > 1 else "", heading if len(faults) > 1 else "")))
        found.append(FederationChoice(name, tuple(options.items()), tuple(injected.items()), label))
    return found


def partition_words(name: str, options: Sequence[tuple[str, Scalar]]) -> str:
    """A partition as people read it: ``dirichlet alpha 0.3``."""
    return " ".join([name, *(f"{key} {value}" for key, value in options)])
