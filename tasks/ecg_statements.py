"""The diagnostic statements of a 12-lead ECG (PTB-XL), 44 findings at once."""

from __future__ import annotations

from typing import ClassVar

from fedmeki_bench.api import Exclude, Row, Task, TaskMeta

from .ptbxl_record import record_meta

STATEMENTS: dict[str, tuple[str, str]] = {
    "NORM": ("NORM", "normal ECG"),
    "IMI": ("MI", "inferior myocardial infarction"),
    "ASMI": ("MI", "anteroseptal myocardial infarction"),
    "ILMI": ("MI", "inferolateral myocardial infarction"),
    "AMI": ("MI", "anterior myocardial infarction"),
    "ALMI": ("MI", "anterolateral myocardial infarction"),
    "LMI": ("MI", "lateral myocardial infarction"),
    "IPLMI": ("MI", "inferoposterolateral myocardial infarction"),
    "IPMI": ("MI", "inferoposterior myocardial infarction"),
    "PMI": ("MI", "posterior myocardial infarction"),
    "INJAS": ("MI", "subendocardial injury in anteroseptal leads"),
    "INJAL": ("MI", "subendocardial injury in anterolateral leads"),
    "INJIN": ("MI", "subendocardial injury in inferior leads"),
    "INJLA": ("MI", "subendocardial injury in lateral leads"),
    "INJIL": ("MI", "subendocardial injury in inferolateral leads"),
    "NDT": ("STTC", "non-diagnostic T wave abnormality"),
    "NST_": ("STTC", "non-specific ST change"),
    "DIG": ("STTC", "digitalis effect"),
    "LNGQT": ("STTC", "long QT interval"),
    "ISC_": ("STTC", "non-specific ischemia"),
    "ISCAL": ("STTC", "ischemia in anterolateral leads"),
    "ISCIN": ("STTC", "ischemia in inferior leads"),
    "ISCIL": ("STTC", "ischemia in inferolateral leads"),
    "ISCAS": ("STTC", "ischemia in anteroseptal leads"),
    "ISCLA": ("STTC", "ischemia in lateral leads"),
    "ISCAN": ("STTC", "ischemia in anterior leads"),
    "ANEUR": ("STTC", "ST-T change of ventricular aneurysm"),
    "EL": ("STTC", "electrolyte or drug effect"),
    "LAFB": ("CD", "left anterior fascicular block"),
    "LPFB": ("CD", "left posterior fascicular block"),
    "IRBBB": ("CD", "incomplete right bundle branch block"),
    "CRBBB": ("CD", "complete right bundle branch block"),
    "ILBBB": ("CD", "incomplete left bundle branch block"),
    "CLBBB": ("CD", "complete left bundle branch block"),
    "IVCD": ("CD", "non-specific intraventricular conduction disturbance"),
    "1AVB": ("CD", "first degree AV block"),
    "2AVB": ("CD", "second degree AV block"),
    "3AVB": ("CD", "third degree AV block"),
    "WPW": ("CD", "Wolff-Parkinson-White syndrome"),
    "LVH": ("HYP", "left ventricular hypertrophy"),
    "RVH": ("HYP", "right ventricular hypertrophy"),
    "SEHYP": ("HYP", "septal hypertrophy"),
    "LAO/LAE": ("HYP", "left atrial enlargement"),
    "RAO/RAE": ("HYP", "right atrial enlargement"),
}
"""Statement -> its diagnostic superclass, and its name in answers.

Statements and superclasses are those of ``scp_statements.csv`` (rows with ``diagnostic`` 1), the same in all releases
of PTB-XL, which therefore need not hold that file; the tests compare.
"""


def told(row: Row) -> list[str] | Exclude:
    """The diagnostic statements of a record, whatever their likelihood (as Strodthoff et al. 2021 count them)."""
    found = [code for code in row["scp_codes"] if code in STATEMENTS]
    return found or Exclude("no diagnostic statement")


class EcgStatements(Task):
    """Which of PTB-XL's 44 diagnostic statements were made about a 12-lead ECG?

    A statement counts whatever its likelihood: 0 means that none was told. Statements of form and rhythm do not count,
    and records that hold no other are left out.
    """

    meta: ClassVar[TaskMeta] = record_meta(
        name="ecg_statements",
        title="ECG diagnostic statements",
        kind="multilabel",
        what="Which diagnostic statements apply to this 12-lead ECG?",
        asks="which diagnoses does it show",
        classes=tuple(words for _, words in STATEMENTS.values()),
    )

    def label(self, row: Row) -> tuple[int, ...] | Exclude:
        """1 for each statement that the record holds."""
        found = told(row)
        return found if isinstance(found, Exclude) else tuple(int(code in found) for code in STATEMENTS)

    def prompt(self, question: str) -> str:
        """State what is shown; the finding comes last."""
        return f"Above is a resting electrocardiogram: twelve leads, ten seconds. Name all that apply: {question}"
