"""One of several classes, in no order or in one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from fedmeki_bench.kinds.kind import Kind, LabelSpec
from fedmeki_bench.kinds.names import named, position

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    Floats = NDArray[np.floating[Any]]


class Multiclass(Kind):
    """The label is the number of a class, from 0; K logits, cross-entropy; scores are probabilities (n, K)."""

    name = "multiclass"
    whole = True
    classed = True
    smallest = 2
    metrics: ClassVar[tuple[str, ...]] = (
        "auroc_macro", "top1", "balanced_accuracy_macro", "f1_macro", "auprc_macro", "ece_top1",
    )  # fmt: skip
    tokens = 24

    def problem(self, label: Any, spec: LabelSpec) -> str:
        """See :class:`Kind`."""
        number = not isinstance(label, (str, bool, float)) and hasattr(label, "__index__")
        fits = number and 0 <= label < len(spec.classes)
        return "" if fits else f"not the number of one of the {len(spec.classes)} classes, from 0"

    def from_cell(self, text: str, spec: LabelSpec) -> int:
        """The name of a class, whatever its case."""
        return position(text, spec.classes)

    def column(self, labels: Sequence[Any]) -> Any:
        """See :class:`Kind`."""
        import numpy as np

        return np.asarray([int(one) for one in labels], dtype=np.int16)

    def read(self, column: Sequence[Any], spec: LabelSpec) -> NDArray[Any]:
        """(n,) numbers of classes, int64."""
        import numpy as np

        found = np.asarray(column, dtype=np.int64)
        if len(found) and not 0 <= found.min() <= found.max() < len(spec.classes):
            raise ValueError(f"a label is not the number of one of {len(spec.classes)} classes")
        return found

    def counts(self, labels: NDArray[Any], spec: LabelSpec) -> dict[str, Any]:
        """``classes``: name -> samples."""
        import numpy as np

        sizes = np.bincount(labels, minlength=len(spec.classes))
        return {"classes": {name: int(size) for name, size in zip(spec.classes, sizes, strict=True)}}

    def strata(self, labels: NDArray[Any], spec: LabelSpec) -> NDArray[np.int64]:
        """The labels."""
        import numpy as np

        return labels.astype(np.int64)

    def turned(self, labels: NDArray[Any], spec: LabelSpec) -> NDArray[Any]:
        """The first class for the last, the second for the last but one, ...; the middle one of an odd number stays."""
        return len(spec.classes) - 1 - labels

    def outputs(self, spec: LabelSpec) -> int:
        """A logit per class."""
        return len(spec.classes)

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy."""
        from torch.nn.functional import cross_entropy

        return cross_entropy(logits.float(), targets)

    def soft(self, logits: Tensor) -> Tensor:
        """See :class:`Kind`."""
        return logits.softmax(dim=1)

    def scores(self, logits: Tensor, spec: LabelSpec) -> Floats:
        """Probabilities, (n, K)."""
        import torch

        found: Floats = torch.softmax(logits.double(), dim=1).cpu().numpy()
        return found

    def summands(self, labels: NDArray[Any], spec: LabelSpec) -> Floats:
        """Ones at the labels, (n, K)."""
        import numpy as np

        return np.eye(len(spec.classes))[labels]

    def constant(self, means: Floats, spec: LabelSpec) -> Floats:
        """The shares of the classes, (K,)."""
        return means

    def words(self, label: Any, spec: LabelSpec) -> str:
        """The name of the class."""
        return spec.classes[int(label)]

    def candidates(self, spec: LabelSpec) -> tuple[str, ...]:
        """The names of the classes."""
        return spec.classes

    def from_likelihood(self, likelihood: Tensor, spec: LabelSpec) -> Floats:
        """Likelihood of each name among all."""
        import torch

        found: Floats = torch.softmax(likelihood.double(), dim=1).cpu().numpy()
        return found

    def parse(self, text: str, spec: LabelSpec) -> int | None:
        """Exactly one class may be named, and nothing denied."""
        said = named(text, spec.classes)
        return next(iter(said)) if said is not None and len(said) == 1 else None

    def decided(self, parsed: Sequence[Any], labels: NDArray[Any], spec: LabelSpec) -> Floats:
        """1 for the class named, 0 for the others, (n, K); all 0 where unparsed, which is no class."""
        import numpy as np

        found = np.zeros((len(parsed), len(spec.classes)))
        for row, one in enumerate(parsed):
            if one is not None:
                found[row, int(one)] = 1.0
        return found


class Ordinal(Multiclass):
    """Classes in an order, lowest first: K - 1 logits, the k-th for "above level k".

    Frank and Hall, "A Simple Approach to Ordinal Classification", ECML 2001, learnt by one network as in Niu et al.,
    "Ordinal Regression with Multiple Output CNN", CVPR 2016. Where the probabilities of being above a level rise with
    the level, which they may and shouldn't, the smallest so far is taken.
    """

    name = "ordinal"
    smallest = 3
    metrics: ClassVar[tuple[str, ...]] = ("kappa_quadratic", "top1", "level_error", "auroc_macro", "f1_macro")

    def outputs(self, spec: LabelSpec) -> int:
        """A logit per level but the lowest."""
        return len(spec.classes) - 1

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Binary cross-entropy, mean over levels."""
        import torch
        from torch.nn.functional import binary_cross_entropy_with_logits

        if targets.dim() == 1:  # levels, not the probabilities that soft() gives
            targets = (targets[:, None] > torch.arange(logits.shape[1], device=targets.device)).float()
        return binary_cross_entropy_with_logits(logits.float(), targets)

    def soft(self, logits: Tensor) -> Tensor:
        """See :class:`Kind`."""
        return logits.sigmoid()

    def scores(self, logits: Tensor, spec: LabelSpec) -> Floats:
        """Probabilities of the levels, (n, K)."""
        import torch

        above = torch.cummin(torch.sigmoid(logits.double()), dim=1).values
        ends = torch.ones_like(above[:, :1]), torch.zeros_like(above[:, :1])
        steps = torch.cat([ends[0], above, ends[1]], dim=1)
        found: Floats = (steps[:, :-1] - steps[:, 1:]).cpu().numpy()
        return found
