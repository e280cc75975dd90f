"""Reads a folder with 'stays.csv' and one chart per stay: hour, variable, value."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from fedmeki_bench.api import (
    ArraySpec,
    DatasetMeta,
    DatasetPreparer,
    Decoded,
    Dropped,
    InputError,
    PreparerOptions,
    confined,
    number,
    read_table,
    require_folder,
    series_statistics,
    write_marker,
)

TABLE, CHARTS = "stays.csv", "charts"
COLUMNS = ("stay", "patient", "ward", "sex", "age", "hours", "reintubated", "chart")
VARIABLES = ("heart rate", "oxygen saturation", "mean pressure", "temperature")


class RecoveryOptions(PreparerOptions):
    """How much of a stay is read."""

    hours: int = Field(12, ge=1, le=48, description="hours from the beginning of a stay")


class Recovery(DatasetPreparer[RecoveryOptions]):
    """One sample per stay; tasks get the columns of 'stays.csv' as text."""

    meta: ClassVar[DatasetMeta] = DatasetMeta(
        name="recovery",
        version=1,
        title="Recovery room charts",
        modalities=("clinical",),
        grouping="patient",
        licence="CC0 1.0",
        access="open",
        citation="written for a test",
        url="https://example.org/recovery",
        real_layout="a folder with 'stays.csv' and 'charts'",
    )
    extra_columns: ClassVar[tuple[str, ...]] = ("sex", "age", "hours")

    def sources(self, raw, options):
        """The table of stays."""
        require_folder(raw, self.meta, (TABLE, CHARTS))
        return [raw / TABLE]

    def bulk(self, raw, options):
        """The charts."""
        return [raw / CHARTS]

    def table(self, raw, options, drops):
        """One row per stay with a patient and a plausible length."""
        import pandas as pd

        read = read_table(raw / TABLE, COLUMNS)
        drops.read = len(read)
        kept, seen = [], set()
        for position, row in enumerate(read.to_dict("records"), start=1):
            hours = row["hours"]
            if not row["patient"]:
                drops.add("no patient is named", f"row {position}")
            elif row["stay"] in seen:
                drops.add("the stay occurs a second time", row["stay"])
            elif not hours.isdigit() or int(hours) < 1:
                drops.add("the length of the stay is no number of hours", row["stay"])
            else:
                seen.add(row["stay"])
                facts = {"sample_id": row["stay"], "group_id": row["patient"], "site": row["ward"]}
                length = min(int(hours), options.hours)
                kept.append(row | facts | {"source": row["chart"], "hours": length, "age": _age(row["age"])})
        return pd.DataFrame(kept, columns=[*read.columns, "sample_id", "group_id", "site", "source"])

    def arrays(self, options):
        """Hours by variables, NaN where nothing was charted."""
        return {"clinical": ArraySpec((options.hours, len(VARIABLES)), "float32")}

    def decode(self, raw, source, options):
        """One chart as a table of hours by variables."""
        import numpy as np

        try:
            chart = read_table(confined(raw / CHARTS, source), ("hour", "variable", "value"))
        except InputError:  # a table as a whole is refused, a single chart is counted
            raise Dropped("the chart is missing or damaged") from None
        values = np.full((options.hours, len(VARIABLES)), np.nan, dtype=np.float32)
        for hour, variable, value in zip(chart["hour"], chart["variable"], chart["value"], strict=True):
            try:
                found = number(value)
                if found is not None and variable in VARIABLES and int(hour) < options.hours:
                    values[int(hour), VARIABLES.index(variable)] = found
            except ValueError:
                raise Dropped("the chart holds something else than numbers") from None
        return Decoded({"clinical": values})

    def statistics(self, arrays, samples):
        """Figures to fill and standardise by, from the clients' own stays."""
        return {"clinical": series_statistics(arrays["clinical"], samples["array_row"].to_numpy()).as_json()}

    def synthesize(self, out, *, size, seed):
        """See ``standin.py``."""
        from .standin import write

        write(out, size=size, seed=seed)
        write_marker(out, dataset="recovery", generator=1, size=size, seed=seed, difficulty="6 % lower saturation")


def _age(text):
    try:
        return number(text)
    except ValueError:
        return None
