"""One ICU stay of the synthetic stand-in, with the signs that it shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .stay import HOUR

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True)
class SyntheticStay:
    """One ICU stay; times in seconds since 1970, hours since ICU admission, strengths 0 where the sign is absent."""

    number: int
    subject: int
    hadm: int
    unit: str
    metavision: bool
    intime: int
    outtime: int
    signs: frozenset[str]
    shock: float
    begins: float  # hour from which the shock shows, faintly
    fails: float  # hour from which it fails organs, if it is there
    infection: float
    ill: float  # hour from which the infection shows
    suspected: float  # hour of its first antibiotic
    traits: np.ndarray  # (48,) what is usual for this patient, in SD
    often: float  # relative frequency of measurements
    ventilated: bool
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
        return (self.outtime - self.intime) // HOUR
