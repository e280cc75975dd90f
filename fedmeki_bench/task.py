"""What a task is: a clinical question with data, label or answer, prompt and metrics.

A task never reads files. A dataset preparer hands it the rows of the dataset's own tables; the task says what
the label of a row is, or why the row is left out. So a new question about data that is already prepared is one
short module.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from typing_extensions import Self

from fedmeki_bench.errors import InputError, nearest
from fedmeki_bench.kinds.kind import LabelSpec

Row = Mapping[str, Any]

ROLES = ("training", "zero_shot")

TEXT = "text"
"""The modality that the question itself brings: no encoder reads it, the foundation model does."""


@dataclass(frozen=True, slots=True)
class Clinical:
    """The clinical frame of a task: what is asked, about whom, and at which moment of care."""

    what: str
    who: str
    when: str


@dataclass(frozen=True, slots=True)
class TaskMeta:
    """Everything a leaderboard or a reader needs to know about a task without running it.

    Attributes:
        name: the identifier used on the command line, e.g. ``ecg_abnormal``.
        version: raised whenever labels, rows or prompts change; boards never mix versions.
        dataset: the name of the dataset preparer whose rows this task reads.
        modalities: what the model sees, e.g. ``("image",)``; ``text`` where a sample brings text of its own, which
            :meth:`Task.question` puts into the question.
        kind: what a label is: ``binary``, ``multiclass``, ``multilabel``, ``ordinal``, ``regression``, ``generation``
            (free-text answers), or another of the plug-in group ``fedmeki_bench.kinds``.
        role: ``training``, or ``zero_shot`` for tasks that are never trained on.
        metrics: names of metrics, the main one first; by default those of the kind.
        grouping: the unit that never crosses splits, e.g. ``patient`` or ``image``.
        positive: what label 1 of a binary task means, in words.
        classes: names of the classes, of the levels (lowest first) or of the findings, as they are said in answers.
        unit: of the number that a regression asks for.
        concepts: of a task whose answers are free text and that is trained on: names of what answers may say, such as
            findings. Clients train their encoders to tell which of them an answer names (:meth:`Task.concepts`).
        needs: an option of its dataset (true or false) without which the task is not prepared, such as one that lets it
            train on what a zero-shot task would else be asked about.
        asks: what the foundation model is asked about every row, as the end of a sentence with the finding last, e.g.
            "is there a lung opacity"; ``clinical.what`` if not given.
        trained_by: for zero-shot tasks, the training task whose single-task federation (scope ``s``) answers them.
        patients: the collection the patients come from, where several datasets draw on one; the dataset by default.
            Tasks of one collection are not independent evidence.
        context: the setting in which the question is asked, where one question means different things in different
            settings; the description should name it. Only an oracle gate reads it; the task's name if not given.
    """

    name: str
    version: int
    title: str
    dataset: str
    modalities: tuple[str, ...]
    kind: str
    role: Literal["training", "zero_shot"]
    clinical: Clinical
    licence: str
    access: str
    citation: str
    grouping: str
    positive: str = ""
    classes: tuple[str, ...] = ()
    unit: str = ""
    concepts: tuple[str, ...] = ()
    needs: str = ""
    asks: str = ""
    trained_by: str = ""
    patients: str = ""
    context: str = ""
    metrics: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise ValueError(f"the role of task {self.name!r} is {self.role!r}; {nearest(str(self.role), ROLES)}")
        how = self.labels.how
        if how.classed and len(set(self.classes)) < max(how.smallest, len(self.classes)):
            raise ValueError(
                f"task {self.name!r} of kind {self.kind} needs {how.smallest} or more different classes, has "
                f"{len(self.classes)}"
            )
        if self.classes and not how.classed:
            raise ValueError(f"task {self.name!r} of kind {self.kind} names classes, and the kind has none")
        if self.concepts and how.labelled:
            raise ValueError(f"task {self.name!r} of kind {self.kind} names concepts, and its clients train on labels")
        if not self.metrics:
            object.__setattr__(self, "metrics", how.metrics)

    @property
    def arrays(self) -> tuple[str, ...]:
        """The modalities that are stored as arrays and read by encoders: all but ``text``."""
        return tuple(modality for modality in self.modalities if modality != TEXT)

    @property
    def learnt(self) -> LabelSpec | None:
        """What clients train on: the labels, or the concepts of its answers; None of a task that has neither."""
        return self.labels.how.learnt(self.labels, self.concepts)

    @property
    def labels(self) -> LabelSpec:
        """What its labels are; of a regression without the statistics of a cohort."""
        return LabelSpec(self.kind, self.classes, self.unit)


@dataclass(frozen=True, slots=True)
class Exclude:
    """Returned instead of a label: the row takes no part in the task, for this stated reason."""

    reason: str


class Task:
    """Base of all tasks: set ``meta`` and define :meth:`label` (or :meth:`answer`) and :meth:`prompt`.

    Attributes:
        wordings: other ways to put the same question, each with ``{question}`` once and an end that an answer follows.
        wording: in which of them it is put: 0 is :meth:`prompt`.
    """

    meta: ClassVar[TaskMeta]
    wordings: ClassVar[tuple[str, ...]] = ("Question: {question}\nAnswer:", "{question}\nThe answer is:")
    wording: int = 0
    definition: ClassVar[Mapping[str, Any] | None] = None  # of a task that a file defines and no class

    def label(self, row: Row) -> Any | Exclude:
        """The label of a row, or why the row is left out; tasks of every kind but ``generation`` define this.

        ``binary``: 1 or 0. ``multiclass``, ``ordinal``: the number of the class, from 0. ``multilabel``: 1, 0 or None
        (not annotated) for each of ``meta.classes``. ``regression``: a number.
        """
        raise NotImplementedError(f"task {self.meta.name!r} defines no label")

    def question(self, row: Row) -> str:
        """The question put to the foundation model about this row; one fixed question by default."""
        return self.meta.asks or self.meta.clinical.what

    def answer(self, row: Row) -> str | Exclude:
        """The gold answer in words: ``yes`` or ``no``, the name of a class, findings, a number, or free text.

        Tasks of the kind ``generation`` define this.
        """
        label = self.label(row)
        return label if isinstance(label, Exclude) else self.meta.labels.how.words(label, self.meta.labels)

    def concepts(self, row: Row) -> Collection[str]:
        """Which of ``meta.concepts`` the answer of a row names; what is trained on in the place of a label.

        A client must be able to find them by itself, in its own report, as :func:`fedmeki_bench.api.concepts` does.
        """
        raise NotImplementedError(f"task {self.meta.name!r} names concepts in its meta and defines none of a row")

    def prompt(self, question: str) -> str:
        """The text around the question, in this project's own wording."""
        return f"{question}\nAnswer:"

    def ask(self, question: str) -> str:
        """The prompt in the wording of this task object, which is :meth:`prompt` unless :meth:`worded` made it."""
        if self.wording == 0:
            return self.prompt(question)
        return self.wordings[self.wording - 1].replace("{question}", question)

    def worded(self, wording: int) -> Self:
        """The same task, put in another wording.

        Raises:
            InputError: it has no such wording.
        """
        if not 0 <= wording <= len(self.wordings):
            raise InputError(f"task {self.meta.name!r} has wordings 0 to {len(self.wordings)}, not {wording}")
        found = copy.copy(self)
        found.wording = wording
        return found

    def parse(self, text: str) -> Any:
        """The label that a generated answer states; ``None`` means unparsed, which is counted and never guessed.

        As the kind reads it (:meth:`Kind.parse`): exactly one of yes and no, one class, findings or ``none``, one
        number; of ``generation``, the stripped text.
        """
        return self.meta.labels.how.parse(text, self.meta.labels)
