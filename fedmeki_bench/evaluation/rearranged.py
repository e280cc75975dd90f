"""Held-out samples whose arrays are not their own: of other patients, or blank. The questions stay."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fedmeki_bench.data.cohort import CohortPart

if TYPE_CHECKING:
    from torch import Tensor


class Swapped(CohortPart):
    """Every sample with the arrays of another patient's; an answer that comes from the picture goes with it.

    Args:
        part: the samples.
        rng: the stream of the order in which patients follow each other; each gets the arrays of the next.
    """

    def __init__(self, part: CohortPart, rng: np.random.Generator) -> None:
        super().__init__(part.cohort, part.split, part.rows, part.hidden)
        groups = part.group_ids
        members = {group: np.flatnonzero(groups == group) for group in rng.permutation(np.unique(groups))}
        names = list(members)
        self._from = np.arange(len(part))
        for here, after in zip(names, [*names[1:], *names[:1]], strict=True):
            theirs = members[after]
            self._from[members[here]] = theirs[np.arange(len(members[here])) % len(theirs)]

    def arrays_at(self, modality: str, index: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """See :class:`CohortPart`: those of the other patient."""
        return super().arrays_at(modality, self._from[index])

    def batch(self, index: Sequence[int] | np.ndarray, leaving: Collection[str] = ()) -> dict[str, np.ndarray]:
        """See :class:`CohortPart`; with the length of the other patient's series."""
        found = super().batch(index, leaving)
        if "hours" in found:
            found["hours"] = self._column("hours")[self._from[np.asarray(index, dtype=np.intp)]]
        return found


class Blank(CohortPart):
    """Every sample with inputs of zeros: what is answered then comes from the question and from nothing else."""

    def __init__(self, part: CohortPart) -> None:
        super().__init__(part.cohort, part.split, part.rows, part.hidden)

    def altered(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """See :class:`CohortPart`: zeros, where they are numbers and no marks of what is there."""
        numbers = {name for name, value in inputs.items() if value.is_floating_point()}
        return {name: value.new_zeros(value.shape) if name in numbers else value for name, value in inputs.items()}
