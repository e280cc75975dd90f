"""Sepsis-3 onset: organ failure (SOFA up by 2) around a suspected infection (Singer et al., 2016; as in YAIB)."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from .infection import INFECTION_COLUMNS, suspicions
from .infusions import INFUSION_COLUMNS, hourly_rates, store_infusions
from .sofa import DAY, VASOPRESSORS, sofa
from .variables import CHART, NAMES, SUMMED
from .workspace import PROCEDURE, Item, Workspace

if TYPE_CHECKING:
    import numpy as np

    from .stay import Stay

logger = logging.getLogger(__name__)

BEFORE, AFTER = 48, 24  # hours around the suspicion
RISE = 2
SEPSIS_COLUMNS: dict[str, tuple[str, ...]] = {
    **INFECTION_COLUMNS,
    **INFUSION_COLUMNS,
    PROCEDURE: ("icustay_id", "itemid", "starttime"),
}
_EYE, _VERBAL, _MOTOR, _TOTAL, _RASS, _TUBE, _VENT_ON, _VENT_OFF = range(60, 68)
_VENT_HOURS, _VENT_LEAST = 6 * 3600, 1800  # seconds
# series of the score -> (code, worst of the hour)
_WORST = {
    "po2": (NAMES.index("po2"), "low"),
    "fio2": (NAMES.index("fio2"), "high"),
    "plt": (NAMES.index("plt"), "low"),
    "bili": (NAMES.index("bili"), "high"),
    "crea": (NAMES.index("crea"), "high"),
    "map": (NAMES.index("map"), "low"),
    "gcs_eye": (_EYE, "low"),
    "gcs_verbal": (_VERBAL, "low"),
    "gcs_motor": (_MOTOR, "low"),
    "gcs_total": (_TOTAL, "low"),
    "rass": (_RASS, "low"),
    "tube": (_TUBE, "low"),
    "urine": (NAMES.index(SUMMED), "total"),
}
# item ids as in ricu's concepts vent_start and vent_end (Bennett et al., GigaScience 2023)
_VENT_ON_ITEMS = (
    1, 60, 218, 221, 223, 436, 437, 444, 445, 448, 449, 450, 459, 501, 502, 503, 505, 506, 535, 543, 639, 654,
    667, 668, 669, 670, 671, 672, 681, 682, 683, 684, 686, 1211, 1340, 1486, 1600, 1655, 2000, 3459, 5865, 5866,
    220339, 223848, 223849, 224419, 224684, 224685, 224686, 224687, 224695, 224696, 224697, 224700, 224701,
    224702, 224703, 224704, 224705, 224706, 224707, 224709, 224738, 224746, 224747, 224750, 226873, 227187,
)  # fmt: skip
_VENT_OFF_ITEMS = {PROCEDURE: (225468, 225477, 227194), CHART: (467, 469, 226732)}


def score_items() -> list[Item]:
    """The items that the score needs besides the 48 variables."""
    scales = {
        _EYE: ((184, 220739), 1, 4),
        _VERBAL: ((723, 223900), 1, 5),
        _MOTOR: ((454, 223901), 1, 6),
        _TOTAL: ((198,), 3, 15),
        _RASS: ((228096,), -5, 5),
    }
    items = [
        Item(CHART, itemid, code, "number", low, high)
        for code, (itemids, low, high) in scales.items()
        for itemid in itemids
    ]
    texts = ("1.0 ET/Trach", "No Response-ETT")
    items += [Item(CHART, itemid, _TUBE, "text", texts=texts) for itemid in (723, 223900)]
    items += [Item(CHART, itemid, _VENT_ON, "any") for itemid in _VENT_ON_ITEMS]
    items += [Item(table, itemid, _VENT_OFF, "any") for table, itemids in _VENT_OFF_ITEMS.items() for itemid in itemids]
    return items


def onsets(work: Workspace, stays: Sequence[Stay], *, prescribed: bool) -> dict[int, int]:
    """Stay number -> hour of sepsis onset since ICU admission, for the stays that have one.

    Args:
        prescribed: see ``infection.suspicions``.
    """
    deaths = {
        number: int((stay.death - stay.intime) / 3600)
        for number, stay in enumerate(stays)
        if stay.icu_death and stay.death is not None
    }
    suspected = suspicions(work, deaths, prescribed=prescribed)
    logger.info("%d of %d stays have a suspected infection", len(suspected), len(stays))
    store_infusions(work)
    _store_extremes(work, suspected)
    found: dict[int, int] = {}
    numbers = sorted(suspected)
    for start in range(0, len(numbers), 500):
        part = numbers[start : start + 500]
        extremes = work.fetch(f"SELECT * FROM extremes {_between(part)} ORDER BY stay")
        switches = work.fetch(f"SELECT * FROM switches {_between(part)} ORDER BY stay, seconds")
        rates = hourly_rates(work, part)
        for number in part:
            first = suspected[number] - BEFORE - 2 * DAY
            hours = np_range(first, suspected[number] + AFTER)
            series = _series(_of(extremes, number), hours)
            series |= {name: np_pick(rates[number].get(name, {}), hours) for name in VASOPRESSORS}
            series["ventilated"] = _ventilated(_of(switches, number), hours)
            score = sofa(series, _urine_since(_of(extremes, number), first))
            hour = onset(score[2 * DAY :])
            if hour is not None:
                found[number] = hour + suspected[number] - BEFORE
    return found


def onset(score: np.ndarray) -> int | None:
    """Index of the first hour whose score is at least 2 above the lowest so far."""
    import numpy as np

    lowest = np.fmin.accumulate(score)
    risen = np.flatnonzero(score - lowest >= RISE)
    return int(risen[0]) if len(risen) else None


def np_range(first: int, last: int) -> np.ndarray:
    """The hours ``first`` to ``last``, both included."""
    import numpy as np

    return np.arange(first, last + 1)


def np_pick(values: Mapping[int, float], hours: np.ndarray) -> np.ndarray:
    """The values of ``hours``, NaN where there is none."""
    import numpy as np

    return np.array([values.get(hour, np.nan) for hour in hours.tolist()], dtype=float)


def _store_extremes(work: Workspace, suspected: Iterable[int]) -> None:
    """Per hour the lowest, highest and summed value of each item, for the stays with a suspicion."""
    import pandas as pd

    codes = ", ".join(str(code) for code, _ in _WORST.values())
    frame = pd.DataFrame({"stay": pd.Series(sorted(suspected), dtype="int32")})
    work.db.register("suspects", frame)
    work.run("CREATE TABLE suspected AS SELECT stay FROM suspects")
    work.db.unregister("suspects")
    work.run(
        "CREATE TABLE extremes AS SELECT stay, trunc(seconds / 3600.0)::INTEGER AS hour, code::INTEGER AS code, "
        "min(value) AS low, max(value) AS high, sum(value::DECIMAL(18, 6))::DOUBLE AS total "
        f"FROM events SEMI JOIN suspected USING (stay) WHERE fault = 0 AND code IN ({codes}) "
        "GROUP BY ALL ORDER BY stay"
    )
    work.run(
        "CREATE TABLE switches AS SELECT DISTINCT stay, code::INTEGER AS code, seconds "
        f"FROM events SEMI JOIN suspected USING (stay) WHERE fault = 0 AND code IN ({_VENT_ON}, {_VENT_OFF}) "
        "ORDER BY stay"
    )


def _between(numbers: Sequence[int]) -> str:
    return f"WHERE stay BETWEEN {numbers[0]} AND {numbers[-1]}"


def _of(columns: Mapping[str, np.ndarray], number: int) -> dict[str, np.ndarray]:
    """The rows of one stay, from columns ordered by stay."""
    import numpy as np

    rows = slice(*np.searchsorted(columns["stay"], [number, number + 1]))
    return {name: column[rows] for name, column in columns.items()}


def _series(rows: Mapping[str, np.ndarray], hours: np.ndarray) -> dict[str, np.ndarray]:
    import numpy as np

    at = rows["hour"] - hours[0]
    inside = (at >= 0) & (at < len(hours))
    series = {}
    for name, (code, worst) in _WORST.items():
        chosen = inside & (rows["code"] == code)
        series[name] = np.full(len(hours), np.nan)
        series[name][at[chosen]] = rows[worst][chosen]
    rass, tube = series.pop("rass"), series.pop("tube")
    sedated = np.where(np.isnan(rass) & np.isnan(tube), np.nan, 0.0)
    series["sedated"] = np.where((rass <= -2) | (tube > 0), 1.0, sedated)
    return series


def _urine_since(rows: Mapping[str, np.ndarray], first: int) -> int:
    hours = rows["hour"][rows["code"] == NAMES.index(SUMMED)]
    return int(hours.min()) - first if len(hours) else 0


def _ventilated(rows: Mapping[str, np.ndarray], hours: np.ndarray) -> np.ndarray:
    """1 in hours of ventilation: from a ventilator setting until the next sign of its end, at most 6 h."""
    import numpy as np

    on, off = (rows["seconds"][rows["code"] == code] for code in (_VENT_ON, _VENT_OFF))
    result = np.full(len(hours), np.nan)
    following = np.searchsorted(off, on, side="right")
    for start, index in zip(on.tolist(), following.tolist(), strict=True):
        lasts = _VENT_HOURS
        if index < len(off):
            lasts = min(lasts, int(off[index]) - start)
        if lasts < _VENT_LEAST:
            continue
        begin = int(start / 3600) - int(hours[0])
        result[max(begin, 0) : max(begin + lasts // 3600 + 1, 0)] = 1.0
    return result
