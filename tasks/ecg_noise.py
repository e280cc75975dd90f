"""ECG noise clarification: questions about disturbances in an ECG (ECG-QA over PTB-XL, zero-shot in FedMEKI)."""

from __future__ import annotations

from typing import ClassVar

from fedmeki_bench.api import Clinical, Exclude, Row, Task, TaskMeta


class EcgNoise(Task):
    """What is the answer to a question about noise in one ECG? Only questions of the attribute type noise."""

    meta: ClassVar[TaskMeta] = TaskMeta(
        name="ecg_noise",
        version=2,
        title="ECG noise clarification",
        dataset="ecg_qa",
        modalities=("signal",),
        kind="generation",
        role="zero_shot",
        trained_by="ecg_abnormal",
        clinical=Clinical(
            what="Which kinds of noise disturb this 12-lead ECG, and in which leads?",
            who="in- and outpatients of all ages with a 10-second resting 12-lead ECG (Germany, "
            "1989-1996), none of whom any training of the signal encoder has seen",
            when="when the quality of a recording is judged, before it is read",
        ),
        licence="CC BY 4.0",
        access="open: https://github.com/Jwoo5/ecg-qa (folder ecgqa/ptbxl) and PTB-XL 1.0.3 from "
        "https://physionet.org/content/ptb-xl/1.0.3/",
        citation="Oh J, et al. ECG-QA: A Comprehensive Question Answering Dataset Combined With "
        "Electrocardiogram. NeurIPS Datasets and Benchmarks (2023)",
        grouping="patient",
        patients="ptbxl",
        metrics=("token_f1", "exact_match", "bleu1", "rouge1", "meteor"),
    )

    def question(self, row: Row) -> str:
        """The question as the data set words it."""
        return str(row["question"])

    def answer(self, row: Row) -> str | Exclude:
        """The data set's own answer, several joined by commas; questions on anything but noise are left out."""
        if row["attribute_type"] != "noise":
            return Exclude("the question is not about noise")
        return str(row["answer"])

    def prompt(self, question: str) -> str:
        """State what is shown, ask for a short answer, and put the question."""
        asked = question.rstrip(" ?")
        return f"Above is a resting electrocardiogram: twelve leads, ten seconds. Reply in a few words. {asked}"
