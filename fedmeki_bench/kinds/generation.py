"""Answers in free text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from fedmeki_bench.kinds.kind import Kind, LabelSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Generation(Kind):
    """There is no label: the gold answer is free text, and metrics compare texts.

    Clients have light encoders and never see the foundation model, so they can't train on texts: they train on concepts
    that answers name, such as findings, and the server's injection on the answers of public data.
    """

    name = "generation"
    labelled = False
    metrics: ClassVar[tuple[str, ...]] = ("token_f1", "bleu1", "rougeL")

    def learnt(self, spec: LabelSpec, concepts: Sequence[str]) -> LabelSpec | None:
        """Which concepts an answer names, as findings."""
        return LabelSpec("multilabel", tuple(concepts)) if concepts else None

    def counts(self, labels: NDArray[Any], spec: LabelSpec) -> dict[str, Any]:
        """Nothing."""
        return {}

    def strata(self, labels: NDArray[Any], spec: LabelSpec) -> NDArray[np.int64]:
        """All alike."""
        import numpy as np

        return np.zeros(len(labels), dtype=np.int64)

    def words(self, label: Any, spec: LabelSpec) -> str:
        """The answer itself."""
        return str(label)

    def parse(self, text: str, spec: LabelSpec) -> str | None:
        """The stripped text."""
        return text.strip() or None
