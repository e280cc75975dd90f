"""Vasopressor rates per hour, from both bedside systems of MIMIC-III (CareVue: points, MetaVision: intervals)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from .release import reading
from .workspace import WEIGHT, Workspace

INFUSION_COLUMNS: dict[str, tuple[str, ...]] = {
    "INPUTEVENTS_CV": ("icustay_id", "itemid", "charttime", "rate", "rateuom", "linkorderid"),
    "INPUTEVENTS_MV": ("icustay_id", "itemid", "starttime", "endtime", "rate", "rateuom", "linkorderid"),
}
# drug -> (item ids, highest believable rate in mcg/kg/min), as in ricu (Bennett et al., GigaScience 2023)
_DRUGS: dict[str, tuple[tuple[int, ...], float]] = {
    "dobutamine": ((30042, 30306, 221653), 50),
    "dopamine": ((30043, 30125, 30307, 221662), 50),
    "norepinephrine": ((30047, 30120, 221906), 3),
    "epinephrine": ((30044, 30119, 30309, 221289), 1.5),
}
_USUAL_WEIGHT = 80.0  # kg, for rates per minute where no weight is known
_OVERHANG, _LONGEST = (
    3600,
    6 * 3600,
)  # a CareVue rate holds until the next charting: at most 6 h, the last 1 h
_MOST = 30 * 86_400  # seconds that one entry is believed
_BRIDGED, _LEAST = 300, 3600  # runs at most 5 min apart are one; it counts from 1 h on


def store_infusions(work: Workspace) -> None:
    """Fill the table ``infusions``: stay, drug, order, start and stop in seconds, mcg/kg/min (NaN: off)."""
    import pandas as pd

    frame = pd.DataFrame(
        [(str(itemid), drug, high) for drug, (ids, high) in _DRUGS.items() for itemid in ids],
        columns=["itemid", "drug", "most"],
    )
    work.db.register("drugs", frame)
    work.run(
        "CREATE TABLE weights AS SELECT stay, median(value) AS kg FROM events "
        f"WHERE code = {WEIGHT} AND fault = 0 GROUP BY stay"
    )
    kinds = {"INPUTEVENTS_CV": ("charttime", "charttime"), "INPUTEVENTS_MV": ("starttime", "endtime")}
    work.run(
        "CREATE TABLE infusions (stay INTEGER, drug VARCHAR, source VARCHAR, grp VARCHAR, start BIGINT, "
        "stop BIGINT, rate DOUBLE)"
    )
    for name, (start, stop) in kinds.items():
        raw = work.release[name]
        with reading(raw):
            work.db.execute(
                f"""
                INSERT INTO infusions
                WITH r AS (
                    SELECT s.stay, d.drug, d.most, coalesce(c.linkorderid, '') AS grp,
                           epoch(TRY_CAST(c.{start} AS TIMESTAMP))::BIGINT - s.entry AS start,
                           epoch(TRY_CAST(c.{stop} AS TIMESTAMP))::BIGINT - s.entry AS stop,
                           TRY_CAST(c.rate AS DOUBLE) / CASE WHEN lower(c.rateuom) IN ('mcgmin', 'mcg/min')
                           THEN coalesce(w.kg, {_USUAL_WEIGHT}) ELSE 1 END AS rate
                    FROM {raw.scan()} AS c JOIN drugs AS d ON c.itemid = d.itemid
                    LEFT JOIN stays AS s ON c.icustay_id = s.icustay_id LEFT JOIN weights AS w ON s.stay = w.stay
                )
                SELECT stay, drug, '{name}', grp, start, least(stop, start + {_MOST}),
                       CASE WHEN rate >= 0 AND rate <= most THEN rate ELSE 'nan'::DOUBLE END
                FROM r
                """
            )
    work.db.unregister("drugs")
    work.note_lost("infusions", "start + stop")


def hourly_rates(work: Workspace, numbers: Sequence[int]) -> dict[int, dict[str, dict[int, float]]]:
    """Stay number -> drug -> hour -> highest rate, of infusions that ran for an hour at least."""
    found = work.fetch(
        f"SELECT * FROM infusions WHERE stay BETWEEN {numbers[0]} AND {numbers[-1]} AND start + stop IS NOT NULL "
        "ORDER BY stay, drug, source, grp, start, stop, rate"
    )
    orders: dict[tuple[int, str], dict[tuple[str, str], list[tuple[int, int, float]]]] = {}
    columns = (found[name].tolist() for name in ("stay", "drug", "source", "grp", "start", "stop", "rate"))
    for stay, drug, source, grp, start, stop, rate in zip(*columns, strict=True):
        orders.setdefault((stay, drug), {}).setdefault((source, grp), []).append((start, stop, rate))
    result: dict[int, dict[str, dict[int, float]]] = defaultdict(dict)
    for (stay, drug), groups in orders.items():
        result[stay][drug] = _rates(groups)
    return result


def _rates(groups: dict[tuple[str, str], list[tuple[int, int, float]]]) -> dict[int, float]:
    runs = _merged([(min(row[0] for row in rows), max(row[1] for row in rows)) for rows in groups.values()])
    highest: dict[int, float] = {}
    for (source, _), rows in groups.items():
        for i, (start, stop, rate) in enumerate(rows):
            until = stop
            if source == "INPUTEVENTS_CV":
                following = rows[i + 1][0] if i + 1 < len(rows) else start + _OVERHANG
                until = min(following, start + _LONGEST)
            if not rate >= 0:  # NaN: no believable rate
                continue
            for hour in range(int(start / 3600), int(until / 3600) + 1):
                if any(int(a / 3600) <= hour <= int(b / 3600) for a, b in runs):
                    highest[hour] = max(rate, highest.get(hour, 0.0))
    return highest


def _merged(runs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Runs joined over short pauses, without those of less than an hour."""
    joined: list[tuple[int, int]] = []
    for start, stop in sorted(run for run in runs if run[1] > run[0]):
        if joined and start - joined[-1][1] <= _BRIDGED:
            joined[-1] = (joined[-1][0], max(stop, joined[-1][1]))
        else:
            joined.append((start, stop))
    return [(start, stop) for start, stop in joined if stop - start >= _LEAST]
