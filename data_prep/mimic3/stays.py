"""ICU stays with what the admission, patient and transfer tables say of them, and YAIB's exclusions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING

from fedmeki_bench.api import Dropped, Drops

from .stay import HOUR, Stay
from .workspace import Workspace

if TYPE_CHECKING:
    import numpy as np

STAY_COLUMNS: dict[str, tuple[str, ...]] = {
    "ICUSTAYS": ("subject_id", "hadm_id", "icustay_id", "first_careunit", "intime", "outtime"),
    "ADMISSIONS": ("hadm_id", "deathtime", "hospital_expire_flag"),
    "PATIENTS": ("subject_id", "gender", "dob"),
    "TRANSFERS": ("hadm_id", "eventtype", "curr_careunit", "intime"),
}
_EPOCH = datetime(1970, 1, 1)
_WARDS = {"", "NWARD"}  # wards that are no ICU (only ICUs and the nursery have a unit's name)


@dataclass(slots=True)
class Selection:
    """Numbers of the stays that are left, and how many were left after each exclusion."""

    stays: Sequence[Stay]
    kept: list[int]
    drops: Drops
    attrition: list[tuple[str, int]] = field(default_factory=list)

    def exclude(self, reason: str, out: Callable[[int], bool]) -> None:
        """Leave out the stays for which ``out(number)`` holds, counted under ``reason``."""
        left = []
        for number in self.kept:
            if out(number):
                self.drops.leave_out(reason)
            else:
                left.append(number)
        self.kept = left
        self.attrition.append((reason, len(left)))

    def told(self) -> str:
        """The attrition in one line."""
        steps = [f"{len(self.stays)} stays", *(f"{n} after '{reason}'" for reason, n in self.attrition)]
        return "attrition: " + "; ".join(steps)


def read_stays(work: Workspace, drops: Drops) -> list[Stay]:
    """The usable stays in the order of their ids; the others are counted in ``drops``."""
    admissions = {row[0]: row[1:] for row in work.rows("ADMISSIONS", STAY_COLUMNS["ADMISSIONS"])}
    patients = {row[0]: row[1:] for row in work.rows("PATIENTS", STAY_COLUMNS["PATIENTS"])}
    stays: dict[str, Stay] = {}
    rows = work.rows("ICUSTAYS", STAY_COLUMNS["ICUSTAYS"])
    drops.read = len(rows)
    for position, row in enumerate(rows):
        try:
            stay = _stay(position, row, admissions, patients)
            if stay.icustay_id in stays:
                raise Dropped("the icustay_id occurs a second time")
        except Dropped as dropped:
            drops.add(dropped.reason, f"row {position + 1} (icustay_id {row[2]})")
            continue
        stays[stay.icustay_id] = stay
    return _with_icu_deaths(work, [stays[name] for name in sorted(stays)])


def general_exclusions(work: Workspace, selection: Selection) -> None:
    """YAIB's exclusions for every task: too short, too little or too seldom measured, under age."""
    stays = selection.stays
    found = work.fetch("SELECT DISTINCT stay, hour FROM hourly")
    rows, gap = activity(found["stay"], found["hour"], [stay.last_hour for stay in stays])
    selection.exclude("the stay is shorter than 6 h", lambda n: stays[n].hours < 6)
    selection.exclude("fewer than 4 hours have a measurement", lambda n: rows[n] < 4)
    selection.exclude("more than 12 h in a row have no measurement", lambda n: gap[n] > 12)
    selection.exclude("the patient is under 18", lambda n: stays[n].age < 18)


def mortality_exclusions(selection: Selection) -> None:
    """What the 24-hour mortality task leaves out besides."""
    stays = selection.stays

    def early_death(number: int) -> bool:
        stay = stays[number]
        return stay.icu_death and stay.death is not None and stay.death - stay.intime < 30 * HOUR

    selection.exclude("died in the ICU within 30 h", early_death)
    selection.exclude("the stay is shorter than 30 h", lambda n: stays[n].hours < 30)


def activity(stay: np.ndarray, hour: np.ndarray, last_hour: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Per stay: hours with any value, and the longest run of hours without one within 0 .. ``last_hour``."""
    import numpy as np

    end = np.asarray(last_hour, dtype=np.int64)
    rows = np.bincount(stay, minlength=len(end))
    inside = (hour >= 0) & (hour <= end[stay])
    order = np.lexsort((hour[inside], stay[inside]))
    stay, hour = stay[inside][order], hour[inside][order].astype(np.int64)
    before = np.full(len(hour), -1)
    if len(hour):
        same = stay[1:] == stay[:-1]
        before[1:][same] = hour[:-1][same]
    gap, latest = np.zeros(len(end), dtype=np.int64), np.full(len(end), -1)
    np.maximum.at(gap, stay, hour - before - 1)
    np.maximum.at(latest, stay, hour)
    return rows, np.maximum(gap, end - latest)


def seconds(text: str | None) -> int | None:
    """Seconds since 1970 of a time as MIMIC writes it; ``None`` if it is blank or no time."""
    if not text:
        return None
    try:
        return int((datetime.fromisoformat(text.strip()).replace(tzinfo=None) - _EPOCH).total_seconds())
    except ValueError:
        return None


def _stay(
    position: int,
    row: Sequence[str | None],
    admissions: Mapping[str, Sequence[str | None]],
    patients: Mapping[str, Sequence[str | None]],
) -> Stay:
    subject, hadm, icustay = row[:3]
    if not subject or not hadm or not icustay:
        raise Dropped("an id (subject_id, hadm_id, icustay_id) is blank")
    entry, departure = seconds(row[4]), seconds(row[5])
    if entry is None or departure is None:
        raise Dropped("intime or outtime is blank or no time")
    if departure < entry:
        raise Dropped("outtime lies before intime")
    if hadm not in admissions:
        raise Dropped("the admission is not in ADMISSIONS")
    if subject not in patients:
        raise Dropped("the patient is not in PATIENTS")
    gender, birth = patients[subject]
    death, expired = admissions[hadm]
    born = seconds(birth)
    if born is None or born > entry:
        raise Dropped("the date of birth is blank, no date or after the stay")
    if expired not in ("0", "1"):
        raise Dropped("hospital_expire_flag is neither 0 nor 1")
    return Stay(
        icustay_id=icustay,
        hadm_id=hadm,
        subject_id=subject,
        careunit=row[3] or "",
        intime=entry,
        outtime=departure,
        age=min(round((entry - born) / 86400 / 365.25, 2), 90.0),
        sex={"M": "male", "F": "female"}.get((gender or "").strip().upper(), ""),
        hospital_death=expired == "1",
        death=seconds(death),
        position=position,
    )


def _with_icu_deaths(work: Workspace, stays: Sequence[Stay]) -> list[Stay]:
    """Marks YAIB's ICU deaths: died in hospital, the last ward was an ICU, and it is the last ICU stay."""
    columns = STAY_COLUMNS["TRANSFERS"]
    ward: dict[str, tuple[int, str]] = {}
    moved = "coalesce(lower(eventtype), '') <> 'discharge'"
    for hadm, _, unit, entry in work.rows("TRANSFERS", columns, moved):
        at = seconds(entry)
        if hadm and at is not None and (hadm not in ward or at >= ward[hadm][0]):
            ward[hadm] = (at, (unit or "").strip())
    last: dict[str, Stay] = {}
    for stay in _by_time(stays):
        last[stay.hadm_id] = stay
    return [
        replace(stay, icu_death=True)
        if stay.hospital_death and last[stay.hadm_id] is stay and ward.get(stay.hadm_id, (0, ""))[1] not in _WARDS
        else stay
        for stay in stays
    ]


def _by_time(stays: Iterable[Stay]) -> list[Stay]:
    return sorted(stays, key=lambda stay: (stay.intime, stay.icustay_id))
