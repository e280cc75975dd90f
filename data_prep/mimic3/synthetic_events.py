"""The event tables of the synthetic stand-in; see :mod:`data_prep.mimic3.synthetic`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from data_prep.mimic3.variables import LAB, NAMES, SOURCES

if TYPE_CHECKING:
    import numpy as np

    from data_prep.mimic3.synthetic import SyntheticStay

# variable -> mean, SD between patients, SD between measurements, shift per SD of severity
_VALUES: dict[str, tuple[float, float, float, float]] = {
    "alb": (3.2, 0.4, 0.1, -0.25), "alp": (90, 30, 5, 8), "alt": (40, 15, 5, 12), "ast": (45, 15, 5, 15),
    "be": (0, 2, 1, -1.8), "bicar": (24, 2, 1, -1.8), "bili": (0.8, 0.2, 0.05, 0.12), "bili_dir": (0.3, 0.1, 0.05, 0.2),
    "bnd": (3, 1, 1, 2), "bun": (24, 7, 2, 9), "ca": (8.4, 0.4, 0.2, -0.1), "cai": (1.12, 0.05, 0.03, -0.02),
    "ck": (200, 80, 30, 40), "ckmb": (6, 2, 1, 2), "cl": (104, 3, 1.5, 0.5), "crea": (0.85, 0.15, 0.05, 0.12),
    "crp": (4, 2, 1, 2), "dbp": (62, 7, 6, -4), "fgn": (280, 60, 20, 20), "fio2": (45, 6, 4, 6),
    "glu": (135, 20, 18, 10), "hgb": (10.5, 1.2, 0.4, -0.4), "hr": (86, 10, 6, 8), "inr_pt": (1.25, 0.15, 0.05, 0.2),
    "k": (4.1, 0.3, 0.25, 0.12), "lact": (1.8, 0.4, 0.3, 0.9), "lymph": (12, 4, 2, -2), "map": (84, 6, 4, -2.5),
    "mch": (30, 1.5, 0.2, 0), "mchc": (33.5, 0.8, 0.3, 0), "mcv": (90, 4, 0.5, 0.3), "methb": (0.8, 0.3, 0.2, 0),
    "mg": (2.0, 0.2, 0.12, 0.02), "na": (138, 3, 1.2, 0.4), "neut": (78, 6, 3, 2), "o2sat": (97, 1, 1, -0.9),
    "pco2": (40, 4, 3, 1), "ph": (7.39, 0.03, 0.02, -0.03), "phos": (3.5, 0.6, 0.3, 0.4), "plt": (235, 35, 8, -8),
    "po2": (150, 20, 15, -6), "ptt": (34, 6, 3, 4), "resp": (19, 2.5, 2.5, 2.2), "sbp": (122, 11, 9, -7),
    "temp": (36.9, 0.3, 0.25, 0.05), "tnt": (0.1, 0.05, 0.02, 0.08), "wbc": (10.5, 2.5, 0.8, 1.8),
}  # fmt: skip
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
_ANTIBIOTIC, _NOREPINEPHRINE = 225798, 221906


def lab_events(stays: Sequence[SyntheticStay], rng: np.random.Generator) -> dict[str, Any]:
    """LABEVENTS as columns."""
    import numpy as np

    rows = _Rows()
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

    rows = _Rows()
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

    rows = _Rows()
    for stay in stays:
        hours = _times(stay, 1.3 / stay.often, rng)
        hours = hours[hours < stay.hours]
        amount = np.maximum(rng.normal(110 - 22 * _now(stay, hours), 35), 0)
        rows.add(stay, 226559 if stay.metavision else 40055, hours, np.round(amount))
    return rows.columns(icustay=True)


def infection_events(stays: Sequence[SyntheticStay], rng: np.random.Generator) -> dict[str, dict[str, Any]]:
    """INPUTEVENTS_MV, INPUTEVENTS_CV, MICROBIOLOGYEVENTS, PRESCRIPTIONS and PROCEDUREEVENTS_MV as columns."""
    import numpy as np

    pumps, rates, cultures, orders = _Rows(), _Rows(), _Rows(), _Rows()
    for stay in stays:
        start = stay.infected
        if start is None:
            if rng.random() < 0.15:
                cultures.add(stay, 70012, np.array([float(rng.integers(0, 20))]), np.array([1.0]))
            if stay.metavision and rng.random() < 0.15:  # a single dose before surgery
                pumps.add(stay, _ANTIBIOTIC, np.array([1.0]), np.array([1.0]))
            elif not stay.metavision and stay.severity > 1.2:
                rates.add(stay, 30120, np.arange(2.0, 9.0), np.full(7, 0.08))
            continue
        pumps.add(stay, _ANTIBIOTIC, start + np.arange(0.0, 96.0, 8.0), np.ones(12))
        cultures.add(stay, 70012, np.array([start - 1.0]), np.array([1.0]))
        orders.add(stay, 0, np.array([start - 12.0]), np.ones(1))
        if stay.severity > 0.3:
            pumps.add(stay, _NOREPINEPHRINE, start + 4 + np.arange(0.0, 24.0, 4.0), np.full(6, 0.12))
    mv = pumps.columns(icustay=True)
    stop = [2.0 if item == _NOREPINEPHRINE else 1.0 for item in mv["ITEMID"]]
    cv, grown, ordered = (
        rates.columns(icustay=True),
        cultures.columns(icustay=False),
        orders.columns(icustay=False),
    )
    return {
        "INPUTEVENTS_MV": {
            **{name: mv[name] for name in ("SUBJECT_ID", "HADM_ID", "ICUSTAY_ID")},
            "STARTTIME": mv["CHARTTIME"],
            "ENDTIME": pumps.moments(stop),
            "ITEMID": mv["ITEMID"],
            "RATE": [v if item == _NOREPINEPHRINE else None for v, item in zip(mv["VALUE"], mv["ITEMID"], strict=True)],
            "RATEUOM": ["mcg/kg/min" if item == _NOREPINEPHRINE else None for item in mv["ITEMID"]],
            "LINKORDERID": [
                10 * int(i) + (n == _NOREPINEPHRINE) for i, n in zip(mv["ICUSTAY_ID"], mv["ITEMID"], strict=True)
            ],
        },
        "INPUTEVENTS_CV": {
            **{name: cv[name] for name in ("SUBJECT_ID", "HADM_ID", "ICUSTAY_ID", "CHARTTIME", "ITEMID")},
            "RATE": cv["VALUE"],
            "RATEUOM": ["mcgkgmin"] * len(cv["ITEMID"]),
            "LINKORDERID": cv["ICUSTAY_ID"],
        },
        "MICROBIOLOGYEVENTS": {
            **{name: grown[name] for name in ("SUBJECT_ID", "HADM_ID")},
            "CHARTDATE": [text[:10] + " 00:00:00" for text in grown["CHARTTIME"]],
            "CHARTTIME": [text if i % 5 else None for i, text in enumerate(grown["CHARTTIME"])],
            "SPEC_ITEMID": grown["ITEMID"],
            "SPEC_TYPE_DESC": ["BLOOD CULTURE"] * len(grown["ITEMID"]),
            "ORG_ITEMID": [None] * len(grown["ITEMID"]),
        },
        "PRESCRIPTIONS": {
            **{name: ordered[name] for name in ("SUBJECT_ID", "HADM_ID")},
            "STARTDATE": [text[:10] + " 00:00:00" for text in ordered["CHARTTIME"]],
            "ENDDATE": [text[:10] + " 00:00:00" for text in orders.moments([120.0] * len(ordered["ITEMID"]))],
            "DRUG_TYPE": ["MAIN"] * len(ordered["ITEMID"]),
            "DRUG": ["Vancomycin"] * len(ordered["ITEMID"]),
        },
        "PROCEDUREEVENTS_MV": {
            "SUBJECT_ID": [s.subject for s in stays[:1]],
            "HADM_ID": [s.hadm for s in stays[:1]],
            "ICUSTAY_ID": [s.icustay for s in stays[:1]],
            "STARTTIME": mv["CHARTTIME"][:1] or ["2150-01-01 00:00:00"],
            "ITEMID": [225400 for _ in stays[:1]],
        },
    }


def _times(stay: SyntheticStay, every: float, rng: np.random.Generator) -> np.ndarray:
    """Hours at which something is charted; the first value of a stay may be an hour old."""
    import numpy as np

    steps = np.arange(0.0, max(stay.hours, 1), every)
    return steps + rng.uniform(-0.4, 0.4, len(steps))


def _now(stay: SyntheticStay, hours: np.ndarray) -> np.ndarray:
    """Severity over time: it shows within the first day, and an infection adds to it."""
    import numpy as np

    return stay.severity * np.clip(0.6 + hours / 40, 0.6, 1.2)


def _values(stay: SyntheticStay, name: str, hours: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    import numpy as np

    mean, between, within, shift = _VALUES[name]
    usual = mean + between * stay.traits[NAMES.index(name)]
    values = usual + 1.3 * shift * _now(stay, hours) + within * rng.normal(0, 1, len(hours))
    if stay.infected is not None:
        ill = np.clip((hours - stay.infected) / 6, 0, 1)
        fall = {"plt": 0.65, "map": 0.22, "crea": -1.6, "hr": -0.15, "wbc": -0.6, "temp": -0.04}.get(name, 0.0)
        values = values * (1 - fall * ill)
    least = 0.02 if name not in ("be",) else -24.0
    return np.round(np.maximum(values, least), 3)


class _Rows:
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
