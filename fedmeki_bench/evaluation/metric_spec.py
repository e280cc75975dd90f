"""What a metric is, and everything a table must say about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from fedmeki_bench.kinds.binary import THRESHOLD as THRESHOLD

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]
    Labels = NDArray[Any]


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """A metric and everything a table must say about it.

    Attributes:
        name: identifier in records and on the command line.
        version: raised whenever the formula changes a value.
        title: column header.
        definition: one sentence, printed below every table that shows the metric.
        direction: whether ``higher`` or ``lower`` is better.
        range: smallest and largest possible value.
        kinds: the kinds of task it applies to; none for all.
        needs: ``score`` if the probability itself matters, ``label`` if only its side of :data:`THRESHOLD` does,
            ``answer`` if what it decides does otherwise (the likeliest class, the number): of answers in words these
            two take what was read from them; ``threshold`` if only its side of the threshold does that was chosen on
            `valid` (the function gets 1 and 0 as scores), ``text`` if it compares a generated text with the gold one.
        function: ``(labels, scores, weights) -> values`` with shapes (n,), (n,), (B, n) and (B,); labels and scores
            are (n, K) where the kind has a column per class or finding. A text metric gets its values per sample as
            scores (see :func:`weighted_mean`).
        undefined: why the value may be NaN, in words that fit behind "undefined:".
        per_sample: of a text metric, ``(gold, predicted) -> value``; ``predicted`` is None where nothing could be
            read from the answer, and NaN means that the sample does not count.
        note: what a record must say beside every value, such as a resource that was missing.
        interval: the method of its interval over patients, a key of
            :data:`~fedmeki_bench.evaluation.interval_methods.METHODS`, or ``resampled``: the percentile bootstrap,
            which suits any function and covers too rarely on few patients.
        margin: the smallest difference that matters, where a board declares none, in the metric's own units.
        remark: ``(labels, classes) -> text``: what a record must say beside the value on these samples, such as classes
            that are left out of a mean.
    """

    name: str
    version: int
    title: str
    definition: str
    direction: Literal["higher", "lower"]
    range: tuple[float, float]
    kinds: tuple[str, ...]
    needs: Literal["score", "label", "answer", "threshold", "text"]
    function: Callable[[Labels, Floats, Floats], Floats]
    undefined: str = "the samples do not determine it"
    per_sample: Callable[[str, str | None], float] | None = None
    note: str = ""
    interval: str = "resampled"
    margin: float = 0.01
    remark: Callable[[Labels, Sequence[str]], str] | None = None

    def applies(self, kind: str) -> bool:
        """Whether it is a metric of tasks of this kind."""
        return not self.kinds or kind in self.kinds

    def __call__(self, labels: Labels, scores: Floats) -> float:
        """The metric of (n,) labels and (n,) scores, every sample counted once; NaN where undefined."""
        import numpy as np

        return float(self.function(labels, scores, np.ones((1, len(labels))))[0])
