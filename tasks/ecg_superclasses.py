"""The five diagnostic superclasses of a 12-lead ECG (PTB-XL)."""

from __future__ import annotations

from typing import ClassVar

from fedmeki_bench.api import Exclude, Row, Task, TaskMeta

from .ecg_statements import STATEMENTS, told
from .ptbxl_record import record_meta

SUPERCLASSES: dict[str, str] = {
    "NORM": "normal ECG",
    "MI": "myocardial infarction",
    "STTC": "ST-T change",
    "CD": "conduction disturbance",
    "HYP": "hypertrophy",
}
"""PTB-XL's ``diagnostic_class`` -> its name in answers."""


class EcgSuperclasses(Task):
    """Which diagnostic superclasses does a 12-lead ECG belong to: those of all its diagnostic statements.

    Strodthoff N, et al. Deep Learning for ECG Analysis: Benchmarks and Insights from PTB-XL. IEEE Journal of Biomedical
    and Health Informatics 25(5):1519-1528 (2021). A record may belong to several, NORM among them where readers were
    unsure; records without any diagnostic statement are left out.
    """

    meta: ClassVar[TaskMeta] = record_meta(
        name="ecg_superclasses",
        title="ECG diagnostic superclasses",
        kind="multilabel",
        what="Is this 12-lead ECG normal, or which groups of diagnoses does it show?",
        asks="which of normal ECG, myocardial infarction, ST-T change, conduction disturbance and hypertrophy",
        classes=tuple(SUPERCLASSES.values()),
    )

    def label(self, row: Row) -> tuple[int, ...] | Exclude:
        """1 for each superclass that one of the record's statements belongs to."""
        found = told(row)
        if isinstance(found, Exclude):
            return found
        there = {STATEMENTS[code][0] for code in found}
        return tuple(int(name in there) for name in SUPERCLASSES)

    def prompt(self, question: str) -> str:
        """State what is shown; the finding comes last."""
        return f"Above is a resting electrocardiogram: twelve leads, ten seconds. Name all that apply: {question}"
