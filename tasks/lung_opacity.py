"""Lung opacity detection on the RSNA Pneumonia Detection data (FedMEKI's first image task)."""

from __future__ import annotations

from typing import ClassVar

from fedmeki_bench.api import Clinical, Exclude, Row, Task, TaskMeta

_LABELS = {"Lung Opacity": 1, "Normal": 0}


class LungOpacity(Task):
    """Does a frontal chest X-ray show a lung opacity? The third class (neither normal nor so) is left out."""

    meta: ClassVar[TaskMeta] = TaskMeta(
        name="lung_opacity",
        version=2,
        title="Lung opacity detection",
        dataset="rsna",
        modalities=("image",),
        kind="binary",
        role="training",
        clinical=Clinical(
            what="Does this chest X-ray show a lung opacity suspicious for pneumonia?",
            who="patients of one US hospital with a frontal chest X-ray (from NIH ChestX-ray14)",
            when="when the image is read, without clinical information",
        ),
        licence="RSNA Pneumonia Detection Challenge terms: non-commercial and academic use",
        access="free after accepting the rules at "
        "https://www.kaggle.com/competitions/rsna-pneumonia-detection-challenge: "
        "stage_2_detailed_class_info.csv and stage_2_train_images",
        citation="Shih G, et al. Augmenting the National Institutes of Health Chest Radiograph Dataset "
        "with Expert Annotations of Possible Pneumonia. Radiology: AI 1(1):e180041 (2019)",
        grouping="patient where an image-to-patient map is given, else image",
        positive="a lung opacity is present",
        asks="is there a lung opacity",
    )

    def label(self, row: Row) -> int | Exclude:
        """1 for "Lung Opacity", 0 for "Normal"."""
        label = _LABELS.get(row["class"])
        return Exclude(f"class '{row['class']}' takes no part in this task") if label is None else label

    def prompt(self, question: str) -> str:
        """State what is shown and ask for one word; the finding comes last."""
        return f"Above is a frontal chest radiograph. Yes or no, {question}"
