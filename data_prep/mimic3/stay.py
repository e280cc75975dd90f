"""One ICU stay, as every other module here knows it."""

from __future__ import annotations

from dataclasses import dataclass

HOUR = 3600
LONGEST = 168  # hours of a stay that are looked at


@dataclass(frozen=True, slots=True)
class Stay:
    """One ICU stay; times in seconds since 1970, as shifted by MIMIC."""

    icustay_id: str
    hadm_id: str
    subject_id: str
    careunit: str
    intime: int
    outtime: int
    age: float  # years; 90 stands for "over 89"
    sex: str
    hospital_death: bool
    death: int | None
    position: int  # row of ICUSTAYS
    icu_death: bool = False

    @property
    def hours(self) -> float:
        """Length of the stay."""
        return (self.outtime - self.intime) / HOUR

    @property
    def last_hour(self) -> int:
        """The last hour that is looked at."""
        return min(LONGEST, int(self.hours))
