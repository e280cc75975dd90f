"""Sepsis in intensive care (FedMEKI's zero-shot task for clinical series)."""

from __future__ import annotations

from typing import ClassVar

from fedmeki_bench.api import Clinical, Exclude, Row, Task, TaskMeta


class Sepsis(Task):
    """Has an ICU patient developed sepsis (Sepsis-3, as in YAIB) by the end of the series?"""

    meta: ClassVar[TaskMeta] = TaskMeta(
        name="sepsis",
        version=2,
        title="Sepsis detection",
        dataset="mimic3_sepsis",
        modalities=("clinical",),
        kind="binary",
        role="zero_shot",
        trained_by="mortality",
        clinical=Clinical(
            what="Has this intensive care patient developed sepsis?",
            who="adults in intensive care for 6 hours or longer, without sepsis in the first 6 hours "
            "(Boston, 2001-2012)",
            when="up to 7 days into the stay, or 6 hours after sepsis began",
        ),
        licence="PhysioNet Credentialed Health Data License 1.5.0 (the demo: ODbL 1.0)",
        access="credentialed: register at https://physionet.org, complete the CITI course 'Data or Specimens Only "
        "Research', sign the data use agreement of https://physionet.org/content/mimiciii/1.4/ and download the "
        "tables; https://physionet.org/content/mimiciii-demo/1.4/ (100 patients) is open",
        citation="Johnson AEW, et al. MIMIC-III, a freely accessible critical care database. Scientific Data "
        "3:160035 (2016); Singer M, et al. The Third International Consensus Definitions for Sepsis and Septic "
        "Shock. JAMA 315:801 (2016); cohort: van de Water R, et al. Yet Another ICU Benchmark. ICLR 2024, "
        "arXiv:2306.05109",
        grouping="patient",
        patients="mimic3",
        positive="SOFA rose by 2 or more around a suspected infection, 6 to 168 hours after ICU admission",
        asks="are there signs of sepsis",
    )

    def label(self, row: Row) -> int | Exclude:
        """1 where an onset lies within the series; NaN stands for none."""
        return int(row["onset"] == row["onset"])

    def prompt(self, question: str) -> str:
        """State what is shown and ask for one word; the finding comes last."""
        return (
            "Above is an intensive care stay of up to seven days, hour by hour: vital signs, laboratory values, "
            f"oxygen and urine output. Yes or no, {question}"
        )
