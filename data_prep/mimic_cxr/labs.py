"""Laboratory results of the days before a study, out of MIMIC-IV's table of 120 million, read once by DuckDB."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..mimic3.release import RawTable, reading
from .layout import HOURS, ITEMS

if TYPE_CHECKING:
    import numpy as np

_INDEX = {itemid: k for k, itemid in enumerate(ITEMS)}


@dataclass(frozen=True)
class Labs:
    """The results of all studies.

    Attributes:
        start: (studies + 1,) where each study's results begin below.
        hour, item, value: of each result; hour 47 is the last one before the study.
    """

    start: np.ndarray
    hour: np.ndarray
    item: np.ndarray
    value: np.ndarray

    def of(self, study: int) -> np.ndarray | None:
        """(48, 12) values of a study by hour and item, NaN where nothing was measured; None without any."""
        import numpy as np

        mine = slice(int(self.start[study]), int(self.start[study + 1]))
        if mine.start == mine.stop:
            return None
        found = np.full((HOURS, len(ITEMS)), np.nan, dtype=np.float32)
        found[self.hour[mine], self.item[mine]] = self.value[mine]
        return found


def read_labs(table: RawTable, subjects: Sequence[int], seconds: Sequence[int], memory_gb: float) -> Labs:
    """The results whose samples were taken in the 48 hours before each study; several of an hour become their median.

    Args:
        table: ``labevents``.
        subjects, seconds: of each study, its patient and its time since 1970; -1 where the time is not known.
        memory_gb: for the query engine.
    """
    import duckdb
    import numpy as np
    import pandas as pd

    studies = pd.DataFrame({"study": range(len(subjects)), "subject": list(subjects), "at": list(seconds)})  # noqa: F841
    items = pd.DataFrame({"itemid": list(ITEMS), "item": range(len(ITEMS))})  # noqa: F841
    config: dict[str, Any] = {"memory_limit": f"{memory_gb:g}GB", "autoinstall_known_extensions": False}
    with reading(table), duckdb.connect(config=config) as db:
        found = db.execute(f"""
            WITH events AS (
                SELECT TRY_CAST(e.subject_id AS BIGINT) AS subject, i.item,
                       epoch(TRY_CAST(e.charttime AS TIMESTAMP))::BIGINT AS at, TRY_CAST(e.valuenum AS DOUBLE) AS value
                FROM {table.scan()} AS e JOIN items AS i ON TRY_CAST(e.itemid AS BIGINT) = i.itemid
            )
            SELECT s.study, {HOURS - 1} - (s.at - e.at) // 3600 AS hour, e.item, median(e.value) AS value
            FROM events AS e JOIN studies AS s
              ON e.subject = s.subject AND e.at <= s.at AND e.at > s.at - {HOURS * 3600}
            WHERE isfinite(e.value) AND e.value >= 0 AND s.at >= 0
            GROUP BY ALL ORDER BY s.study, hour, e.item
        """).fetchnumpy()
    study = np.asarray(found["study"], dtype=np.int64)
    return Labs(
        np.searchsorted(study, np.arange(len(subjects) + 1)),
        np.asarray(found["hour"], dtype=np.int64),
        np.asarray(found["item"], dtype=np.int64),
        np.asarray(found["value"], dtype=np.float32),
    )
