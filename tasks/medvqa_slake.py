"""MedVQA on SLAKE: questions about CT, MRI and X-ray pictures (a zero-shot task of FedKIM)."""

from __future__ import annotations

from typing import ClassVar

from fedmeki_bench.api import Clinical, Exclude, Row, Task, TaskMeta


class MedVqaSlake(Task):
    """What is the answer to a question about a CT, MRI or X-ray picture? English test part by default."""

    meta: ClassVar[TaskMeta] = TaskMeta(
        name="medvqa_slake",
        version=2,
        title="Medical visual question answering (SLAKE)",
        dataset="slake",
        modalities=("image",),
        kind="generation",
        role="zero_shot",
        trained_by="lung_opacity",
        clinical=Clinical(
            what="What does this radiological picture show?",
            who="patients with a CT, MRI or X-ray of head, neck, chest, abdomen or pelvis, from three "
            "open image collections",
            when="when one picture is looked at and a question about it comes up",
        ),
        licence="CC BY 4.0",
        access="open: https://www.med-vqa.com/slake/ (train.json, validate.json, test.json and imgs)",
        citation="Liu B, et al. SLAKE: A Semantically-Labeled Knowledge-Enhanced Dataset for Medical Visual "
        "Question Answering. IEEE ISBI 1650-1654 (2021)",
        grouping="image",
        metrics=("token_f1", "exact_match", "bleu1", "rouge1", "meteor"),
    )

    def question(self, row: Row) -> str:
        """The question as the data set words it."""
        return str(row["question"])

    def answer(self, row: Row) -> str | Exclude:
        """The data set's own answer; questions of the parts that option ``rows`` does not ask for are left out."""
        if not row["asked"]:
            return Exclude(f"the question is of the official {row['official_split']} part (rows=test)")
        return str(row["answer"])

    def prompt(self, question: str) -> str:
        """State what is shown, ask for a short answer, and put the question."""
        return f"Above is a radiological picture. Reply in a few words. {question.rstrip(' ?')}"
