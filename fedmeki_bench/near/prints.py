"""What every search has in common: fingerprints, pairs, comparison in blocks, and joining pairs to sets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np

_BLOCK = 2048
"""Rows per block: a block of scores is 16 MB, whatever the number of samples."""


@dataclass(frozen=True)
class Prints:
    """Fingerprints of n samples.

    Attributes:
        arrays: name -> (n, ...), what the search compares.
        blank: (n,) whether a sample has no content (flat, black, nothing charted); such samples match nothing.
    """

    arrays: Mapping[str, np.ndarray]
    blank: np.ndarray

    def __len__(self) -> int:
        return len(self.blank)

    @classmethod
    def stacked(cls, parts: Sequence[Prints]) -> Prints:
        """The samples of all ``parts``, one after another; at least one part."""
        import numpy as np

        names = parts[0].arrays
        return cls(
            {name: np.concatenate([part.arrays[name] for part in parts]) for name in names},
            np.concatenate([part.blank for part in parts]),
        )


@dataclass(frozen=True)
class Pairs:
    """Pairs of samples that are nearly the same: rows on the left, rows on the right, and how alike, 0 to 1."""

    left: np.ndarray
    right: np.ndarray
    score: np.ndarray

    def __len__(self) -> int:
        return len(self.score)


class Search(Protocol):
    """Finds near-duplicates of one modality."""

    what: str
    """What a sample is called, in the plural."""
    blank: str
    """What is wrong with a sample without content, as a predicate."""
    threshold: float
    """Pairs score at least this."""

    def prints(self, values: np.ndarray) -> Prints | None:
        """Fingerprints of (n, \\*shape) stored arrays; None where the shape is too small to tell samples apart."""
        ...

    def pairs(self, left: Prints, right: Prints | None = None) -> Pairs:
        """Near-duplicates between two sets, or within one (then ``left`` < ``right``), ordered by row."""
        ...


def blocks(left: int, right: int | None) -> Iterator[tuple[slice, slice]]:
    """The blocks of a comparison of ``left`` with ``right`` rows, or of one set with itself (upper triangle)."""
    for i in range(0, left, _BLOCK):
        for j in range(i if right is None else 0, left if right is None else right, _BLOCK):
            yield slice(i, i + _BLOCK), slice(j, j + _BLOCK)


def placed(rows: slice, columns: slice, found: np.ndarray, *, within: bool) -> np.ndarray:
    """Positions (m, 2) in a block as positions in the whole; within one set only those with left < right."""
    import numpy as np

    whole = found + np.array([rows.start, columns.start])
    return whole[whole[:, 0] < whole[:, 1]] if within else whole


def row_products(left: np.ndarray, right: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The product of row ``i`` of ``left`` with row ``j`` of ``right`` for each (i, j) of ``places``."""
    import numpy as np

    found = np.empty(len(places), dtype=np.float32)
    for start in range(0, len(places), _BLOCK):
        i, j = places[start : start + _BLOCK].T
        a, b = left[i].astype(np.float32), right[j].astype(np.float32)
        found[start : start + _BLOCK] = np.einsum("nd,nd->n", a, b)
    return found


def joined_groups(groups: Sequence[str], left: np.ndarray, right: np.ndarray) -> dict[str, str]:
    """Group -> first group (by name) of the set that pairs of samples join it with; groups on their own are left out.

    Args:
        groups: the group of each sample.
        left, right: rows of the samples that belong together, pair by pair.
    """
    import numpy as np
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    names, member = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    edges = coo_array((np.ones(len(left), dtype=bool), (member[left], member[right])), shape=(len(names),) * 2)
    _, part = connected_components(edges, directed=False)
    first = np.full(int(part.max(initial=-1)) + 1, len(names))
    np.minimum.at(first, part, np.arange(len(names)))
    several = np.bincount(part)[part] > 1
    return {str(names[k]): str(names[first[part[k]]]) for k in np.flatnonzero(several)}
