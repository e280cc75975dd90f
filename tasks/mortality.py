"""In-hospital mortality from the first day in intensive care (FedMEKI's training task for clinical series)."""

from __future__ import annotations

from typing import ClassVar

from fedmeki_bench.api import Clinical, Exclude, Row, Task, TaskMeta


class Mortality(Task):
    """Does an ICU patient die in hospital? ``-o death=yaib_icu_death`` prepares YAIB's label instead."""

    meta: ClassVar[TaskMeta] = TaskMeta(
        name="mortality",
        version=2,
        title="ICU mortality prediction",
        dataset="mimic3",
        modalities=("clinical",),
        kind="binary",
        role="training",
        clinical=Clinical(
            what="Will this intensive care patient die before leaving the hospital?",
            who="adults who stay in intensive care for 30 hours or longer (Boston, 2001-2012)",
            when="24 hours after admission to intensive care, from that first day's records",
        ),
        licence="PhysioNet Credentialed Health Data License 1.5.0 (the demo: ODbL 1.0)",
        access="credentialed: register at https://physionet.org, complete the CITI course 'Data or Specimens Only "
        "Research', sign the data use agreement of https://physionet.org/content/mimiciii/1.4/ and download the "
        "tables; https://physionet.org/content/mimiciii-demo/1.4/ (100 patients) is open",
        citation="Johnson AEW, et al. MIMIC-III, a freely accessible critical care database. Scientific Data "
        "3:160035 (2016); cohort and variables: van de Water R, et al. Yet Another ICU Benchmark. ICLR 2024, "
        "arXiv:2306.05109",
        grouping="patient",
        positive="died in hospital during this admission (or, if so prepared, in the ICU)",
        asks="will it end in death",
    )

    def label(self, row: Row) -> int | Exclude:
        """The death chosen when the cohort is prepared."""
        return int(row["death"])

    def prompt(self, question: str) -> str:
        """State what is shown and ask for one word; the finding comes last."""
        return (
            "Above are the first 24 hours of an intensive care stay, hour by hour: vital signs, laboratory values, "
            f"oxygen and urine output. Yes or no, {question}"
        )
