"""Streams the event tables once into a small table of events on disk, and aggregates that per hour.

CHARTEVENTS has 330 million rows: DuckDB reads it in pieces, keeps the rows of the wanted items, and spills to a
temporary folder beyond the memory cap.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fedmeki_bench.api import InputError

from .release import RawTable, Release, reading
from .variables import CHART, LAB, NAMES, OUTPUT, SOURCES, SUMMED, VARIABLES

if TYPE_CHECKING:
    import duckdb
    import numpy as np

    from .stay import Stay

logger = logging.getLogger(__name__)

EVENT_COLUMNS: dict[str, tuple[str, ...]] = {
    CHART: ("icustay_id", "itemid", "charttime", "value", "valuenum"),
    LAB: ("hadm_id", "itemid", "charttime", "valuenum"),
    OUTPUT: ("icustay_id", "itemid", "charttime", "value"),
}
PROCEDURE = "PROCEDUREEVENTS_MV"
WEIGHT, HEIGHT = 50, 51  # codes beside the 48 variables
_VALUE = {CHART: "valuenum", LAB: "valuenum", OUTPUT: "value"}
# an event without a stay id goes to the admission's first stay that ends after it, else to the last
BY_ADMISSION = "r.hadm_id = s.hadm_id AND r.at > s.after AND r.at <= s.until"
_FAULTS = {
    1: "have a value that is not a number",
    2: "have no readable time",
    3: "belong to no ICU stay",
    4: "lie outside the allowed range of their variable",
}
_FAR = 3_200_000_000  # seconds, a century: no time of a stay is as far from its start
_GROUP = 5_000_000  # events whose medians are taken in one query: bounds memory to about 0.5 GB


@dataclass(frozen=True, slots=True)
class Item:
    """What becomes of the rows of one item id.

    ``code`` is the position among the 48 variables, or one of a caller's own; ``mode`` is ``number``, ``any``
    (a row counts whatever its value) or ``text`` (a row counts if its value is one of ``texts``).
    """

    table: str
    itemid: int
    code: int
    mode: Literal["number", "any", "text"] = "number"
    low: float | None = None
    high: float | None = None
    offset: float = 0.0
    factor: float = 1.0
    divisor: float = 1.0
    texts: tuple[str, ...] = ()


def variable_items() -> list[Item]:
    """The items of the 48 variables."""
    ranges = {v.name: (v.low, v.high) for v in VARIABLES}
    return [
        Item(
            s.table, itemid, NAMES.index(s.name), "number", *ranges[s.name], s.offset, s.factor, s.divisor
        )
        for s in SOURCES
        for itemid in s.itemids
    ]  # fmt: skip


def body_items() -> list[Item]:
    """Weight in kg and height in cm; ids and ranges as in ricu."""
    return [
        *(Item(CHART, itemid, WEIGHT, "number", 1, 500) for itemid in (762, 226512)),
        *(Item(CHART, itemid, HEIGHT, "number", 10, 230) for itemid in (3485, 4188)),
        *(Item(CHART, itemid, HEIGHT, "number", 10, 230, factor=2.54) for itemid in (920, 1394, 3486, 4187, 226707)),
    ]


class Workspace:
    """A DuckDB database in a temporary folder; :meth:`close` removes it.

    Tables: ``stays`` (stay, icustay_id, hadm_id, intime and its rounding in seconds), ``events`` (stay, code,
    seconds since ICU admission, value, fault) and ``hourly`` (stay, hour, code, value), where stay numbers the
    stays from 0 in the order of their ids' text.
    """

    def __init__(self, release: Release, *, memory_gb: float, threads: int, scratch: Path | None) -> None:
        import duckdb

        if scratch is not None and not scratch.is_dir():
            raise InputError(f"the folder for temporary files, {scratch} (-o scratch), does not exist")
        self.release = release
        self.lost: dict[str, int] = {}  # rows of other tables without stay or time
        self.folder = Path(tempfile.mkdtemp(prefix="fedmeki-mimic3-", dir=scratch))
        config: dict[str, Any] = {
            "memory_limit": f"{memory_gb:g}GB",
            "temp_directory": str(self.folder / "spill"),
            "preserve_insertion_order": False,
            "autoinstall_known_extensions": False,
        }
        if threads:
            config["threads"] = threads
        with reading():
            self.db: duckdb.DuckDBPyConnection = duckdb.connect(str(self.folder / "work.db"), config=config)
            self.db.execute(
                "CREATE TABLE events (stay INTEGER, code UTINYINT, seconds BIGINT, value DOUBLE, fault UTINYINT)"
            )

    def close(self) -> None:
        """Remove everything."""
        self.db.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def set_stays(self, stays: Sequence[Stay]) -> None:
        """Make the stays known, by which events find their place."""
        import pandas as pd

        frame = pd.DataFrame(
            {
                "stay": range(len(stays)),
                "icustay_id": [s.icustay_id for s in stays],
                "hadm_id": [s.hadm_id for s in stays],
                "entry": [s.intime for s in stays],
                "departure": [s.outtime for s in stays],
            }
        )
        frame["minute"] = (frame["entry"] + 30) // 60 * 60
        with reading():
            self.db.register("frame", frame)
            self.db.execute(
                "CREATE TABLE stays AS SELECT *, "
                "coalesce(max(departure) OVER (PARTITION BY hadm_id ORDER BY entry, icustay_id "
                "ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), -9e18::BIGINT) AS after, "
                "CASE WHEN row_number() OVER (PARTITION BY hadm_id ORDER BY entry DESC, icustay_id DESC) = 1 "
                "THEN 9e18::BIGINT ELSE departure END AS until FROM frame"
            )
            self.db.unregister("frame")

    def rows(self, table: str, columns: Sequence[str], where: str = "true") -> list[tuple[Any, ...]]:
        """Rows of a small table, as text, in the order of the file."""
        raw = self.release[table]
        with reading(raw):
            self.db.execute("SET preserve_insertion_order = true")
            found = self.db.execute(f"SELECT {', '.join(columns)} FROM {raw.scan()} WHERE {where}").fetchall()
            self.db.execute("SET preserve_insertion_order = false")
        return found

    def add_events(self, items: Sequence[Item]) -> None:
        """Stream the tables of ``items`` and keep their rows."""
        import pandas as pd

        for name in dict.fromkeys(item.table for item in items):
            raw, start = self.release[name], time.monotonic()
            logger.info("reading %s", raw.path.name)
            chosen = [item for item in items if item.table == name]
            frame = pd.DataFrame(
                {
                    "itemid": [str(item.itemid) for item in chosen],
                    "code": [item.code for item in chosen],
                    "mode": [item.mode for item in chosen],
                    "low": pd.array([item.low for item in chosen], dtype="Float64"),
                    "high": pd.array([item.high for item in chosen], dtype="Float64"),
                    "scale_offset": [item.offset for item in chosen],
                    "factor": [item.factor for item in chosen],
                    "divisor": [item.divisor for item in chosen],
                    "texts": ["|".join(item.texts) for item in chosen],
                }
            )
            with reading(raw):
                self.db.register("items", frame)
                self.db.execute(_insertion(raw))
                self.db.unregister("items")
            logger.info("read %s in %.0f s", raw.path.name, time.monotonic() - start)

    def faults(self) -> dict[str, int]:
        """How many events of the wanted items were left out, by reason."""
        counted = self.fetch(
            "SELECT fault::INTEGER AS fault, count(*) AS n FROM events WHERE fault > 0 GROUP BY fault ORDER BY fault"
        )
        return {_FAULTS[int(f)]: int(n) for f, n in zip(counted["fault"], counted["n"], strict=True)}

    def note_lost(self, table: str, time: str) -> None:
        """Remember how many rows of one of the tables above have no stay or no readable ``time``."""
        count = self.fetch(f"SELECT count(*) AS n FROM {table} WHERE stay IS NULL OR ({time}) IS NULL")
        if int(count["n"][0]):
            self.lost[table] = int(count["n"][0])

    def aggregate(self) -> None:
        """Fill ``hourly``: the median of the values of an hour, of urine the sum.

        The hour is cut toward zero, so the hour before admission falls into hour 0 (ricu's rule).
        """
        total = self.fetch("SELECT count(*) AS n, max(stay) AS last FROM events WHERE fault = 0")
        last = int(total["last"][0] or 0) if int(total["n"][0]) else 0
        pieces = int(total["n"][0]) // _GROUP + 1
        summed = NAMES.index(SUMMED)
        with reading():
            self.db.execute("CREATE TABLE hourly (stay INTEGER, hour INTEGER, code UTINYINT, value DOUBLE)")
            for piece in range(pieces):
                low, high = (last + 1) * piece // pieces, (last + 1) * (piece + 1) // pieces
                chosen = f"FROM events WHERE fault = 0 AND stay >= {low} AND stay < {high} AND code "
                hour = "trunc(seconds / 3600.0)::INTEGER AS hour"
                # a decimal sum does not depend on the order in which threads deliver the rows
                self.db.execute(
                    f"INSERT INTO hourly SELECT * FROM (SELECT stay, {hour}, code, median(value) AS value "
                    f"{chosen} < {len(NAMES)} AND code <> {summed} GROUP BY ALL UNION ALL "
                    f"SELECT stay, {hour}, code, sum(value::DECIMAL(18, 6))::DOUBLE AS value {chosen} = {summed} "
                    "GROUP BY ALL) ORDER BY stay, hour, code"
                )
        logger.info("aggregated %d events", int(total["n"][0]))

    def fetch(self, query: str) -> dict[str, np.ndarray]:
        """The result of a query on the tables above, a column each."""
        import numpy as np

        with reading():
            found = self.db.execute(query).fetchnumpy()
        return {
            name: np.ma.filled(column, np.nan) if column.dtype.kind == "f" else np.ma.getdata(column)
            for name, column in found.items()
        }

    def run(self, statement: str) -> None:
        """Execute a statement that returns nothing."""
        with reading():
            self.db.execute(statement)

    def grid(self, stays: Sequence[int], hours: Sequence[int], rows: int) -> np.ndarray:
        """The 48 variables of some stays; ``hours`` gives the rows that each one has, at most ``rows``.

        Returns float32 of shape (stays, rows, 48), NaN where nothing was charted or the stay's rows end.
        """
        import numpy as np

        numbers = np.asarray(stays, dtype=np.int64)
        length = np.asarray(hours, dtype=np.int64)
        place = np.full(int(numbers.max()) - int(numbers.min()) + 1, -1)
        place[numbers - numbers.min()] = np.arange(len(numbers))
        found = self.fetch(
            f"SELECT stay, hour, code, value FROM hourly WHERE stay BETWEEN {numbers.min()} AND {numbers.max()} "
            f"AND hour BETWEEN 0 AND {int(length.max()) - 1}"
        )
        row = place[found["stay"] - numbers.min()]
        keep = (row >= 0) & (found["hour"] < length[row])
        values = np.full((len(numbers), rows, len(NAMES)), np.nan, dtype=np.float32)
        values[row[keep], found["hour"][keep], found["code"][keep]] = found["value"][keep]
        return values


def _insertion(raw: RawTable) -> str:
    """The query that streams one table: fits, converts and judges every row of a wanted item."""
    join, origin = (BY_ADMISSION, "s.minute") if raw.name == LAB else ("r.icustay_id = s.icustay_id", "s.entry")
    key = "hadm_id" if raw.name == LAB else "icustay_id"
    value = _VALUE.get(raw.name)
    number = f"c.{value}" if value else "NULL"
    text = "c.value" if raw.name == CHART else "NULL"
    moment = "starttime" if raw.name == PROCEDURE else "charttime"
    return f"""
    INSERT INTO events
    WITH r AS (
        SELECT c.{key}, epoch(TRY_CAST(c.{moment} AS TIMESTAMP))::BIGINT AS at, i.code, i.mode, i.low, i.high,
               CASE WHEN i.mode = 'number' THEN (TRY_CAST({number} AS DOUBLE) - i.scale_offset) * i.factor / i.divisor
                    ELSE 1.0 END AS measured
        FROM {raw.scan()} AS c JOIN items AS i ON c.itemid = i.itemid
        WHERE CASE i.mode WHEN 'number' THEN {number} IS NOT NULL
                          WHEN 'text' THEN list_contains(string_split(i.texts, '|'), {text}) ELSE true END
    )
    SELECT s.stay, r.code, r.at - {origin}, r.measured,
           CASE WHEN r.measured IS NULL OR NOT isfinite(r.measured) THEN 1
                WHEN r.at IS NULL OR abs(r.at - {origin}) > {_FAR} THEN 2
                WHEN s.stay IS NULL THEN 3 WHEN r.measured < r.low OR r.measured > r.high THEN 4 ELSE 0 END
    FROM r LEFT JOIN stays AS s ON {join}
    """
