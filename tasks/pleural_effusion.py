"""Pleural effusion on CheXpert's validation part (a zero-shot task of FedKIM)."""

from __future__ import annotations

from typing import ClassVar

from fedmeki_bench.api import TaskMeta

from .chexpert_finding import ChexpertFinding, finding_meta


class PleuralEffusion(ChexpertFinding):
    """Is the finding "Pleural Effusion" present on a chest X-ray?

    The published code takes this task's labels from the atelectasis column; here they come from its own.
    """

    column: ClassVar[str] = "Pleural Effusion"
    meta: ClassVar[TaskMeta] = finding_meta(
        name="pleural_effusion",
        title="Pleural effusion",
        what="Does this chest X-ray show fluid in the pleural space?",
        positive="a pleural effusion",
        asks="is there a pleural effusion",
    )
