"""Ectopic beats on PTB-XL (a zero-shot task of FedKIM)."""

from __future__ import annotations

import re
from typing import ClassVar

from fedmeki_bench.api import Clinical, Exclude, Row, Task, TaskMeta

_ALL_LEADS = re.compile(r"alles", re.IGNORECASE)  # German: "everything"; it is no extrasystole


class EctopicBeats(Task):
    """Does a 12-lead ECG show extrasystoles? By the free text of ``extra_beats`` ("1ES", "VES", "SVES", "VES1,alles").

    The text counts as positive where it mentions ES once the German word "alles" is taken out. Where it tells
    leads and numbers but no type ("2,V1", "1,alles"), the record is left out.
    """

    meta: ClassVar[TaskMeta] = TaskMeta(
        name="ectopic_beats",
        version=2,
        title="Ectopic beats",
        dataset="ptbxl",
        modalities=("signal",),
        kind="binary",
        role="zero_shot",
        trained_by="ecg_abnormal",
        clinical=Clinical(
            what="Are there ectopic beats (extrasystoles) in this 12-lead ECG?",
            who="in- and outpatients of all ages with a 10-second resting 12-lead ECG (Germany, 1989-1996), none of "
            "whom any training of the signal encoder has seen",
            when="when the recording is read, before a cardiologist has looked at it",
        ),
        licence="CC BY 4.0",
        access="open: download PTB-XL 1.0.3 from https://physionet.org/content/ptb-xl/1.0.3/ "
        "(ptbxl_database.csv and the folder records100 are enough)",
        citation="Wagner P, et al. PTB-XL, a large publicly available electrocardiography dataset. "
        "Scientific Data 7:154 (2020); PhysioNet, doi:10.13026/kfzx-aw45",
        grouping="patient",
        positive="extra_beats mentions an extrasystole (ES, VES, SVES)",
        asks="are there ectopic beats",
    )

    def label(self, row: Row) -> int | Exclude:
        """1 where extra_beats mentions ES, 0 where it is blank."""
        told = row["extra_beats"].strip()
        if not told:
            return 0
        if "ES" in _ALL_LEADS.sub("", told).upper():
            return 1
        return Exclude("extra_beats names no type of beat")

    def prompt(self, question: str) -> str:
        """State what is shown and ask for one word; the finding comes last."""
        return f"Above is a resting electrocardiogram: twelve leads, ten seconds. Yes or no, {question}"
