"""Enlarged cardiomediastinum on CheXpert's validation part (FedMEKI's zero-shot image task)."""

from __future__ import annotations

from typing import ClassVar

from fedmeki_bench.api import TaskMeta

from .chexpert_finding import ChexpertFinding, finding_meta


class EnlargedCardiomediastinum(ChexpertFinding):
    """Is the finding "Enlarged Cardiomediastinum" present on a chest X-ray?"""

    column: ClassVar[str] = "Enlarged Cardiomediastinum"
    meta: ClassVar[TaskMeta] = finding_meta(
        name="enlarged_cardiomediastinum",
        title="Enlarged cardiomediastinum",
        what="Is the cardiomediastinal silhouette enlarged on this chest X-ray?",
        positive="an enlarged cardiomediastinum",
        asks="is there a cardiomediastinal enlargement",
    )
