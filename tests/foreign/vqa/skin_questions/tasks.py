"""What is asked about skin: one question to train on, and free text to answer without having trained."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from fedmeki_bench.api import Clinical, Exclude, Task, TaskMeta

CLOSED = "Is there a mole?"


class Mole(Task):
    """Is there a mole? The questions that are answered yes or no."""

    meta: ClassVar[TaskMeta] = TaskMeta(
        name="skinqa_mole",
        version=1,
        title="Mole",
        dataset="skinqa",
        modalities=("image",),
        kind="binary",
        role="training",
        clinical=Clinical(what=CLOSED, who="whoever comes to a skin clinic", when="before a dermatologist looks"),
        licence="CC0 1.0",
        access="open",
        citation="written for a test",
        grouping="patient",
        positive="a mole",
        asks="is there a mole",
    )

    def label(self, row):
        """The data set's own yes or no."""
        if row["question"] != CLOSED:
            return Exclude("another question")
        if row["answer"] not in ("yes", "no"):
            return Exclude("answered neither yes nor no")
        return int(row["answer"] == "yes")

    def prompt(self, question):
        """What is shown, then the question."""
        return f"Above is a picture of skin. Yes or no, {question}"


class Where(Task):
    """Where is it? Answered in a word, and never trained on."""

    meta: ClassVar[TaskMeta] = replace(
        Mole.meta,
        name="skinqa_where",
        title="Place of a mole",
        kind="generation",
        role="zero_shot",
        clinical=replace(Mole.meta.clinical, what="Where is the mole?"),
        trained_by="skinqa_mole",
        positive="",
        asks="",
        metrics=("exact_match", "token_f1"),
    )

    def question(self, row):
        """As the data set words it."""
        return row["question"]

    def answer(self, row):
        """The data set's own word."""
        return Exclude("answered yes or no") if row["question"] == CLOSED else row["answer"]

    def prompt(self, question):
        """What is shown, then the question."""
        return f"Above is a picture of skin. Reply in a word. {question.rstrip(' ?')}"
