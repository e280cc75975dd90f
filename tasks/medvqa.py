"""MedVQA: free-text questions about radiological pictures (VQA-RAD, FedMEKI's zero-shot image-and-text task)."""

from __future__ import annotations

from typing import ClassVar

from fedmeki_bench.api import Clinical, Exclude, Row, Task, TaskMeta


class MedVqa(Task):
    """What is the answer to a clinician's question about a CT, MRI or X-ray picture?"""

    meta: ClassVar[TaskMeta] = TaskMeta(
        name="medvqa",
        version=2,
        title="Medical visual question answering (VQA-RAD)",
        dataset="vqa_rad",
        modalities=("image",),
        kind="generation",
        role="zero_shot",
        trained_by="lung_opacity",
        clinical=Clinical(
            what="What does this radiological picture show?",
            who="patients whose CT, MRI or X-ray of head, chest or abdomen is in the teaching collection MedPix",
            when="when a clinician looks at one picture and has a question about it",
        ),
        licence="CC0 1.0",
        access="open: https://osf.io/89kps/ (VQA_RAD Dataset Public.json and VQA_RAD Image Folder), or the "
        "copy divided into trainset.json and testset.json",
        citation="Lau JJ, et al. A dataset of clinically generated visual questions and answers about "
        "radiology images. Scientific Data 5:180251 (2018)",
        grouping="image",
        metrics=("token_f1", "exact_match", "bleu1", "rouge1", "meteor"),
    )

    def question(self, row: Row) -> str:
        """The question as the data set words it."""
        return str(row["question"])

    def answer(self, row: Row) -> str | Exclude:
        """The data set's own answer."""
        return str(row["answer"])

    def prompt(self, question: str) -> str:
        """State what is shown, ask for a short answer, and put the question."""
        return f"Above is a radiological picture. Reply in a few words. {question.rstrip(' ?')}"
