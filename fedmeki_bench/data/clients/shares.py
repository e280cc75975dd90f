"""A share of the patients, nested: the tenth that is kept first lies within the third that is kept first."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def rows_of_share(groups: ArrayLike, share: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """Rows of the first ``share`` of the patients in one permutation, in order.

    Two shares drawn from the same stream are nested, so that a curve over shares shows the amount of data and not the
    luck of separate draws.

    Args:
        groups: (n,) the patient of every row, in any type that sorts.
        share: in (0, 1]; at least one patient is kept, and 1 keeps every row.
        rng: the stream of the permutation.

    Raises:
        ValueError: the share is not in (0, 1].
    """
    if not 0 < share <= 1:
        raise ValueError(f"a share of the patients is in (0, 1], not {share}")
    patients, of_row = np.unique(np.asarray(groups), return_inverse=True)
    order = rng.permutation(len(patients))
    kept = np.zeros(len(patients), dtype=bool)
    # 0.1 of 30 patients is 3, also where the product of the floats is a little more
    kept[order[: max(1, math.ceil(share * len(patients) - 1e-9))]] = True
    return np.flatnonzero(kept[of_row]).astype(np.int64)
