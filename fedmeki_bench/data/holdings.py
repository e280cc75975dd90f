"""Which rows of an array file a sample's arrays are, where samples have several arrays of a modality, or none.

Most cohorts have one array of each modality per sample, and ``array_row`` says which. Where samples differ (see
``ArraySpec.counted``), the sample table has ``<modality>_row``, the first row, and ``<modality>_count``, how many rows
from there on are the sample's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from fedmeki_bench.data.contract import ArraySpec


def columns_of(modality: str) -> tuple[str, str]:
    """The columns that say where a modality's arrays begin and how many there are."""
    return f"{modality}_row", f"{modality}_count"


def there(modality: str) -> str:
    """The key under which a batch says which arrays of a modality are there."""
    return f"{modality}_there"


def counted(specs: Mapping[str, ArraySpec]) -> tuple[str, ...]:
    """The modalities of which samples may have several arrays, or none."""
    return tuple(modality for modality, spec in specs.items() if spec.counted)


def spread(first: np.ndarray, count: np.ndarray) -> np.ndarray:
    """The rows of all samples one after another: from ``first`` (n,) on, ``count`` (n,) of each."""
    import numpy as np

    before = np.cumsum(count) - count
    found: np.ndarray = np.repeat(first - before, count) + np.arange(int(count.sum()))
    return found


def arrays_of(first: np.ndarray, count: np.ndarray, spec: ArraySpec) -> tuple[np.ndarray, np.ndarray | None]:
    """The rows of samples' arrays one after another, and which of (n, K) they are; None where each has just one.

    Args:
        first, count: (n,) each, of these samples.
        spec: how the modality is stored, with ``K = spec.many``.
    """
    import numpy as np

    if not spec.counted:
        return first, None
    return spread(first, count), np.arange(spec.many) < count[:, None]


def rows_of(samples: pd.DataFrame, modality: str) -> np.ndarray:
    """The rows of ``<modality>.npy`` that hold the arrays of these samples, in the samples' order."""
    import numpy as np

    first, count = columns_of(modality)
    if first not in samples:
        return np.asarray(samples["array_row"], dtype=np.int64)
    return spread(samples[first].to_numpy(dtype=np.int64), samples[count].to_numpy(dtype=np.int64))
