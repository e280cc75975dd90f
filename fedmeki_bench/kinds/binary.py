"""Yes or no."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from fedmeki_bench.kinds.kind import LabelSpec, OneNumber
from fedmeki_bench.kinds.names import plain_words

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    Floats = NDArray[np.floating[Any]]

THRESHOLD = 0.5
"""A probability at or above this counts as a prediction of the positive class."""


class Binary(OneNumber):
    """Label 1 or 0; one logit, binary cross-entropy; the score is the probability of yes."""

    name = "binary"
    whole = True
    metrics: ClassVar[tuple[str, ...]] = (
        *("auroc", "auprc", "accuracy", "precision", "recall", "f1", "mcc"),
        *("sensitivity_at_90", "brier_skill"),
    )
    threshold = True
    tokens = 6

    def problem(self, label: Any, spec: LabelSpec) -> str:
        """See :class:`Kind`."""
        return "not 0 or 1" if isinstance(label, str) or label not in (0, 1) else ""

    def from_cell(self, text: str, spec: LabelSpec) -> int:
        """1 or 0, yes or no, true or false."""
        said = {"1": 1, "yes": 1, "true": 1, "1.0": 1, "0": 0, "no": 0, "false": 0, "0.0": 0}.get(text.strip().lower())
        if said is None:
            raise ValueError("1 or 0, yes or no, true or false")
        return said

    def column(self, labels: Sequence[Any]) -> Any:
        """See :class:`Kind`."""
        import numpy as np

        return np.asarray([int(one) for one in labels], dtype=np.int8)

    def read(self, column: Sequence[Any], spec: LabelSpec) -> NDArray[Any]:
        """(n,) of 0.0 and 1.0, float32."""
        import numpy as np

        found = np.asarray(column, dtype=np.float32)
        if not np.isin(found, (0, 1)).all():
            raise ValueError("a label is neither 0 nor 1")
        return found

    def counts(self, labels: NDArray[Any], spec: LabelSpec) -> dict[str, Any]:
        """``negative`` and ``positive``."""
        positive = int(labels.sum())
        return {"negative": len(labels) - positive, "positive": positive}

    def strata(self, labels: NDArray[Any], spec: LabelSpec) -> NDArray[np.int64]:
        """The labels."""
        import numpy as np

        return labels.astype(np.int64)

    def turned(self, labels: NDArray[Any], spec: LabelSpec) -> NDArray[Any]:
        """1 for 0."""
        return 1 - labels

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Binary cross-entropy, in float32 at least."""
        from torch.nn.functional import binary_cross_entropy_with_logits

        return binary_cross_entropy_with_logits(logits if logits.dtype.itemsize > 4 else logits.float(), targets)

    def soft(self, logits: Tensor) -> Tensor:
        """See :class:`Kind`."""
        return logits.sigmoid()

    def scores(self, logits: Tensor, spec: LabelSpec) -> Floats:
        """Probability of the positive class, (n,)."""
        import torch

        found: Floats = torch.sigmoid(logits.double()).cpu().numpy()
        return found

    def words(self, label: Any, spec: LabelSpec) -> str:
        """``yes`` or ``no``."""
        return "yes" if label else "no"

    def candidates(self, spec: LabelSpec) -> tuple[str, ...]:
        """``no`` and ``yes``."""
        return ("no", "yes")

    def from_likelihood(self, likelihood: Tensor, spec: LabelSpec) -> Floats:
        """Likelihood of yes against no."""
        import torch

        found: Floats = torch.softmax(likelihood.double(), dim=1)[:, 1].cpu().numpy()
        return found

    def parse(self, text: str, spec: LabelSpec) -> int | None:
        """Exactly one of the words yes and no may occur."""
        said = set(plain_words(text)) & {"yes", "no"}
        return int("yes" in said) if len(said) == 1 else None

    def decided(self, parsed: Sequence[Any], labels: NDArray[Any], spec: LabelSpec) -> Floats:
        """1 for yes and 0 for no, (n,)."""
        import numpy as np

        pairs = zip(parsed, labels, strict=True)
        return np.asarray([1 - int(label) if one is None else int(one) for one, label in pairs], dtype=np.float64)

    def _label(self, one: Any) -> Any:
        return int(one)
