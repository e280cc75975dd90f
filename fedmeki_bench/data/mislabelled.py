"""Samples whose labels are wrong, as a client sees them that trains on them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from fedmeki_bench.data.cohort import CohortPart

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Mislabelled(CohortPart):
    """A part of a cohort some of whose labels are turned, see :meth:`Kind.turned`.

    Attributes:
        turned: which of the samples, (n,) of bool.
    """

    turned: NDArray[np.bool_]

    @classmethod
    def of(cls, part: CohortPart, turned: NDArray[np.bool_]) -> Mislabelled:
        """The same samples with these labels turned."""
        found = cls(part.cohort, part.split, part.rows, part.hidden)
        found.turned = turned
        return found

    def take(self, index: Sequence[int] | np.ndarray) -> Mislabelled:
        """See :class:`CohortPart`."""
        import numpy as np

        return self.of(super().take(index), self.turned[np.asarray(index, dtype=np.intp)])

    def hiding(self, modalities: Iterable[str]) -> Mislabelled:
        """See :class:`CohortPart`."""
        import numpy as np

        left = super().hiding(modalities)
        return self.of(left, self.turned[np.isin(self.rows, left.rows)])

    def _column(self, name: str) -> np.ndarray:
        import numpy as np

        values = super()._column(name)
        spec = {"label": self.cohort.labels, "concepts": self.cohort.learnt}.get(name)
        if spec is None:
            return values
        turned = self.turned.reshape(-1, *(1,) * (values.ndim - 1))
        return np.where(turned, spec.how.turned(values, spec), values).astype(values.dtype)
