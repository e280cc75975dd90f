"""The contract of a kind of task, and what one task's labels are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

from fedmeki_bench import registry
from fedmeki_bench.errors import RunFailed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class LabelSpec:
    """What the labels of one task are.

    Attributes:
        kind: name of the :class:`Kind`.
        classes: names of classes, levels (lowest first) or findings; empty for kinds that have none.
        unit: of a number.
        centre, spread: mean and standard deviation of a number over the private training samples; models are trained on
            ``(label - centre) / spread``.
    """

    kind: str
    classes: tuple[str, ...] = ()
    unit: str = ""
    centre: float = 0.0
    spread: float = 1.0

    @property
    def how(self) -> Kind:
        """The kind itself."""
        return kind(self.kind)

    def by_model(self, scores: Floats) -> Floats:
        """Scores with an axis of models in front, which they have already where every client has its own model."""
        return scores if scores.ndim > 1 + self.how.classed else scores[None]

    def as_json(self) -> dict[str, Any]:
        """Plain values, as a card holds them; :meth:`from_json` reads them."""
        return {"classes": list(self.classes), "unit": self.unit, "centre": self.centre, "spread": self.spread}

    @classmethod
    def from_json(cls, kind: str, told: Mapping[str, Any] | None) -> LabelSpec:
        """From what a card holds; a card of a kind without classes and numbers says nothing."""
        return cls(kind, **{**told, "classes": tuple(told["classes"])}) if told else cls(kind)


class Kind:
    """Base of all kinds; plug-ins are declared in the entry-point group ``fedmeki_bench.kinds``.

    A *label* is what ``Task.label`` returns for a row, *labels* are those of n samples as an array: (n,) or, with one
    column per finding, (n, K), NaN where a finding was not annotated. *Scores* are what a model says of n samples in
    the form that metrics take: (n,) or (n, K).

    Attributes:
        name: as registered.
        version: raised whenever the same labels and outputs give another loss or other scores.
        labelled: samples have labels; false where there are answers in words alone.
        whole: a label is one whole number.
        classed: tasks name ``classes``, and scores have a column for each.
        smallest: number of classes that a task needs at least.
        metrics: the metrics of a task that names none, the main one first.
        threshold: its metrics may need a threshold that is chosen on `valid`.
        tokens: how many tokens an answer in words may have.
    """

    name: ClassVar[str] = ""
    version: ClassVar[int] = 1
    labelled: ClassVar[bool] = True
    whole: ClassVar[bool] = False
    classed: ClassVar[bool] = False
    smallest: ClassVar[int] = 0
    metrics: ClassVar[tuple[str, ...]] = ()
    threshold: ClassVar[bool] = False
    tokens: ClassVar[int] = 32

    def learnt(self, spec: LabelSpec, concepts: Sequence[str]) -> LabelSpec | None:
        """What clients train on: the labels, or where there are none the ``concepts`` of answers; None without any."""
        return spec

    # Labels, from a task to disk and back

    def problem(self, label: Any, spec: LabelSpec) -> str:
        """Why this is no label of the task, to follow "the label is ...,"; empty if it is one."""
        raise NotImplementedError

    def column(self, labels: Sequence[Any]) -> Any:
        """The labels as a column of the sample table."""
        raise NotImplementedError

    def read(self, column: Sequence[Any], spec: LabelSpec) -> NDArray[Any]:
        """Labels from the sample table.

        Raises:
            ValueError: a value is no label of the task.
        """
        raise NotImplementedError

    def described(self, labels: NDArray[Any], spec: LabelSpec) -> LabelSpec:
        """The spec with what must be known of the private training labels, such as their mean."""
        return spec

    def counts(self, labels: NDArray[Any], spec: LabelSpec) -> dict[str, Any]:
        """What a data card says of a set of samples beside their number."""
        raise NotImplementedError

    def strata(self, labels: NDArray[Any], spec: LabelSpec) -> NDArray[np.int64]:
        """(n,) one small number per sample: what label skews, audits and tests over patients tell apart."""
        raise NotImplementedError

    def turned(self, labels: NDArray[Any], spec: LabelSpec) -> NDArray[Any]:
        """Wrong labels for all samples, for clients that are to train on them: the opposite, where there is one.

        Raises:
            RunFailed: the kind has no way to turn its labels.
        """
        raise RunFailed(f"labels of the kind {self.name!r} can't be turned: leave faults.flip_labels out")

    def from_cell(self, text: str, spec: LabelSpec) -> Any:
        """The label that a cell of a table states.

        Raises:
            ValueError: it states none; says what is expected.
        """
        raise ValueError(f"a kind without a way to read labels from tables ({self.name})")

    # Learning

    def outputs(self, spec: LabelSpec) -> int:
        """Width of the decoder's last layer."""
        raise NotImplementedError

    def targets(self, labels: NDArray[Any], spec: LabelSpec) -> NDArray[Any]:
        """What :meth:`loss` compares with, (n,) or (n, K)."""
        return labels

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The mean loss of a batch, from logits (n,) or (n, outputs)."""
        raise NotImplementedError

    def soft(self, logits: Tensor) -> Tensor:
        """Another model's logits as what :meth:`loss` compares with, for distillation: probabilities, or numbers."""
        return logits

    def scores(self, logits: Tensor, spec: LabelSpec) -> Floats:
        """Scores as float64."""
        raise NotImplementedError

    def summands(self, labels: NDArray[Any], spec: LabelSpec) -> Floats:
        """(n, K) values whose means over samples are all that :meth:`constant` needs; NaN does not count."""
        raise NotImplementedError

    def constant(self, means: Floats, spec: LabelSpec) -> Floats:
        """The score, () or (K,), of a predictor that knows the (K,) means of :meth:`summands` and nothing else."""
        raise NotImplementedError

    # Answers in words

    def words(self, label: Any, spec: LabelSpec) -> str:
        """The gold answer."""
        raise NotImplementedError

    def candidates(self, spec: LabelSpec) -> tuple[str, ...]:
        """Answers whose likelihood gives scores; empty where there are none."""
        return ()

    def from_likelihood(self, likelihood: Tensor, spec: LabelSpec) -> Floats:
        """Scores from the (n, candidates) log-likelihoods of the candidates."""
        raise NotImplementedError

    def parse(self, text: str, spec: LabelSpec) -> Any:
        """The label that a generated answer states, or None: an unclear answer is counted, never guessed."""
        raise NotImplementedError

    def decided(self, parsed: Sequence[Any], labels: NDArray[Any], spec: LabelSpec) -> Floats:
        """What parsed answers say, as scores; an unparsed answer (None) is as wrong as an answer can be."""
        raise NotImplementedError

    def gold(self, labels: NDArray[Any], spec: LabelSpec) -> NDArray[Any]:
        """Labels as objects of the kind that :meth:`words` takes, (n,)."""
        import numpy as np

        found = np.empty(len(labels), dtype=object)
        found[:] = [self._label(one) for one in labels]
        return found

    def _label(self, one: Any) -> Any:
        return one.item() if hasattr(one, "item") else one


class OneNumber(Kind):
    """Base of kinds whose label and score are one number: a decoder with one output, a constant that is a mean."""

    def outputs(self, spec: LabelSpec) -> int:
        """One."""
        return 1

    def summands(self, labels: NDArray[Any], spec: LabelSpec) -> Floats:
        """The labels, (n, 1)."""
        return labels.reshape(-1, 1)

    def constant(self, means: Floats, spec: LabelSpec) -> Floats:
        """Their mean, ()."""
        return means[0]


@cache
def kind(name: str) -> Kind:
    """The kind of that name.

    Raises:
        UsageError: there is none.
    """
    found: Kind = registry.load("kinds", name, files=False)()
    return found
