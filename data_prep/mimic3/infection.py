"""Suspected infection: antibiotics given continuously together with a body-fluid culture (Singer et al., 2016)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .release import reading
from .workspace import BY_ADMISSION, Workspace

if TYPE_CHECKING:
    import numpy as np

INFECTION_COLUMNS: dict[str, tuple[str, ...]] = {
    "PRESCRIPTIONS": ("hadm_id", "drug", "startdate", "enddate"),
    "INPUTEVENTS_MV": ("icustay_id", "itemid", "starttime", "endtime", "rate", "rateuom", "linkorderid"),
    "MICROBIOLOGYEVENTS": ("hadm_id", "chartdate", "charttime"),
}
COURSE, GAP = 72, 24  # hours that antibiotics must cover, and the longest pause in them
CULTURE_AFTER, ANTIBIOTIC_AFTER = 24, 72  # hours from antibiotic to culture, and from culture to antibiotic

# names and item ids as in ricu's concept `abx` (Bennett et al., GigaScience 2023)
ANTIBIOTICS = (
    "aztreonam|bactrim|cephalexin|chloramphenicol|cipro|flagyl|metronidazole|nitrofurantoin|tazobactam|"
    "rifampin|sulfadiazine|timentin|trimethoprim|(amika|gentami|vanco)cin|"
    "(amoxi|ampi|dicloxa|naf|oxa|peni|pipera)cillin|(azithro|clarithro|erythro|clinda|strepto|tobra|vanco)mycin|"
    "cef(azolin|tazidime|adroxil|epime|otetan|otaxime|podoxime|uroxime)|(doxy|mino|tetra)cycline|"
    "(levofl|moxifl|ofl)oxacin|macro(bid|dantin)|(una|zo)syn"
)
ANTIBIOTIC_ITEMS = (
    225798, 225837, 225838, 225840, 225842, 225843, 225844, 225845, 225847, 225848, 225850, 225851, 225853,
    225855, 225857, 225859, 225860, 225862, 225863, 225865, 225866, 225868, 225869, 225871, 225873, 225875,
    225876, 225877, 225879, 225881, 225882, 225883, 225884, 225885, 225886, 225888, 225889, 225890, 225892,
    225893, 225895, 225896, 225897, 225898, 225899, 225900, 225902, 225903, 225905, 227691, 228003,
)  # fmt: skip


def suspicions(work: Workspace, deaths: dict[int, int], *, prescribed: bool) -> dict[int, int]:
    """Stay number -> hour of the first suspected infection, for the stays that have one.

    Args:
        deaths: stay number -> hour of an ICU death.
        prescribed: count antibiotics of PRESCRIPTIONS too, not only those of INPUTEVENTS_MV.
    """
    import numpy as np

    given = _antibiotics(work, prescribed)
    taken = _cultures(work)
    found: dict[int, int] = {}
    for number in np.intersect1d(given["stay"], taken["stay"]).tolist():
        drugs = slice(*np.searchsorted(given["stay"], [number, number + 1]))
        fluids = slice(*np.searchsorted(taken["stay"], [number, number + 1]))
        hour = suspicion(given["start"][drugs], given["hours"][drugs], taken["hour"][fluids], deaths.get(number))
        if hour is not None:
            found[number] = hour
    return found


def suspicion(start: np.ndarray, hours: np.ndarray, cultures: np.ndarray, death: int | None = None) -> int | None:
    """Hour of the first suspected infection: the earlier of antibiotic and culture.

    Args:
        start, hours: of each antibiotic, in hours since ICU admission.
        cultures: hours at which a body fluid was sampled.
        death: hour of an ICU death, until which antibiotics need to last at most.
    """
    begun = continuous(start, hours, death)
    times = [a for a in begun if any(a <= c <= a + CULTURE_AFTER for c in cultures)]
    times += [c for c in cultures if any(c <= a <= c + ANTIBIOTIC_AFTER for a in begun)]
    return int(min(times)) if times else None


def continuous(start: np.ndarray, hours: np.ndarray, death: int | None = None) -> list[int]:
    """Starts after which antibiotics go on for 72 h (or until death) without a pause of more than 24 h."""
    import numpy as np

    times, member = np.unique(start, return_inverse=True)
    stop = np.full(len(times), np.iinfo(np.int64).min)
    np.maximum.at(stop, member, start + hours)
    if death is not None:
        stop, times = stop[times <= death], times[times <= death]
    found = []
    for i, first in enumerate(times):
        end = np.searchsorted(times, first + COURSE, side="right")
        until = first + COURSE if death is None else min(death, first + COURSE)
        following = np.append(times[i + 1 : end], until)
        if (following - np.maximum.accumulate(stop[i:end])).max() <= GAP:
            found.append(int(first))
    return found


def _antibiotics(work: Workspace, prescribed: bool) -> dict[str, np.ndarray]:
    """stay, start and duration in hours, by stay; a prescription's day counts from noon."""
    pumps = work.release["INPUTEVENTS_MV"]
    with reading(pumps):
        work.db.execute(
            f"""
            CREATE TABLE antibiotics AS
            WITH r AS (
                SELECT icustay_id, epoch(TRY_CAST(starttime AS TIMESTAMP))::BIGINT AS at,
                       epoch(TRY_CAST(endtime AS TIMESTAMP))::BIGINT AS until
                FROM {pumps.scan()} WHERE itemid IN ({_texts(ANTIBIOTIC_ITEMS)})
            )
            SELECT s.stay, r.at - s.entry AS start, greatest(r.until - r.at, 0) AS seconds
            FROM r LEFT JOIN stays AS s ON r.icustay_id = s.icustay_id
            """
        )
    if prescribed:
        orders = work.release["PRESCRIPTIONS"]
        with reading(orders):
            work.db.execute(
                f"""
                INSERT INTO antibiotics
                WITH r AS (
                    SELECT hadm_id, epoch(TRY_CAST(startdate AS TIMESTAMP))::BIGINT + 43200 AS at,
                           epoch(TRY_CAST(enddate AS TIMESTAMP))::BIGINT + 43200 AS until
                    FROM {orders.scan()} WHERE regexp_matches(lower(drug), '{ANTIBIOTICS}')
                )
                SELECT s.stay, r.at - s.minute, greatest(r.until - r.at, 0)
                FROM r LEFT JOIN stays AS s ON {BY_ADMISSION}
                """
            )
    work.note_lost("antibiotics", "start")
    return work.fetch(
        "SELECT stay, trunc(start / 3600.0)::BIGINT AS start, "
        "trunc(coalesce(seconds, 0) / 3600.0)::BIGINT AS hours FROM antibiotics "
        "WHERE stay IS NOT NULL AND start IS NOT NULL ORDER BY stay, start, hours"
    )


def _cultures(work: Workspace) -> dict[str, np.ndarray]:
    """stay and hour of each sampled body fluid, whatever grew in it; a date without time counts from noon."""
    raw = work.release["MICROBIOLOGYEVENTS"]
    with reading(raw):
        work.db.execute(
            f"""
            CREATE TABLE cultures AS
            WITH r AS (
                SELECT DISTINCT hadm_id, epoch(coalesce(TRY_CAST(charttime AS TIMESTAMP),
                       TRY_CAST(chartdate AS TIMESTAMP) + INTERVAL 12 HOUR))::BIGINT AS at FROM {raw.scan()}
            )
            SELECT DISTINCT s.stay, trunc((r.at - s.minute) / 3600.0)::BIGINT AS hour
            FROM r LEFT JOIN stays AS s ON {BY_ADMISSION}
            """
        )
    work.note_lost("cultures", "hour")
    return work.fetch("SELECT * FROM cultures WHERE stay IS NOT NULL AND hour IS NOT NULL ORDER BY stay, hour")


def _texts(numbers: tuple[int, ...]) -> str:
    return ", ".join(f"'{number}'" for number in numbers)
