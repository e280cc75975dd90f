"""Near-duplicate pictures: the correlation of 32 x 32 box-mean thumbnails, in blocks.

The same picture at another size or compression correlates at 0.9998 or more, different chest X-rays stay below 0.983
(measured on RSNA against COVID-19 Radiography), so 0.995 separates them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

SIDE = 32
THRESHOLD = 0.995
_BLOCK = 4096
"""Rows per block: a block of correlations is 64 MB, whatever the number of pictures."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two pictures that are nearly the same: their rows in the two arrays, and the correlation."""

    left: int
    right: int
    correlation: float


def thumbnails(pictures: np.ndarray) -> np.ndarray:
    """(n, 1, S, S) grey levels -> (n, 1024) standardised thumbnails, so that a dot product is a correlation.

    A picture without contrast becomes zeros and matches nothing. S may be any size of at least 32.
    """
    import numpy as np

    size = pictures.shape[-1]
    edges = np.arange(SIDE) * size // SIDE
    areas = np.diff(np.append(edges, size)).astype(np.float32)
    found = np.empty((len(pictures), SIDE * SIDE), dtype=np.float32)
    for start in range(0, len(pictures), 256):
        block = np.asarray(pictures[start : start + 256, 0], dtype=np.float32)
        rows = np.add.reduceat(block, edges, axis=1) / areas[:, None]
        boxes = np.add.reduceat(rows, edges, axis=2) / areas
        flat = boxes.reshape(len(block), -1)
        flat -= flat.mean(axis=1, keepdims=True)
        norm = np.linalg.norm(flat, axis=1, keepdims=True)
        found[start : start + 256] = np.where(norm > 1e-3, flat / np.maximum(norm, 1e-3), 0.0)
    return found


def pairs(left: np.ndarray, right: np.ndarray | None = None, *, threshold: float = THRESHOLD) -> Iterator[Pair]:
    """Pairs above the threshold between two sets of thumbnails, or within one (``left`` before ``right``)."""
    import numpy as np

    other = left if right is None else right
    for i in range(0, len(left), _BLOCK):
        for j in range(i if right is None else 0, len(other), _BLOCK):
            block = left[i : i + _BLOCK] @ other[j : j + _BLOCK].T
            for a, b in np.argwhere(block > threshold):
                row, column = int(i + a), int(j + b)
                if right is not None or row < column:
                    yield Pair(row, column, float(block[a, b]))
