"""The task that follows from a definition, and making defined tasks known by name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar

from fedmeki_bench import registry
from fedmeki_bench.definitions.definition import UNKNOWN, Definition, checked
from fedmeki_bench.errors import UsageError
from fedmeki_bench.task import Clinical, Exclude, Row, Task, TaskMeta

DATASET = "csv"
"""The dataset whose preparer reads tables of samples."""
NO_LABEL = "the label is blank"
ORIGIN = "definition "


class DefinedTask(Task):
    """A task from a definition; rows bring ``label`` (None where blank), ``answer``, ``question`` and ``text``."""

    definition: ClassVar[Mapping[str, Any]]

    def label(self, row: Row) -> Any | Exclude:
        """As the table states it."""
        return Exclude(NO_LABEL) if row["label"] is None else row["label"]

    def question(self, row: Row) -> str:
        """The row's own question or the task's, after the text that the sample brings."""
        return " ".join(part for part in (row["text"], row["question"] or super().question(row)) if part)

    def answer(self, row: Row) -> str | Exclude:
        """In words: the label's, or the table's own."""
        if self.meta.labels.how.labelled:
            return super().answer(row)
        return row["answer"] or Exclude("the answer is blank")

    def prompt(self, question: str) -> str:
        """What is shown, the classes if there are any, and the question last."""
        shown = f"Above is {self.definition['shown']}. " if self.definition["shown"] else ""
        classes = f"Of {', '.join(self.meta.classes)}: " if self.meta.classes else ""
        return f"{shown}{classes}{question.rstrip()}"


def defined_task(definition: Definition) -> type[DefinedTask]:
    """The class of the task."""
    return _task(json.dumps(definition.as_json(), sort_keys=True))


@cache
def _task(text: str) -> type[DefinedTask]:
    definition = Definition.model_validate_json(text)
    title = definition.title or definition.name
    what = definition.question or title
    meta = TaskMeta(
        name=definition.name, version=1, title=title, dataset=DATASET, modalities=definition.modalities,
        kind=definition.kind, role=definition.role,
        clinical=Clinical(what, definition.who or UNKNOWN, definition.when or UNKNOWN),
        licence=definition.licence or UNKNOWN, access=definition.access or UNKNOWN,
        citation=definition.citation or UNKNOWN, grouping="patient", positive=definition.positive or "yes",
        classes=definition.classes, unit=definition.unit, asks=definition.question,
    )  # fmt: skip
    return type("DefinedTask", (DefinedTask,), {"meta": meta, "definition": json.loads(text), "__doc__": title})


def declare(definition: Mapping[str, Any], where: str, *, replace: bool = False) -> None:
    """Make a defined task known under its name in this process.

    Args:
        definition: plain values, as a card holds them.
        where: they come from, for sentences.
        replace: take the place of another definition of that name.

    Raises:
        InputError: the definition is damaged.
        UsageError: an installed task has that name, or a different definition has.
    """
    cls = defined_task(checked(dict(definition), where))
    digest = hashlib.sha256(json.dumps(cls.definition, sort_keys=True).encode()).hexdigest()[:16]
    try:
        registry.declare("tasks", cls.meta.name, cls, f"{ORIGIN}{digest}", replace=replace)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None
