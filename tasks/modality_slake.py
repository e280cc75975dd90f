"""Modality recognition on SLAKE: is a picture an X-ray, a CT or an MRI (RadBench's first kind of task)?"""

from __future__ import annotations

from typing import ClassVar

from fedmeki_bench.api import Clinical, Exclude, Row, Task, TaskMeta

_CLASSES = ("x-ray", "CT", "MRI")
_LABELS = {"x-ray": 0, "ct": 1, "mri": 2}


class ModalitySlake(Task):
    """With which modality was a picture taken? One sample per picture, none of the official test part.

    The test part's pictures are those that ``medvqa_slake`` asks about without having been trained on them. Site is the
    modality itself, so that the partition ``natural`` gives each client one class.
    """

    meta: ClassVar[TaskMeta] = TaskMeta(
        name="modality_slake",
        version=1,
        title="Modality recognition (SLAKE)",
        dataset="slake",
        modalities=("image",),
        kind="multiclass",
        role="training",
        clinical=Clinical(
            what="With which modality was this picture taken: x-ray, CT or MRI?",
            who="patients with a CT, MRI or X-ray of head, neck, chest, abdomen or pelvis, from three "
            "open image collections",
            when="when a picture arrives without a header, before anything else is asked about it",
        ),
        licence="CC BY 4.0",
        access="open: https://www.med-vqa.com/slake/ (train.json, validate.json, test.json and imgs)",
        citation="Liu B, et al. SLAKE: A Semantically-Labeled Knowledge-Enhanced Dataset for Medical Visual "
        "Question Answering. IEEE ISBI 1650-1654 (2021)",
        grouping="image",
        classes=_CLASSES,
        asks=f"Which class is it of {', '.join(_CLASSES)}",
        metrics=("top1", "auroc_macro", "balanced_accuracy_macro", "f1_macro", "ece_top1"),
    )

    def label(self, row: Row) -> int | Exclude:
        """The number of the modality, from the row of the first question about a picture."""
        if row["picture_split"] == "test":
            return Exclude("the picture is of the official test part, about which medvqa_slake asks")
        if not row["first"]:
            return Exclude("a further question about the same picture")
        label = _LABELS.get(str(row["site"]).lower())
        return Exclude(f"the modality is '{row['site']}', none of {', '.join(_CLASSES)}") if label is None else label

    def prompt(self, question: str) -> str:
        """State what is shown and name the choices."""
        return f"Above is a radiological picture. {question}"
