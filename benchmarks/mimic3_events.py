"""How fast MIMIC-III's CHARTEVENTS is streamed, and in how much memory: `python benchmarks/mimic3_events.py`.

Writes a synthetic CHARTEVENTS (20 million rows by default) and the small tables beside it into a temporary
folder, prepares the mortality cohort from them in a process of its own, and extrapolates to the 330 million rows
of the full release.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FULL = 330_712_483
_PER_STAY = 5375  # rows of CHARTEVENTS per ICU stay in the full release
_KEPT_OF_100 = 16  # of 100 rows, those of one of the 48 variables, as in the demo


def write_release(folder: Path, rows: int) -> None:
    """CHARTEVENTS at full width; the other tables as small as they can be."""
    import duckdb

    from fedmeki_bench.builtin.data_prep.mimic3.variables import CHART, SOURCES

    stays = max(rows // _PER_STAY, 10)
    wanted = [i for s in SOURCES if s.table == CHART and s.name in ("hr", "map", "resp", "temp") for i in s.itemids]
    start = "TIMESTAMP '2150-01-01 00:00:00'"
    db = duckdb.connect()

    def table(name: str, query: str) -> None:
        db.execute(f"COPY ({query}) TO '{folder / name}.csv' (HEADER, FORCE_QUOTE (ROW_ID))")

    person = f"FROM range({stays}) AS t(i)"
    table(
        "PATIENTS",
        f"SELECT i AS ROW_ID, i AS SUBJECT_ID, 'F' AS GENDER, {start} - INTERVAL 60 YEAR AS DOB {person}",
    )
    table(
        "ADMISSIONS",
        "SELECT i AS ROW_ID, i AS HADM_ID, CASE WHEN i % 9 = 0 THEN "
        f"{start} + INTERVAL 90 HOUR END AS DEATHTIME, (i % 9 = 0)::INT AS HOSPITAL_EXPIRE_FLAG {person}",
    )
    table(
        "ICUSTAYS",
        "SELECT i AS ROW_ID, i AS SUBJECT_ID, i AS HADM_ID, 200000 + i AS ICUSTAY_ID, 'MICU' AS FIRST_CAREUNIT, "
        f"{start} AS INTIME, {start} + INTERVAL 90 HOUR AS OUTTIME {person}",
    )
    table(
        "TRANSFERS",
        f"SELECT i AS ROW_ID, i AS HADM_ID, 'admit' AS EVENTTYPE, 'MICU' AS CURR_CAREUNIT, {start} AS INTIME {person}",
    )
    table(
        "LABEVENTS",
        f"SELECT i AS ROW_ID, i % {stays} AS HADM_ID, 50912 AS ITEMID, {start} + INTERVAL 3 HOUR AS CHARTTIME, "
        f"1.1 AS VALUENUM FROM range({rows // 12}) AS t(i)",
    )
    table(
        "OUTPUTEVENTS",
        f"SELECT i AS ROW_ID, 200000 + i % {stays} AS ICUSTAY_ID, 40055 AS ITEMID, "
        f"{start} + INTERVAL 3 HOUR AS CHARTTIME, 80 AS VALUE FROM range({rows // 76}) AS t(i)",
    )
    db.execute("SELECT setseed(0.5)")
    table(
        "CHARTEVENTS",
        f"SELECT i AS ROW_ID, i % {stays} AS SUBJECT_ID, i % {stays} AS HADM_ID, 200000 + i % {stays} AS ICUSTAY_ID, "
        f"CASE WHEN hash(i) % 100 < {_KEPT_OF_100} THEN {wanted}[1 + (hash(i + 1) % {len(wanted)})::INT] "
        "ELSE 220000 + (hash(i + 2) % 9000)::INT END AS ITEMID, "
        f"{start} + to_seconds((hash(i + 3) % 320000)::INT) AS CHARTTIME, {start} + INTERVAL 1 DAY AS STORETIME, "
        "20001 AS CGID, v AS VALUE, v AS VALUENUM, 'mmHg' AS VALUEUOM, 0 AS WARNING, 0 AS ERROR, NULL AS RESULTSTATUS, "
        f"NULL AS STOPPED FROM (SELECT i, 40 + (hash(i + 4) % 800) / 10.0 AS v FROM range({rows}) AS t(i))",
    )


def prepare(raw: Path, out: Path, memory_gb: float) -> None:
    """Prepare the cohort; prints the card's counts as JSON."""
    from fedmeki_bench.builtin.data_prep.mimic3 import Mimic3
    from fedmeki_bench.builtin.tasks.mortality import Mortality
    from fedmeki_bench.data.prepare.prepare import prepare as prepare_cohort
    from fedmeki_bench.data.preparer_options import parse_options

    preparer = Mimic3()
    options = parse_options(preparer.Options, {"memory_gb": memory_gb})
    cohort = prepare_cohort(preparer, raw, out, [Mortality()], options, workers=1)[0]
    print(json.dumps(cohort.card["rows"]))


def main() -> None:
    """Write, prepare, report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--millions", type=float, default=20, help="rows of CHARTEVENTS")
    parser.add_argument("--memory-gb", type=float, default=4)
    parser.add_argument("--prepare", nargs=2, type=Path, metavar=("RAW", "OUT"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.prepare:
        prepare(*chosen.prepare, chosen.memory_gb)
        return
    rows = int(chosen.millions * 1e6)
    with tempfile.TemporaryDirectory(prefix="fedmeki-events-") as name:
        raw = Path(name) / "raw"
        raw.mkdir()
        start = time.monotonic()
        write_release(raw, rows)
        size = (raw / "CHARTEVENTS.csv").stat().st_size
        print(f"wrote {rows:,} rows ({size / 1e9:.2f} GB) in {time.monotonic() - start:.0f} s")
        start = time.monotonic()
        command = [
            sys.executable,
            __file__,
            "--memory-gb",
            f"{chosen.memory_gb}",
            "--prepare",
            raw,
            Path(name) / "out",
        ]
        counts = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
        seconds = time.monotonic() - start
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
    print(f"prepared in {seconds:.1f} s: {rows / seconds:,.0f} rows/s, peak memory {peak:.2f} GB, stays {counts}")
    print(f"extrapolated to {FULL:,} rows: {seconds * FULL / rows / 60:.0f} min")


if __name__ == "__main__":
    main()
