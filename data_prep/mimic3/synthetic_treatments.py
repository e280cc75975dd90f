"""Antibiotics, cultures and vasopressors of the synthetic stand-in; see ``synthetic``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .synthetic_events import Rows

if TYPE_CHECKING:
    import numpy as np

    from .synthetic_stay import SyntheticStay

_ANTIBIOTIC, _NOREPINEPHRINE, _NOREPINEPHRINE_CAREVUE, _CULTURE = 225798, 221906, 30120, 70012


def treatment_events(stays: Sequence[SyntheticStay], rng: np.random.Generator) -> dict[str, dict[str, Any]]:
    """INPUTEVENTS_MV, INPUTEVENTS_CV, MICROBIOLOGYEVENTS, PRESCRIPTIONS and PROCEDUREEVENTS_MV as columns.

    An infection gets a culture and antibiotics, failing organs get norepinephrine; without infection a few stays get
    one of the two: a culture, or a single dose before surgery.
    """
    import numpy as np

    pumps, rates, cultures, orders = Rows(), Rows(), Rows(), Rows()
    for stay in stays:
        once = rng.random(2)
        if stay.infection:
            doses = stay.suspected + np.arange(0.0, 96.0, 8.0)
            if stay.metavision:
                pumps.add(stay, _ANTIBIOTIC, doses, np.ones(len(doses)))
            cultures.add(stay, _CULTURE, np.array([stay.suspected - 1.0]), np.array([1.0]))
            orders.add(stay, 0, np.array([stay.suspected]), np.ones(1))
        elif once[0] < 0.15:
            cultures.add(stay, _CULTURE, np.array([float(rng.integers(0, 20))]), np.array([1.0]))
        elif stay.metavision and once[1] < 0.15:
            pumps.add(stay, _ANTIBIOTIC, np.array([1.0]), np.array([1.0]))
        if stay.shock and stay.fails < stay.hours:
            if stay.metavision:
                pumps.add(stay, _NOREPINEPHRINE, stay.fails + np.arange(0.0, 24.0, 4.0), np.full(6, 0.12))
            else:
                rates.add(stay, _NOREPINEPHRINE_CAREVUE, stay.fails + np.arange(24.0), np.full(24, 0.12))
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
            "ITEMID": [225400] * len(stays[:1]),
        },
    }
