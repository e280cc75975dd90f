"""COVID-19 detection on the COVID-19 Radiography Database (FedMEKI's second image task)."""

from __future__ import annotations

from typing import ClassVar

from fedmeki_bench.api import Clinical, Exclude, Row, Task, TaskMeta

_LABELS = {"COVID": 1, "Normal": 0}


class Covid19(Task):
    """Does a frontal chest X-ray show signs of COVID-19? Labelled by the folder that holds the picture."""

    meta: ClassVar[TaskMeta] = TaskMeta(
        name="covid19",
        version=2,
        title="COVID-19 detection",
        dataset="covqu",
        modalities=("image",),
        kind="binary",
        role="training",
        clinical=Clinical(
            what="Does this chest X-ray show pneumonia caused by COVID-19?",
            who="patients with confirmed COVID-19 from several countries, and patients of one US hospital whose "
            "chest X-ray was read as normal",
            when="when the image is read, without clinical information",
        ),
        licence="terms of the COVID-19 Radiography Database and its sources: academic use",
        access="free with an account at "
        "https://www.kaggle.com/datasets/tawsifurrahman/covid19-radiography-database: the folders COVID and Normal",
        citation="Chowdhury MEH, et al. Can AI help in screening viral and COVID-19 pneumonia? IEEE Access "
        "8:132665 (2020); Rahman T, et al. Computers in Biology and Medicine 132:104319 (2021)",
        grouping="image (pixel-identical images joined)",
        positive="COVID-19 pneumonia",
        asks="are there signs of covid",
    )

    def label(self, row: Row) -> int | Exclude:
        """1 for the folder COVID, 0 for Normal."""
        label = _LABELS.get(row["class"])
        return Exclude(f"class '{row['class']}' takes no part in this task") if label is None else label

    def prompt(self, question: str) -> str:
        """State what is shown and ask for one word; the finding comes last."""
        return f"Above is a frontal chest radiograph. Yes or no, {question}"
