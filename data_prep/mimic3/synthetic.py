"""A synthetic stand-in for MIMIC-III in its raw layout: the tables that are read, with quoted upper-case headers.

It is no model of disease. A hidden severity drives vital signs, laboratory values and death, more strongly as the
stay goes on; units differ in case mix, death and in how often they measure; some stays get an infection with
antibiotics, cultures and failing organs.
"""

from __future__ import annotations

import gzip
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.mimic3.synthetic_events import (
    chart_events,
    infection_events,
    lab_events,
    moments,
    output_events,
)
from fedmeki_bench.cohort.dataset import write_marker
from fedmeki_bench.seeds import generator

if TYPE_CHECKING:
    import numpy as np

GENERATOR_VERSION = 1
DIFFICULTY = "death follows a hidden severity (logit 3.0 per SD); units differ in death, case mix and measuring"
EPOCH_YEAR = 2150
# unit -> share of patients, shift of the severity in SD, relative frequency of measurements
UNITS = {
    "MICU": (0.38, 0.30, 1.0),
    "CCU": (0.18, -0.10, 0.9),
    "SICU": (0.18, 0.05, 0.8),
    "CSRU": (0.14, -0.60, 1.1),
    "TSICU": (0.12, 0.10, 0.7),
}
_HOUR = 3600


@dataclass(frozen=True, slots=True)
class SyntheticStay:
    """One ICU stay; times in seconds since 1970."""

    number: int
    subject: int
    hadm: int
    unit: str
    metavision: bool
    intime: int
    outtime: int
    severity: float
    traits: np.ndarray  # (48,) what is usual for this patient, in SD
    often: float  # relative frequency of measurements
    ventilated: bool
    infected: int | None  # hour at which an infection is suspected
    dies: str  # "", "icu" or "ward"
    female: bool
    age: float

    @property
    def icustay(self) -> int:
        """The icustay_id."""
        return 200_001 + self.number

    @property
    def hours(self) -> int:
        """Whole hours of the stay."""
        return (self.outtime - self.intime) // _HOUR


def write(out: Path, *, size: int, seed: int) -> None:
    """Write ``size`` ICU stays below ``out``; the same seed gives the same bytes."""
    out.mkdir(parents=True, exist_ok=True)
    stays = _stays(size, seed)
    for name, columns in _admission_tables(stays).items():
        _write_table(out, name, columns)
    _write_table(out, "CHARTEVENTS", chart_events(stays, generator(seed, "synthetic", "mimic3", "chart")))
    _write_table(out, "LABEVENTS", lab_events(stays, generator(seed, "synthetic", "mimic3", "lab")))
    _write_table(out, "OUTPUTEVENTS", output_events(stays, generator(seed, "synthetic", "mimic3", "output")))
    infections = infection_events(stays, generator(seed, "synthetic", "mimic3", "infection"))
    for name, columns in infections.items():
        _write_table(out, name, columns)
    write_marker(out, generator="mimic3", version=GENERATOR_VERSION, size=size, seed=seed, difficulty=DIFFICULTY)


def _stays(size: int, seed: int) -> list[SyntheticStay]:
    rng = generator(seed, "synthetic", "mimic3", "stays")
    names, shares = list(UNITS), [share for share, _, _ in UNITS.values()]
    stays: list[SyntheticStay] = []
    subject = hadm = 0
    while len(stays) < size:
        subject += 1
        count = min(int(rng.choice([1, 2, 3], p=[0.8, 0.15, 0.05])), size - len(stays))
        unit = names[int(rng.choice(len(names), p=shares))]
        usual, traits = rng.normal(0, 0.5), rng.normal(0, 1, 48)
        female, age = bool(rng.random() < 0.45), float(rng.uniform(16.5, 96))
        admitted = int(rng.integers(0, 40 * 365)) * 86_400 + (EPOCH_YEAR - 1970) * 31_557_600
        for visit in range(count):
            if visit and rng.random() < 0.3:  # back in the ICU during the same admission
                admitted = stays[-1].outtime + int(rng.integers(6, 60)) * _HOUR
            else:
                hadm += 1
                admitted += 0 if not visit else int(rng.integers(60, 900)) * 86_400
            severity = usual + UNITS[unit][1] + float(rng.normal(0, 0.85))
            dies = ""
            if visit == count - 1 and rng.random() < 1 / (1 + math.exp(2.2 - 3.0 * severity)):
                dies = "icu" if rng.random() < 0.7 else "ward"
            metavision = bool(rng.random() < 0.7)
            hours = float(min(max(rng.lognormal(4.1, 0.75), 2.0), 400.0))
            infected = None
            if metavision and rng.random() < 0.4:
                infected, hours = int(rng.integers(4, 48)), hours + 60
            elif rng.random() < 0.06:
                hours = float(rng.uniform(1, 28))
            intime = admitted + int(rng.integers(0, 18 * _HOUR))
            stays.append(
                SyntheticStay(
                    number=len(stays),
                    subject=10_000 + subject,
                    hadm=100_000 + hadm,
                    unit=unit,
                    metavision=metavision,
                    intime=intime,
                    outtime=intime + int(hours * _HOUR),
                    severity=severity,
                    traits=traits,
                    often=UNITS[unit][2],
                    ventilated=bool(rng.random() < 0.3 + 0.1 * severity),
                    infected=infected,
                    dies=dies,
                    female=female,
                    age=age,
                )
            )
    return stays


def _admission_tables(stays: list[SyntheticStay]) -> dict[str, dict[str, Any]]:
    """ICUSTAYS, ADMISSIONS, PATIENTS and TRANSFERS as columns."""
    patients = {s.subject: s for s in reversed(stays)}
    admissions: dict[int, list[SyntheticStay]] = {}
    for stay in stays:
        admissions.setdefault(stay.hadm, []).append(stay)
    first = {hadm: part[0] for hadm, part in admissions.items()}
    last = {hadm: part[-1] for hadm, part in admissions.items()}
    ward = 30 * _HOUR
    left = {hadm: s.outtime + (0 if s.dies == "icu" else ward) for hadm, s in last.items()}
    moves: list[tuple[int, int | None, int, str, str | None, int, int]] = []
    for hadm, part in admissions.items():
        for stay in part:
            moves.append((stay.subject, stay.icustay, hadm, "transfer", stay.unit, stay.intime, stay.outtime))
            if stay is not part[-1] or stay.dies != "icu":
                moves.append((stay.subject, None, hadm, "transfer", None, stay.outtime, stay.outtime + ward))
        moves.append((part[-1].subject, None, hadm, "discharge", None, left[hadm], left[hadm]))
    return {
        "ICUSTAYS": {
            "SUBJECT_ID": [s.subject for s in stays],
            "HADM_ID": [s.hadm for s in stays],
            "ICUSTAY_ID": [s.icustay for s in stays],
            "DBSOURCE": ["metavision" if s.metavision else "carevue" for s in stays],
            "FIRST_CAREUNIT": [s.unit for s in stays],
            "LAST_CAREUNIT": [s.unit for s in stays],
            "INTIME": moments([s.intime for s in stays]),
            "OUTTIME": moments([s.outtime for s in stays]),
            "LOS": [round((s.outtime - s.intime) / 86_400, 4) for s in stays],
        },
        "ADMISSIONS": {
            "SUBJECT_ID": [s.subject for s in last.values()],
            "HADM_ID": list(last),
            "ADMITTIME": moments([s.intime - 2 * _HOUR for s in first.values()]),
            "DISCHTIME": moments(list(left.values())),
            "DEATHTIME": [moments([left[h]])[0] if s.dies else None for h, s in last.items()],
            "HOSPITAL_EXPIRE_FLAG": [int(bool(s.dies)) for s in last.values()],
            "HAS_CHARTEVENTS_DATA": [1] * len(last),
        },
        "PATIENTS": {
            "SUBJECT_ID": list(patients),
            "GENDER": ["F" if s.female else "M" for s in patients.values()],
            "DOB": moments([s.intime - int((300 if s.age > 89 else s.age) * 31_557_600) for s in patients.values()]),
            "EXPIRE_FLAG": [int(bool(s.dies)) for s in patients.values()],
        },
        "TRANSFERS": {
            "SUBJECT_ID": [m[0] for m in moves],
            "HADM_ID": [m[2] for m in moves],
            "ICUSTAY_ID": [m[1] for m in moves],
            "EVENTTYPE": [m[3] for m in moves],
            "CURR_CAREUNIT": [m[4] for m in moves],
            "INTIME": moments([m[5] for m in moves]),
            "OUTTIME": moments([m[6] for m in moves]),
        },
    }


def _write_table(out: Path, name: str, columns: dict[str, Any]) -> None:
    """NAME.csv.gz with ROW_ID first; the same columns give the same bytes."""
    import pyarrow as pa
    from pyarrow import csv

    rows = len(next(iter(columns.values())))
    table = pa.table({"ROW_ID": pa.array(range(1, rows + 1)), **{k: pa.array(v) for k, v in columns.items()}})
    with (out / f"{name}.csv.gz").open("wb") as raw, gzip.GzipFile("", "wb", 1, raw, mtime=0) as packed:
        csv.write_csv(table, packed)
