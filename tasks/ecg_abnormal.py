"""ECG abnormal detection on PTB-XL (FedMEKI's training task for the signal modality)."""

from __future__ import annotations

from typing import ClassVar

from fedmeki_bench.api import Clinical, Exclude, Row, Task, TaskMeta


class EcgAbnormal(Task):
    """Is a 12-lead ECG abnormal? Normal iff ``scp_codes`` holds NORM with a likelihood above 50."""

    meta: ClassVar[TaskMeta] = TaskMeta(
        name="ecg_abnormal",
        version=2,
        title="ECG abnormal detection",
        dataset="ptbxl",
        modalities=("signal",),
        kind="binary",
        role="training",
        clinical=Clinical(
            what="Does this 12-lead ECG show any abnormality?",
            who="in- and outpatients of all ages with a 10-second resting 12-lead ECG (Germany, 1989-1996)",
            when="when the recording is read, before a cardiologist has looked at it",
        ),
        licence="CC BY 4.0",
        access="open: download PTB-XL 1.0.3 from https://physionet.org/content/ptb-xl/1.0.3/ "
        "(ptbxl_database.csv and the folder records100 are enough)",
        citation="Wagner P, et al. PTB-XL, a large publicly available electrocardiography dataset. "
        "Scientific Data 7:154 (2020); PhysioNet, doi:10.13026/kfzx-aw45",
        grouping="patient",
        positive="abnormal: NORM is absent or has a likelihood of at most 50 %",
        asks="is there any abnormality",
    )

    def label(self, row: Row) -> int | Exclude:
        """0 where the annotation says normal with more than 50 % likelihood, else 1."""
        return int(not row["scp_codes"].get("NORM", 0.0) > 50)

    def prompt(self, question: str) -> str:
        """State what is shown and ask for one word; the finding comes last."""
        return f"Above is a resting electrocardiogram: twelve leads, ten seconds. Yes or no, {question}"
