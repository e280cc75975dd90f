"""A patient's age from a 12-lead ECG (PTB-XL)."""

from __future__ import annotations

from typing import ClassVar

from fedmeki_bench.api import Exclude, Row, Task, TaskMeta

from .ptbxl_record import record_meta


class EcgAge(Task):
    """How old is the patient whose 12-lead ECG this is?

    Records of which the release tells no age, or only that it is over 89 (written as 300), are left out.
    """

    meta: ClassVar[TaskMeta] = record_meta(
        name="ecg_age",
        title="Age from an ECG",
        kind="regression",
        what="How old is the patient of this 12-lead ECG, in years?",
        asks="how old is the patient",
        unit="years",
    )

    def label(self, row: Row) -> float | Exclude:
        """The age in years."""
        age = row["age"]
        if age is None or age != age:
            return Exclude("no age is told")
        return Exclude("the age is told as over 89 only") if row["age_over_89"] else float(age)

    def prompt(self, question: str) -> str:
        """State what is shown and ask for a number."""
        return f"Above is a resting electrocardiogram: twelve leads, ten seconds. In years, {question}"
