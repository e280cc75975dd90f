"""Any number of findings at once, each there, not there, or not annotated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from fedmeki_bench.kinds.kind import Kind, LabelSpec
from fedmeki_bench.kinds.names import named, plain_words, position

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    Floats = NDArray[np.floating[Any]]

NONE = "none"
"""The answer where no finding is there."""


class Multilabel(Kind):
    """The label holds 1, 0 or None (not annotated) per finding; K logits; scores are probabilities (n, K).

    A finding that was not annotated takes no part in loss and metrics. In an answer in words it counts as not there.
    """

    name = "multilabel"
    classed = True
    smallest = 1
    metrics: ClassVar[tuple[str, ...]] = ("auroc_macro", "auprc_macro", "f1_macro", "f1_micro")
    tokens = 96

    def problem(self, label: Any, spec: LabelSpec) -> str:
        """See :class:`Kind`."""
        wanted = f"not {len(spec.classes)} values of 1, 0 or None"
        if isinstance(label, (str, bytes)) or not hasattr(label, "__len__") or len(label) != len(spec.classes):
            return wanted
        values = list(label)
        if any(one is not None and (isinstance(one, str) or one not in (0, 1)) for one in values):
            return wanted
        return "" if any(one is not None for one in values) else "without any annotation: leave the row out"

    def from_cell(self, text: str, spec: LabelSpec) -> tuple[int, ...]:
        """Names of findings separated by semicolons, or none."""
        said = [part for part in text.split(";") if part.strip()]
        if [part.strip().lower() for part in said] == [NONE]:
            said = []
        there = {position(part, spec.classes) for part in said}
        return tuple(int(k in there) for k in range(len(spec.classes)))

    def column(self, labels: Sequence[Any]) -> Any:
        """See :class:`Kind`."""
        return [[None if one is None else int(one) for one in label] for label in labels]

    def read(self, column: Sequence[Any], spec: LabelSpec) -> NDArray[Any]:
        """(n, K) of 0, 1 and NaN, float32."""
        import numpy as np

        rows = [[np.nan if one is None else one for one in label] for label in column]
        found = np.asarray(rows, dtype=np.float32).reshape(len(rows), -1)
        if len(rows) and (found.shape[1] != len(spec.classes) or not np.isin(found[~np.isnan(found)], (0, 1)).all()):
            raise ValueError(f"a label does not hold 1, 0 or nothing for each of {len(spec.classes)} findings")
        return found.reshape(len(rows), len(spec.classes))

    def counts(self, labels: NDArray[Any], spec: LabelSpec) -> dict[str, Any]:
        """``classes``: finding -> samples that have it, ``annotated``: finding -> samples that say so or not."""
        import numpy as np

        told = ~np.isnan(labels)
        there, annotated = np.nansum(labels, axis=0), told.sum(axis=0)
        return {
            "classes": {name: int(n) for name, n in zip(spec.classes, there, strict=True)},
            "annotated": {name: int(n) for name, n in zip(spec.classes, annotated, strict=True)},
        }

    def strata(self, labels: NDArray[Any], spec: LabelSpec) -> NDArray[np.int64]:
        """The rarest finding that a sample has, counted from 1; 0 without any."""
        import numpy as np

        there = labels == 1
        rarity = np.argsort(there.sum(axis=0), kind="stable")
        found = np.zeros(len(labels), dtype=np.int64)
        for finding in rarity[::-1]:
            found[there[:, finding]] = finding + 1
        return found

    def turned(self, labels: NDArray[Any], spec: LabelSpec) -> NDArray[Any]:
        """1 for 0; what is not annotated stays so."""
        return 1 - labels

    def outputs(self, spec: LabelSpec) -> int:
        """A logit per finding."""
        return len(spec.classes)

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Binary cross-entropy, mean over what is annotated."""
        import torch
        from torch.nn.functional import binary_cross_entropy_with_logits

        told = ~torch.isnan(targets)
        each = binary_cross_entropy_with_logits(
            logits.float().reshape(targets.shape), torch.nan_to_num(targets), reduction="none"
        )
        return (each * told).sum() / told.sum().clamp(min=1)

    def soft(self, logits: Tensor) -> Tensor:
        """See :class:`Kind`."""
        return logits.sigmoid()

    def scores(self, logits: Tensor, spec: LabelSpec) -> Floats:
        """Probability of each finding, (n, K)."""
        import torch

        found: Floats = torch.sigmoid(logits.double()).reshape(len(logits), -1).cpu().numpy()
        return found

    def summands(self, labels: NDArray[Any], spec: LabelSpec) -> Floats:
        """The labels, (n, K)."""
        return labels

    def constant(self, means: Floats, spec: LabelSpec) -> Floats:
        """The shares of the samples that have each finding, (K,)."""
        import numpy as np

        return np.nan_to_num(means)

    def words(self, label: Any, spec: LabelSpec) -> str:
        """The findings that are there, in the order of the task's classes; ``none`` without any."""
        return ", ".join(name for name, one in zip(spec.classes, label, strict=True) if one == 1) or NONE

    def candidates(self, spec: LabelSpec) -> tuple[str, ...]:
        """``none`` and the findings."""
        return (NONE, *spec.classes)

    def from_likelihood(self, likelihood: Tensor, spec: LabelSpec) -> Floats:
        """Likelihood of naming the finding against saying none, (n, K): a ranking per finding, not calibrated."""
        import torch

        found: Floats = torch.sigmoid((likelihood[:, 1:] - likelihood[:, :1]).double()).cpu().numpy()
        return found

    def parse(self, text: str, spec: LabelSpec) -> tuple[int, ...] | None:
        """Findings, or none, and nothing denied."""
        said, nothing = named(text, spec.classes), NONE in plain_words(text)
        if said is None or bool(said) == nothing:
            return None
        return tuple(int(k in said) for k in range(len(spec.classes)))

    def decided(self, parsed: Sequence[Any], labels: NDArray[Any], spec: LabelSpec) -> Floats:
        """1 for the findings named, (n, K); the opposite of the label where unparsed."""
        import numpy as np

        rows = [np.nan_to_num(1 - label) if one is None else one for one, label in zip(parsed, labels, strict=True)]
        return np.asarray(rows, dtype=np.float64).reshape(len(rows), len(spec.classes))

    def _label(self, one: Any) -> Any:
        return tuple(None if value != value else int(value) for value in one.tolist())
