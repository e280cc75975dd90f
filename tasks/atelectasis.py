"""Atelectasis on CheXpert's validation part (a zero-shot task of FedKIM)."""

from __future__ import annotations

from typing import ClassVar

from fedmeki_bench.api import TaskMeta

from .chexpert_finding import ChexpertFinding, finding_meta


class Atelectasis(ChexpertFinding):
    """Is the finding "Atelectasis" present on a chest X-ray?"""

    column: ClassVar[str] = "Atelectasis"
    meta: ClassVar[TaskMeta] = finding_meta(
        name="atelectasis",
        title="Atelectasis",
        what="Does this chest X-ray show atelectasis, that is, collapsed lung tissue?",
        positive="atelectasis",
        asks="is there any atelectasis",
    )
