"""A number in a unit."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from fedmeki_bench.kinds.kind import LabelSpec, OneNumber

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    Floats = NDArray[np.floating[Any]]

_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w.]*\d)")

_BANDS = 4


class Regression(OneNumber):
    """The label is a number; squared error of the standardised number; scores are numbers in the task's unit, (n,)."""

    name = "regression"
    metrics: ClassVar[tuple[str, ...]] = ("mae", "rmse", "r2", "pearson")
    tokens = 8

    def problem(self, label: Any, spec: LabelSpec) -> str:
        """See :class:`Kind`."""
        try:
            finite = not isinstance(label, (str, bytes)) and math.isfinite(float(label))
        except (TypeError, ValueError):
            finite = False
        return "" if finite else "not a finite number"

    def from_cell(self, text: str, spec: LabelSpec) -> float:
        """A finite number."""
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise ValueError("a finite number")
        return value

    def column(self, labels: Sequence[Any]) -> Any:
        """See :class:`Kind`."""
        import numpy as np

        return np.asarray([float(one) for one in labels], dtype=np.float32)

    def read(self, column: Sequence[Any], spec: LabelSpec) -> NDArray[Any]:
        """(n,) numbers, float32."""
        import numpy as np

        found = np.asarray(column, dtype=np.float32)
        if not np.isfinite(found).all():
            raise ValueError("a label is not a finite number")
        return found

    def turned(self, labels: NDArray[Any], spec: LabelSpec) -> NDArray[Any]:
        """As far on the other side of the mean."""
        return 2 * spec.centre - labels

    def described(self, labels: NDArray[Any], spec: LabelSpec) -> LabelSpec:
        """With mean and standard deviation of the private training labels; 1 where they are all alike."""
        if not len(labels):
            return spec
        spread = float(labels.astype("float64").std())
        return replace(spec, centre=round(float(labels.astype("float64").mean()), 6), spread=round(spread, 6) or 1.0)

    def counts(self, labels: NDArray[Any], spec: LabelSpec) -> dict[str, Any]:
        """Nothing: a mean per split would tell of the test split."""
        return {}

    def strata(self, labels: NDArray[Any], spec: LabelSpec) -> NDArray[np.int64]:
        """The quarter of these samples that a number lies in, from 0."""
        import numpy as np

        edges = np.quantile(labels, np.arange(1, _BANDS) / _BANDS) if len(labels) else []
        return np.searchsorted(edges, labels, side="left").astype(np.int64)

    def targets(self, labels: NDArray[Any], spec: LabelSpec) -> NDArray[Any]:
        """Standardised by the private training labels, float32."""
        import numpy as np

        return ((labels - np.float32(spec.centre)) / np.float32(spec.spread)).astype(np.float32)

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Mean squared error."""
        from torch.nn.functional import mse_loss

        return mse_loss(logits.float(), targets)

    def scores(self, logits: Tensor, spec: LabelSpec) -> Floats:
        """Numbers in the task's unit, (n,)."""
        found: Floats = (logits.double() * spec.spread + spec.centre).cpu().numpy()
        return found

    def words(self, label: Any, spec: LabelSpec) -> str:
        """The number with at most two decimals."""
        text = f"{float(label):.2f}".rstrip("0").rstrip(".")
        return "0" if text == "-0" else text

    def parse(self, text: str, spec: LabelSpec) -> float | None:
        """Exactly one number may occur."""
        found = _NUMBER.findall(text)
        return float(found[0]) if len(found) == 1 else None

    def decided(self, parsed: Sequence[Any], labels: NDArray[Any], spec: LabelSpec) -> Floats:
        """The numbers, (n,); where unparsed, that end of the range of the labels which is further off."""
        import numpy as np

        low, high = (float(labels.min()), float(labels.max())) if len(labels) else (0.0, 0.0)
        worst = np.where(labels - low > high - labels, low, high)
        rows = [float(w) if one is None else float(one) for one, w in zip(parsed, worst, strict=True)]
        return np.asarray(rows, dtype=np.float64)

    def _label(self, one: Any) -> Any:
        return float(one)
