"""The question about the charts."""

from __future__ import annotations

from typing import ClassVar

from fedmeki_bench.api import Clinical, Exclude, Task, TaskMeta


class Reintubation(Task):
    """Is a patient in the recovery room intubated again?"""

    meta: ClassVar[TaskMeta] = TaskMeta(
        name="reintubation",
        version=1,
        title="Reintubation in the recovery room",
        dataset="recovery",
        modalities=("clinical",),
        kind="binary",
        role="training",
        clinical=Clinical(
            what="Will this patient have to be intubated again?",
            who="adults after an operation under general anaesthesia",
            when="12 hours after arrival in the recovery room",
        ),
        licence="CC0 1.0",
        access="open",
        citation="written for a test",
        grouping="patient",
        positive="intubated again",
        asks="is there a need for intubation",
    )

    def label(self, row):
        """The table's own column."""
        if row["reintubated"] not in ("0", "1"):
            return Exclude("it is not known whether the patient was intubated again")
        return int(row["reintubated"])

    def prompt(self, question):
        """What is shown, then the question."""
        return f"Above is a recovery room chart, hour by hour. Yes or no, {question}"
