"""What the tasks on CheXpert's validation part have in common: one finding each, from its own column."""

from __future__ import annotations

from typing import ClassVar

from fedmeki_bench.api import Clinical, Exclude, Row, Task, TaskMeta

_LABELS = {"positive": 1, "negative": 0}


def finding_meta(*, name: str, title: str, what: str, positive: str, asks: str) -> TaskMeta:
    """The metadata of a task on one finding; all else is the data set's."""
    return TaskMeta(
        name=name,
        version=2,
        title=title,
        dataset="chexpert",
        modalities=("image",),
        kind="binary",
        role="zero_shot",
        trained_by="lung_opacity",
        clinical=Clinical(
            what=what,
            who="in- and outpatients of Stanford Hospital (2002-2017) with a frontal or lateral chest X-ray",
            when="when the image is read, without clinical information",
        ),
        licence="Stanford University Dataset Research Use Agreement",
        access="free after registration at https://stanfordmlgroup.github.io/competitions/chexpert/ and acceptance of "
        "the agreement: valid.csv and the folder valid (of CheXpert-v1.0, its small version, or batch 1)",
        citation="Irvin J, et al. CheXpert: A Large Chest Radiograph Dataset with Uncertainty Labels and Expert "
        "Comparison. AAAI 33:590-597 (2019)",
        grouping="patient",
        positive=positive,
        asks=asks,
    )


class ChexpertFinding(Task):
    """Does a chest X-ray show one finding? A subclass names the column."""

    column: ClassVar[str]

    def label(self, row: Row) -> int | Exclude:
        """1 where the column says positive, 0 negative; uncertain and blank rows are left out."""
        value = row[self.column]
        label = _LABELS.get(value)
        return Exclude(f"{self.column} is {value}") if label is None else label

    def prompt(self, question: str) -> str:
        """State what is shown and ask for one word; the finding comes last."""
        return f"Above is a chest radiograph. Yes or no, {question}"
