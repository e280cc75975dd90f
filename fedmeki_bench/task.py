"""What a task is: a clinical question with data, label or answer, prompt and metrics.

A task never reads files. A dataset preparer hands it the rows of the dataset's own tables; the task says what
the label of a row is, or why the row is left out. So a new question about data that is already prepared is one
short module.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from fedmeki_bench.errors import nearest

Row = Mapping[str, Any]

ROLES = ("training", "zero_shot")

_YES_NO = re.compile(r"[^a-z0-9]+")


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
        modalities: what the model sees, e.g. ``("image",)``; ``text`` is implied by the prompt.
        kind: ``classification`` (binary label) or ``generation`` (free-text answer).
        role: ``training``, or ``zero_shot`` for tasks that are never trained on.
        metrics: names of metrics, the main one first.
        grouping: the unit that never crosses splits, e.g. ``patient`` or ``image``.
        positive: what label 1 means, in words.
        asks: what the foundation model is asked about every row, as the end of a sentence with the finding last, e.g.
            "is there a lung opacity"; ``clinical.what`` if not given.
        trained_by: for zero-shot tasks, the training task whose single-task federation (scope ``s``) answers them.
        patients: the collection the patients come from, where several datasets draw on one; the dataset by default.
            Tasks of one collection are not independent evidence.
        context: the setting in which the question is asked, where one question means different things in different
            settings; the description should tell it. Only an oracle gate reads it; the task's name if not given.
    """

    name: str
    version: int
    title: str
    dataset: str
    modalities: tuple[str, ...]
    kind: Literal["classification", "generation"]
    role: Literal["training", "zero_shot"]
    clinical: Clinical
    licence: str
    access: str
    citation: str
    grouping: str
    positive: str = ""
    asks: str = ""
    trained_by: str = ""
    patients: str = ""
    context: str = ""
    metrics: tuple[str, ...] = (
        *("auroc", "auprc", "accuracy", "precision", "recall", "f1", "mcc"),
        *("sensitivity_at_90", "brier_skill"),
    )

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise ValueError(f"the role of task {self.name!r} is {self.role!r}; {nearest(str(self.role), ROLES)}")


@dataclass(frozen=True, slots=True)
class Exclude:
    """Returned instead of a label: the row takes no part in the task, for this stated reason."""

    reason: str


class Task:
    """Base of all tasks: set ``meta`` and define :meth:`label` (or :meth:`answer`) and :meth:`prompt`."""

    meta: ClassVar[TaskMeta]

    def label(self, row: Row) -> int | Exclude:
        """The binary label of a row, or why the row is left out. Classification tasks define this."""
        raise NotImplementedError(f"task {self.meta.name!r} defines no label")

    def question(self, row: Row) -> str:
        """The question put to the foundation model about this row; one fixed question by default."""
        return self.meta.asks or self.meta.clinical.what

    def answer(self, row: Row) -> str | Exclude:
        """The gold answer in words: ``yes`` or ``no`` for classification, free text for generation."""
        label = self.label(row)
        return label if isinstance(label, Exclude) else ("yes" if label else "no")

    def prompt(self, question: str) -> str:
        """The text around the question, in this project's own wording."""
        return f"{question}\nAnswer:"

    def parse(self, text: str) -> int | str | None:
        """Read a generated answer strictly; ``None`` means unparsed, which is counted and never guessed.

        Classification: exactly one of the words yes and no may occur. Generation: the stripped text.
        """
        if self.meta.kind == "generation":
            return text.strip() or None
        words = set(_YES_NO.split(text.lower()))
        said = words & {"yes", "no"}
        if len(said) != 1:
            return None
        return int("yes" in said)
