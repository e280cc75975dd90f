"""The event tables of the synthetic stand-in; see ``synthetic``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .variables import LAB, NAMES, SOURCES

if TYPE_CHECKING:
    import numpy as np

    from .synthetic_stay import SyntheticStay

# variable -> mean, SD between patients, SD between measurements, shift by a shock of strength 1
_VALUES: dict[str, tuple[float, float, float, float]] = {
    "alb": (3.2, 0.4, 0.1, -0.2), "alp": (90, 30, 5, 0), "alt": (40, 15, 5, 8), "ast": (45, 15, 5, 10),
    "be": (0, 2, 1, -2.5), "bicar": (24, 2, 1, -2.5), "bili": (0.8, 0.15, 0.05, 0), "bili_dir": (0.3, 0.1, 0.05, 0),
    "bnd": (3, 1, 1, 0), "bun": (24, 7, 2, 6), "ca": (8.4, 0.4, 0.2, 0), "cai": (1.12, 0.05, 0.03, 0),
    "ck": (200, 80, 30, 20), "ckmb": (6, 2, 1, 0.5), "cl": (104, 3, 1.5, 0), "crea": (0.85, 0.12, 0.05, 0.08),
    "crp": (4, 2, 1, 0), "dbp": (62, 7, 6, -6), "fgn": (280, 60, 20, 0), "fio2": (40, 3, 2, 0),
    "glu": (135, 20, 18, 5), "hgb": (10.5, 1.2, 0.4, 0), "hr": (86, 10, 6, 11), "inr_pt": (1.25, 0.15, 0.05, 0.05),
    "k": (4.1, 0.3, 0.25, 0.1), "lact": (1.8, 0.4, 0.3, 1.2), "lymph": (12, 4, 2, 0), "map": (86, 6, 4, -7),
    "mch": (30, 1.5, 0.2, 0), "mchc": (33.5, 0.8, 0.3, 0), "mcv": (90, 4, 0.5, 0), "methb": (0.8, 0.3, 0.2, 0),
    "mg": (2.0, 0.2, 0.12, 0), "na": (138, 3, 1.2, 0), "neut": (78, 6, 3, 0), "o2sat": (97, 1, 1, -0.6),
    "pco2": (40, 4, 3, -1.5), "ph": (7.39, 0.03, 0.02, -0.03), "phos": (3.5, 0.6, 0.3, 0.2), "plt": (235, 30, 8, -5),
    "po2": (240, 10, 8, 0), "ptt": (34, 6, 3, 1), "resp": (19, 2.5, 2.5, 2.5), "sbp": (122, 11, 9, -12),
    "temp": (36.9, 0.3, 0.25, 0), "tnt": (0.1, 0.05, 0.02, 0.02), "wbc": (10.5, 2.5, 0.8, 0),
}  # fmt: skip
# variable -> shift by an infection of strength 1
_INFECTED = {"temp": 1.1, "wbc": 5.0, "neut": 7, "bnd": 4, "crp": 6, "lymph": -4, "hr": 4, "resp": 1.5}
# variable -> what a failing organ makes of it, as a factor
_FAILING = {"map": 0.68, "sbp": 0.75, "dbp": 0.75, "crea": 2.8, "plt": 0.6, "hr": 1.15, "lact": 1.8}
# variable -> the range without a point in the SOFA score, which only failing organs leave
_SOUND = {
    "map": (72, 200),
    "crea": (0.3, 1.15),
    "plt": (160, 900),
    "bili": (0.1, 1.15),
    "po2": (215, 400),
    "fio2": (30, 50),
}
_LABS = {s.name: s.itemids[0] for s in SOURCES if s.table == LAB}
# laboratory panel -> hours between draws, share of stays in which it is drawn, variables
_PANELS: dict[str, tuple[float, float, tuple[str, ...]]] = {
    "chemistry": (9, 1.0, ("na", "k", "cl", "bicar", "bun", "crea", "glu", "ca", "mg", "phos")),
    "count": (11, 1.0, ("hgb", "wbc", "plt", "mch", "mchc", "mcv")),
    "gas": (6, 0.5, ("ph", "po2", "pco2", "be", "lact", "cai")),
    "liver": (22, 0.6, ("alt", "ast", "alp", "bili", "alb")),
    "clotting": (16, 0.8, ("ptt", "inr_pt")),
    "heart": (10, 0.35, ("ck", "ckmb", "tnt")),
    "cells": (24, 0.4, ("neut", "lymph", "bnd")),
    "rare": (40, 0.15, ("fgn", "crp", "bili_dir", "methb")),
}
# vital sign -> item ids in CareVue and MetaVision, hours between chartings
_VITALS: dict[str, tuple[int, int, float]] = {
    "hr": (211, 220045, 1), "sbp": (455, 220179, 1), "dbp": (8441, 220180, 1), "map": (456, 220181, 1),
    "resp": (618, 220210, 1), "o2sat": (646, 220277, 1), "temp": (678, 223761, 4), "fio2": (3420, 223835, 4),
}  # fmt: skip
_GCS = {"carevue": ((184, 4), (723, 5), (454, 6)), "metavision": ((220739, 4), (223900, 5), (223901, 6))}
_OTHER_ITEMS = (742, 1125, 220046, 224080)  # charted, but of no interest here


def lab_events(stays: Sequence[SyntheticStay], rng: np.random.Generator) -> dict[str, Any]:
    """LABEVENTS as columns."""
    import numpy as np

    rows = Rows()
    for stay in stays:
        for every, share, names in _PANELS.values():
            if rng.random() > share * stay.often:
                continue
            hours = _times(stay, every / stay.often, rng)
            for name in names:
                rows.add(stay, _LABS[name], hours, _values(stay, name, hours, rng))
        if rng.random() < 0.02:  # drawn in the outpatient clinic
            rows.add(stay, _LABS["crea"], np.array([-900.0]), np.array([0.9]), hadm=None)
    columns = rows.columns(icustay=False)
    return columns | {"VALUEUOM": [None] * len(columns["ITEMID"]), "FLAG": [None] * len(columns["ITEMID"])}


def chart_events(stays: Sequence[SyntheticStay], rng: np.random.Generator) -> dict[str, Any]:
    """CHARTEVENTS as columns."""
    import numpy as np

    rows = Rows()
    for stay in stays:
        for name, (carevue, metavision, every) in _VITALS.items():
            if name == "fio2" and not stay.ventilated:
                continue
            hours = _times(stay, every / stay.often, rng)
            hours = hours[rng.random(len(hours)) < 0.92]
            values = _values(stay, name, hours, rng)
            if name == "temp":
                values = values * 9 / 5 + 32
            values[rng.random(len(values)) < 0.002] = 999_999.0  # as happens at the bedside
            rows.add(stay, metavision if stay.metavision else carevue, hours, np.round(values, 1))
        hours = _times(stay, 4 / stay.often, rng)
        for itemid, best in _GCS["metavision" if stay.metavision else "carevue"]:
            rows.add(stay, itemid, hours, np.full(len(hours), float(best)))
        if stay.ventilated:
            rows.add(stay, 224685 if stay.metavision else 682, hours, np.round(rng.normal(480, 40, len(hours))))
        rows.add(stay, 226512 if stay.metavision else 762, np.array([0.5]), np.round(rng.normal(80, 14, 1), 1))
        hours = _times(stay, 6, rng)
        rows.add(stay, int(rng.choice(_OTHER_ITEMS)), hours, np.ones(len(hours)))
    columns = rows.columns(icustay=True)
    columns["VALUENUM"] = columns["VALUE"]
    columns["VALUE"] = [f"{value:g}" for value in columns["VALUENUM"]]
    return columns | {name: [None] * len(columns["ITEMID"]) for name in ("VALUEUOM", "WARNING", "ERROR", "STOPPED")}


def moments(seconds: Any) -> list[str]:
    """Times as MIMIC writes them."""
    import numpy as np

    text = np.datetime_as_string(np.asarray(seconds, dtype="int64").astype("datetime64[s]"))
    spaced: list[str] = np.char.replace(text, "T", " ").tolist()
    return spaced


def output_events(stays: Sequence[SyntheticStay], rng: np.random.Generator) -> dict[str, Any]:
    """OUTPUTEVENTS as columns."""
    import numpy as np

    rows = Rows()
    for stay in stays:
        hours = _times(stay, 1.3 / stay.often, rng)
        hours = hours[hours < stay.hours]
        usual = (110 - 40 * _shocked(stay, hours)) * (1 - 0.8 * _failing(stay, hours))
        amount = np.maximum(usual * rng.normal(1, 0.3, len(hours)), 0)
        rows.add(stay, 226559 if stay.metavision else 40055, hours, np.round(amount))
    return rows.columns(icustay=True)


def _times(stay: SyntheticStay, every: float, rng: np.random.Generator) -> np.ndarray:
    """Hours at which something is charted; the first value of a stay may be an hour old."""
    import numpy as np

    steps = np.arange(0.0, max(stay.hours, 1), every)
    return steps + rng.uniform(-0.4, 0.4, len(steps))


def _shocked(stay: SyntheticStay, hours: np.ndarray) -> np.ndarray:
    """How much of the shock shows: it begins within the first day."""
    import numpy as np

    return 1.2 * stay.shock * np.clip((hours - stay.begins) / 6, 0, 1)


def _failing(stay: SyntheticStay, hours: np.ndarray) -> np.ndarray:
    """How far organs fail, 0 to 1: only in shock, and later."""
    import numpy as np

    return np.clip((hours - stay.fails) / 2, 0, 1) * (stay.shock > 0)


def _values(stay: SyntheticStay, name: str, hours: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    import numpy as np

    mean, between, within, shift = _VALUES[name]
    values = mean + between * stay.traits[NAMES.index(name)] + within * rng.standard_normal(len(hours))
    if stay.shock and shift:
        values += shift * _shocked(stay, hours)
    if stay.infection and name in _INFECTED:
        values += _INFECTED[name] * stay.infection * np.clip((hours - stay.ill) / 6, 0, 1)
    if name in _SOUND:
        values = values.clip(*_SOUND[name])
    if stay.shock and name in _FAILING:
        values *= 1 + (_FAILING[name] - 1) * _failing(stay, hours)
    least = 0.02 if name not in ("be",) else -24.0
    return np.round(np.maximum(values, least), 3)


class Rows:
    """Collects events of one table."""

    def __init__(self) -> None:
        self._parts: list[tuple[SyntheticStay, int, int | None, np.ndarray, np.ndarray]] = []

    def add(
        self, stay: SyntheticStay, itemid: int, hours: np.ndarray, values: np.ndarray, hadm: int | None = 0
    ) -> None:
        """Events of one item; ``hadm`` None leaves the admission blank."""
        self._parts.append((stay, itemid, stay.hadm if hadm == 0 else hadm, hours, values))

    def columns(self, *, icustay: bool) -> dict[str, Any]:
        """The table's usual columns."""
        import numpy as np

        sizes = [len(hours) for *_, hours, _ in self._parts]

        def repeated(values: list[int]) -> Any:
            return np.repeat(np.asarray(values, dtype=np.int64), sizes)

        hadm = [part[2] for part in self._parts]
        columns: dict[str, Any] = {
            "SUBJECT_ID": repeated([part[0].subject for part in self._parts]),
            "HADM_ID": [None if h < 0 else h for h in repeated([-1 if h is None else h for h in hadm]).tolist()],
        }
        if icustay:
            columns["ICUSTAY_ID"] = repeated([part[0].icustay for part in self._parts])
        columns["ITEMID"] = repeated([part[1] for part in self._parts])
        columns["CHARTTIME"] = self.moments([0.0] * sum(sizes))
        columns["VALUE"] = np.concatenate([np.empty(0), *(values for *_, values in self._parts)])
        if not icustay:
            columns["VALUENUM"] = columns["VALUE"]
        return columns

    def moments(self, later: Sequence[float]) -> list[str]:
        """The events' times plus ``later`` hours, to the minute."""
        import numpy as np

        times = [part[0].intime + part[3] * 3600 for part in self._parts]
        seconds = np.concatenate([np.empty(0), *times]) + np.asarray(later) * 3600
        return moments(seconds // 60 * 60) if len(seconds) else []
