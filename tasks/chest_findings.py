"""Fourteen findings of chest X-rays at once, on NIH ChestX-ray14 (RadBench's kind of disease diagnosis)."""

from __future__ import annotations

from typing import ClassVar

from fedmeki_bench.api import Clinical, Exclude, Row, Task, TaskMeta

_COLUMNS = (
    "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax",
    "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia",
)  # fmt: skip
_CLASSES = tuple(name.lower().replace("_", " ") for name in _COLUMNS)


class ChestFindings(Task):
    """Which of fourteen findings does a chest X-ray show? Labels are mined from reports; all are annotated everywhere.

    Pictures and patients of RSNA are among them, so this task and ``lung_opacity`` are no independent evidence.
    """

    meta: ClassVar[TaskMeta] = TaskMeta(
        name="chest_findings",
        version=1,
        title="Chest X-ray findings (NIH ChestX-ray14)",
        dataset="nih14",
        modalities=("image",),
        kind="multilabel",
        role="training",
        clinical=Clinical(
            what="Which of these findings does this chest X-ray show?",
            who="in- and outpatients of the NIH Clinical Center, 1992 to 2015, many with advanced disease",
            when="when a frontal image is read, without clinical information or earlier images",
        ),
        licence="free to use with attribution to the NIH Clinical Center and a citation",
        access="open: https://nihcc.app.box.com/v/ChestXray-NIHCC (table, the two lists, the image archives)",
        citation="Wang X, et al. ChestX-ray8: Hospital-scale Chest X-ray Database and Benchmarks on Weakly-Supervised "
        "Classification and Localization of Common Thorax Diseases. IEEE CVPR 2097-2106 (2017)",
        grouping="patient",
        classes=_CLASSES,
        patients="rsna",
        asks=f"Which of these are there: {', '.join(_CLASSES)}",
    )

    def label(self, row: Row) -> tuple[int, ...] | Exclude:
        """1 for every finding that the labels name, 0 for the others."""
        return tuple(int(row[name]) for name in _COLUMNS)

    def prompt(self, question: str) -> str:
        """State what is shown and list what is asked for."""
        return f"Above is a frontal chest radiograph. {question}"
