"""A synthetic stand-in for MIMIC-III in its raw layout: the tables that are read, with quoted upper-case headers.

It is no model of disease. Shock and infection come independently of each other. Shock shows faintly within the first
day and fails organs later; who has it dies in hospital. An infection shows in temperature, white count, antibiotics
and cultures. So organs fail around a suspected infection, which is sepsis, where both are there. Units differ in how
often they measure and a little in how often there is shock.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedmeki_bench.api import FINDINGS, generator, write_marker

from ..sign_sampling import sample_signs
from .stay import HOUR
from .synthetic_events import (
    chart_events,
    lab_events,
    moments,
    output_events,
)
from .synthetic_stay import SyntheticStay
from .synthetic_treatments import treatment_events

if TYPE_CHECKING:
    pass

GENERATOR_VERSION = 2
STRENGTH = (0.2, 1.0)
DIFFICULTY = (
    f"shock and infection of strength {STRENGTH[0]} to {STRENGTH[1]}, uniform, shock beginning in the first 12 hours; "
    "units differ in measuring and in how often there is shock (25 % less to 10 % more)"
)
EPOCH_YEAR = 2150
# unit -> share of patients, factor of the prevalence of shock, relative frequency of measurements
UNITS = {
    "MICU": (0.38, 1.10, 1.0),
    "CCU": (0.18, 0.95, 0.9),
    "SICU": (0.18, 1.00, 0.8),
    "CSRU": (0.14, 0.75, 1.1),
    "TSICU": (0.12, 1.05, 0.7),
}
_CAREVUE = 0.1  # antibiotics are charted in MetaVision only: sepsis of these stays is not seen
_COURSE = 84  # hours of a septic stay after organs fail: the antibiotics go on for 72


def write(out: Path, *, size: int, seed: int) -> None:
    """Write ``size`` ICU stays below ``out``; the same seed gives the same bytes."""
    out.mkdir(parents=True, exist_ok=True)
    stays = list(cases(size, seed))
    for name, columns in _admission_tables(stays).items():
        _write_table(out, name, columns)
    _write_table(out, "CHARTEVENTS", chart_events(stays, generator(seed, "synthetic", "mimic3", "chart")))
    _write_table(out, "LABEVENTS", lab_events(stays, generator(seed, "synthetic", "mimic3", "lab")))
    _write_table(out, "OUTPUTEVENTS", output_events(stays, generator(seed, "synthetic", "mimic3", "output")))
    treatments = treatment_events(stays, generator(seed, "synthetic", "mimic3", "treatment"))
    for name, columns in treatments.items():
        _write_table(out, name, columns)
    write_marker(out, generator="mimic3", version=GENERATOR_VERSION, size=size, seed=seed, difficulty=DIFFICULTY)


def cases(size: int, seed: int) -> Iterator[SyntheticStay]:
    """The stays of a stand-in, in their order; those of one admission show the same signs."""
    rng = generator(seed, "synthetic", "mimic3", "stays")
    names, shares = list(UNITS), [share for share, _, _ in UNITS.values()]
    done = subject = hadm = 0
    while done < size:
        subject += 1
        count = int(rng.choice([1, 2, 3], p=[0.8, 0.15, 0.05]))
        unit = names[int(rng.choice(len(names), p=shares))]
        traits = rng.normal(0, 1, 48)
        female, age = bool(rng.random() < 0.45), float(rng.uniform(16.5, 96))
        left = int(rng.integers(0, 40 * 365)) * 86_400 + (EPOCH_YEAR - 1970) * 31_557_600
        while count and done < size:
            hadm += 1
            signs = sample_signs("clinical", rng, {"shock": UNITS[unit][1]})
            fatal = FINDINGS["mortality"].holds(signs)
            metavision = bool(rng.random() >= _CAREVUE)
            visits = min(1 + int(count > 1 and rng.random() < 0.3), size - done)  # two: back in the ICU
            for visit in range(visits):
                last = visit == visits - 1
                hours = float(min(max(rng.lognormal(4.1, 0.75), 2.0), 400.0))
                if rng.random() < 0.06:
                    hours = float(rng.uniform(1, 28))
                # a septic series is cut 6 h after organs fail: then it is as long as the others are
                fails = min(max(hours - 7, 8.0), 155.0)
                suspected = fails + float(rng.uniform(-8, 8))
                if FINDINGS["sepsis"].holds(signs):
                    hours = fails + _COURSE
                intime = left + int(rng.integers(0, 18 * HOUR))
                outtime = intime + int(hours * HOUR)
                yield SyntheticStay(
                    number=done,
                    subject=10_000 + subject,
                    hadm=100_000 + hadm,
                    unit=unit,
                    metavision=metavision,
                    intime=intime,
                    outtime=outtime,
                    signs=signs,
                    shock=float(rng.uniform(*STRENGTH)) * ("shock" in signs),
                    begins=float(rng.uniform(0, 12)),
                    fails=fails,
                    infection=float(rng.uniform(*STRENGTH)) * ("infection" in signs),
                    ill=float(rng.uniform(0, 12)),
                    suspected=max(suspected, 1.0),
                    traits=traits,
                    often=UNITS[unit][2],
                    ventilated=bool(rng.random() < 0.3),
                    dies=("icu" if rng.random() < 0.7 else "ward") if fatal and last else "",
                    female=female,
                    age=age,
                )
                done += 1
                left = outtime + int(rng.integers(6, 60)) * HOUR
            count = 0 if fatal else count - visits
            left += int(rng.integers(60, 900)) * 86_400


def _admission_tables(stays: list[SyntheticStay]) -> dict[str, dict[str, Any]]:
    """ICUSTAYS, ADMISSIONS, PATIENTS and TRANSFERS as columns."""
    patients = {s.subject: s for s in stays}
    admissions: dict[int, list[SyntheticStay]] = {}
    for stay in stays:
        admissions.setdefault(stay.hadm, []).append(stay)
    first = {hadm: part[0] for hadm, part in admissions.items()}
    last = {hadm: part[-1] for hadm, part in admissions.items()}
    ward = 30 * HOUR
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
            "ADMITTIME": moments([s.intime - 2 * HOUR for s in first.values()]),
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
