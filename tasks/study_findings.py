"""Findings of a chest study from its images, laboratory results and the reason it was asked for (MIMIC-CXR)."""

from __future__ import annotations

from typing import ClassVar

from fedmeki_bench.api import Clinical, Exclude, Row, Task, TaskMeta

_COLUMNS = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion")
_LABELS = {"positive": 1, "negative": 0, "blank": 0}


class StudyFindings(Task):
    """Which of five findings does a chest study show? Any of its modalities may be missing."""

    meta: ClassVar[TaskMeta] = TaskMeta(
        name="study_findings",
        version=1,
        title="Findings of a chest study",
        dataset="mimic_cxr",
        modalities=("image", "labs", "text"),
        kind="multilabel",
        role="training",
        clinical=Clinical(
            what="Which of these findings does this chest study show: atelectasis, cardiomegaly, consolidation, edema, "
            "pleural effusion?",
            who="in- and outpatients of a hospital in Boston with a chest radiograph (2011-2016)",
            when="when the radiographs are read, with the laboratory results of the two days before",
        ),
        licence="PhysioNet Credentialed Health Data License 1.5.0",
        access="credentialed: register at https://physionet.org, complete the CITI course 'Data or Specimens Only "
        "Research', sign the data use agreements of https://physionet.org/content/mimic-cxr-jpg/, "
        "https://physionet.org/content/mimic-cxr/ (reports) and https://physionet.org/content/mimiciv/, and download",
        citation="Johnson AEW, et al. MIMIC-CXR-JPG, a large publicly available database of labeled chest radiographs. "
        "arXiv:1901.07042 (2019); labels: Irvin J, et al. CheXpert. AAAI 33:590-597 (2019)",
        grouping="patient",
        classes=("atelectasis", "cardiomegaly", "consolidation", "edema", "pleural effusion"),
        asks="which findings are there",
    )

    def label(self, row: Row) -> tuple[int | None, ...] | Exclude:
        """Uncertain findings count as not annotated, those that the report does not mention as absent."""
        return tuple(_LABELS.get(row[column]) for column in _COLUMNS)

    def question(self, row: Row) -> str:
        """What was asked of the radiologist stands before our own question."""
        reason = row["indication"]
        return f"Indication: {reason} {self.meta.asks}" if reason else self.meta.asks

    def prompt(self, question: str) -> str:
        """State what is shown; each array has its place."""
        return (
            "Frontal or only radiograph of the chest: <image> Second radiograph: <image 2> Laboratory results: <labs> "
            f"Of {', '.join(self.meta.classes)}, {question}"
        )
