"""The SOFA score per hour, as ricu computes it (Vincent et al., 1996; Bennett et al., GigaScience 2023).

All series are dense arrays over consecutive hours with NaN where nothing was charted. A component is NaN in
hours without any of its inputs; the score of an hour is the sum of each component's worst value of the last
24 hours, components without a value counting as 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

DAY = 24
MATCH = 2  # hours between PaO2 and FiO2
GCS_VALID = 6  # hours that a GCS value stands for
VASOPRESSORS = ("dopamine", "norepinephrine", "epinephrine", "dobutamine")


def sofa(series: Mapping[str, np.ndarray], urine_since: int) -> np.ndarray:
    """The score per hour; NaN before the first and after the last hour with any component.

    Args:
        series: of one length: po2 (lowest of the hour, mmHg), fio2 (highest, %), ventilated (1 or NaN), plt, map
            (lowest), bili, crea (highest), urine (mL in the hour), the vasopressors (highest rate,
            mcg/kg/min), gcs_eye, gcs_verbal, gcs_motor, gcs_total (lowest), sedated (1, 0 or NaN).
        urine_since: index of the stay's first hour with urine output (may lie before the array: negative).
    """
    import numpy as np

    components = np.stack(
        [
            _respiration(series),
            4.0 - _steps(series["plt"], (20, 50, 100, 150)),
            _steps(series["bili"], (1.2, 2, 6, 12)),
            _circulation(series),
            4.0 - _steps(coma_scale(series), (6, 10, 13, 15)),
            _kidney(series["crea"], urine_per_day(series["urine"], urine_since)),
        ]
    )
    known = np.flatnonzero(~np.isnan(components).all(axis=0))
    score = np.nansum(_window(components, DAY, np.fmax), axis=0)
    outside = np.ones(len(score), dtype=bool)
    if len(known):
        outside[known[0] : known[-1] + 1] = False
    return np.where(outside, np.nan, score)


def horowitz(po2: np.ndarray, fio2: np.ndarray) -> np.ndarray:
    """PaO2/FiO2 in mmHg, in hours where either was charted, with the other from at most 2 hours before.

    Without any FiO2 in that time, room air (21 %) is assumed.
    """
    import numpy as np

    oxygen, share = carried(po2, MATCH), carried(fio2, MATCH)
    charted = ~np.isnan(po2) | ~np.isnan(fio2)
    return np.where(charted, 100 * oxygen / np.where(np.isnan(share), 21.0, share), np.nan)


def coma_scale(series: Mapping[str, np.ndarray]) -> np.ndarray:
    """Glasgow coma scale in hours with any of its parts; 15 while sedated, missing parts count as full."""
    import numpy as np

    parts = [series[name] for name in ("gcs_eye", "gcs_verbal", "gcs_motor", "gcs_total")]
    charted = ~np.isnan(np.stack(parts)).all(axis=0)
    eye, verbal, motor, total = (carried(part, GCS_VALID) for part in parts)
    summed = sum(np.where(np.isnan(x), full, x) for x, full in ((eye, 4.0), (verbal, 5.0), (motor, 6.0)))
    awake = np.where(np.isnan(total), summed, total)
    return np.where(charted, np.where(series["sedated"] > 0, 15.0, awake), np.nan)


def urine_per_day(urine: np.ndarray, since: int) -> np.ndarray:
    """mL per 24 h over a sliding day, scaled up where fewer hours (at least 12) have passed since the first."""
    import numpy as np

    known = np.flatnonzero(~np.isnan(urine))
    if not len(known):
        return np.full(len(urine), np.nan)
    hour = np.arange(len(urine))
    steps = np.minimum(hour - since + 1, DAY + 1)
    total = np.concatenate([[0.0], np.cumsum(np.nan_to_num(urine))])
    amount = total[hour + 1] - total[np.maximum(hour - DAY, 0)]
    usable = (steps >= DAY // 2) & (hour <= known[-1])
    return np.where(usable, amount * DAY / np.maximum(steps, 1), np.nan)


def carried(values: np.ndarray, hours: int) -> np.ndarray:
    """Each value carried forward for at most ``hours``."""
    import numpy as np

    index = np.arange(len(values))
    latest = np.maximum.accumulate(np.where(np.isnan(values), -1, index))
    usable = (latest >= 0) & (index - latest <= hours)
    return np.where(usable, values[np.maximum(latest, 0)], np.nan)


def _respiration(series: Mapping[str, np.ndarray]) -> np.ndarray:
    import numpy as np

    ratio, ventilated = horowitz(series["po2"], series["fio2"]), series["ventilated"] > 0
    ratio = np.where((ratio < 200) & ~ventilated, 200.0, ratio)  # 3 and 4 points need ventilation
    points = sum((ratio < limit).astype(float) for limit in (100, 200, 300, 400))
    return np.where(np.isnan(ratio) & ~ventilated, np.nan, points)


def _circulation(series: Mapping[str, np.ndarray]) -> np.ndarray:
    import numpy as np

    dopamine, norepinephrine, epinephrine, dobutamine = (series[name] for name in VASOPRESSORS)
    points = np.select(
        [
            (dopamine > 15) | (epinephrine > 0.1) | (norepinephrine > 0.1),
            (dopamine > 5) | (epinephrine > 0) | (norepinephrine > 0),
            (dopamine > 0) | (dobutamine > 0),
            series["map"] < 70,
        ],
        [4.0, 3.0, 2.0, 1.0],
        0.0,
    )
    inputs = [series["map"], *(series[name] for name in VASOPRESSORS)]
    return np.where(np.isnan(np.stack(inputs)).all(axis=0), np.nan, points)


def _kidney(creatinine: np.ndarray, urine: np.ndarray) -> np.ndarray:
    import numpy as np

    points = np.maximum(
        np.nan_to_num(_steps(creatinine, (1.2, 2, 3.5, 5))),
        np.select([urine < 200, urine < 500], [4.0, 3.0], 0.0),
    )
    return np.where(np.isnan(creatinine) & np.isnan(urine), np.nan, points)


def _steps(values: np.ndarray, limits: tuple[float, ...]) -> np.ndarray:
    """How many of the ascending limits each value has reached."""
    import numpy as np

    return np.where(np.isnan(values), np.nan, np.searchsorted(limits, values, side="right").astype(float))


def _window(values: np.ndarray, before: int, worst: np.ufunc) -> np.ndarray:
    """``worst`` over each hour and the ``before`` hours preceding it; (components, hours)."""
    result = values.copy()
    for back in range(1, min(before, values.shape[1] - 1) + 1):
        result[:, back:] = worst(result[:, back:], values[:, :-back])
    return result
