"""A small preparer that keeps every clause, and others with one deliberate mistake each."""

from __future__ import annotations

import csv
import itertools
import random
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pandas as pd
from pydantic import BaseModel

from fedmeki_bench.api import ArraySpec, DatasetMeta, DatasetPreparer, Dropped
from fedmeki_bench.data.contract import Decoded, confined, require_folder, write_marker
from fedmeki_bench.data.raw.tables import read_table

TABLE, RECORDS = "visits.csv", "records"


class Visits(DatasetPreparer):
    """Four numbers per visit, one file each."""

    meta: ClassVar[DatasetMeta] = DatasetMeta(
        name="visits", version=1, title="Visits", modalities=("signal",), grouping="patient", licence="CC0",
        access="open", citation="nobody", url="https://example.org",
        real_layout="a folder with 'visits.csv' and 'records'",
    )  # fmt: skip

    def sources(self, raw, options):
        require_folder(raw, self.meta, (TABLE, RECORDS))
        return [raw / TABLE]

    def bulk(self, raw, options):
        return [raw / RECORDS]

    def table(self, raw, options, drops):
        read = read_table(raw / TABLE, ("patient_id", "file"))
        drops.read = len(read)
        rows = []
        for position, row in enumerate(read.to_dict("records")):
            try:
                confined(raw / RECORDS, row["file"])
            except Dropped as dropped:
                drops.add(dropped.reason, f"row {position}")
                continue
            rows.append(
                {"sample_id": f"visit-{position}", "group_id": self.group(row), "site": "", "source": row["file"]}
                | {"patient_id": row["patient_id"]}
            )
        return pd.DataFrame(rows)

    def group(self, row):
        return row["patient_id"]

    def arrays(self, options):
        return {"signal": ArraySpec((4,), "float32")}

    def decode(self, raw, source, options):
        return Decoded({"signal": self.numbers(confined(raw / RECORDS, source))})

    def numbers(self, path):
        try:
            values = [float(word) for word in path.read_text().split()]
        except (OSError, ValueError):
            values = []
        if len(values) != 4:
            raise Dropped("the record is missing or damaged")
        return np.array(values, dtype=np.float32)

    def synthesize(self, out, *, size, seed):
        draw = random.Random(seed)
        (out / RECORDS).mkdir(parents=True)
        with (out / TABLE).open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(("patient_id", "file"))
            for k in range(size):
                writer.writerow((f"p{k // 3}", f"r{k:03d}.txt"))
                numbers = " ".join(f"{draw.random():.6f}" for _ in range(4))
                (out / RECORDS / f"r{k:03d}.txt").write_text(numbers)
        self.mark(out, seed)

    def mark(self, out, seed):
        write_marker(out, generator="visits", seed=seed)


class OwnOptions(Visits):
    """Options of another family."""

    class Options(BaseModel):
        """Nothing that every preparer has."""


class Unlicensed(Visits):
    """Does not say what may be done with the data."""

    meta = replace(Visits.meta, licence="")


class OtherArrays(Visits):
    """Promises pictures and has signals."""

    meta = replace(Visits.meta, modalities=("image",))


class UnseededStandIn(Visits):
    """A stand-in that is another one every time."""

    def synthesize(self, out, *, size, seed):
        super().synthesize(out, size=size, seed=random.SystemRandom().randrange(10**9))


class SameStandIn(Visits):
    """A stand-in that does not care for the seed."""

    def synthesize(self, out, *, size, seed):
        super().synthesize(out, size=size, seed=0)

    def mark(self, out, seed):
        write_marker(out, generator="visits")


class Unmarked(Visits):
    """A stand-in that passes for real."""

    def mark(self, out, seed):
        pass


class WritesIntoRaw(Visits):
    """Leaves a note in the release's folder."""

    def table(self, raw, options, drops):
        (raw / "seen.txt").write_text("yes")
        return super().table(raw, options, drops)


class Unstable(Visits):
    """Decodes to something else every time."""

    calls = itertools.count()

    def numbers(self, path):
        return super().numbers(path) + next(self.calls)


class Restless(Visits):
    """Calls a file its source that changes each time."""

    calls = itertools.count()

    def sources(self, raw, options):
        found = super().sources(raw, options)
        (raw.parent / "log.txt").write_text(str(next(self.calls)))
        return [*found, raw.parent / "log.txt"]


class Cached(Visits):
    """Keeps decoded records in a file that a killed run leaves half written."""

    def decode(self, raw, source, options):
        found = super().decode(raw, source, options)
        with (raw / "cache.txt").open("a") as stream:
            stream.write(source + "\n")
        return found


class Believes(Visits):
    """Takes a cache for complete that a killed run has begun."""

    done: ClassVar[set] = set()

    def decode(self, raw, source, options):
        found = super().decode(raw, source, options)
        if raw.name == "killed-raw":
            if source in self.done:
                return Decoded({"signal": found.arrays["signal"] * 0})
            self.done.add(source)
        return found


class Uncounted(Visits):
    """Leaves every tenth row out and tells nobody."""

    def table(self, raw, options, drops):
        return super().table(raw, options, drops).iloc[::10].reset_index(drop=True)


class Crashes(Visits):
    """A damaged record ends everything."""

    def numbers(self, path):
        return np.array([float(word) for word in path.read_text().split()], dtype=np.float32)


class Gullible(Visits):
    """A damaged record is as good as any."""

    def numbers(self, path):
        try:
            return super().numbers(path)
        except Dropped:
            return np.zeros(4, dtype=np.float32)


class Wordy(Visits):
    """Every drop has a reason of its own."""

    def numbers(self, path):
        try:
            return super().numbers(path)
        except Dropped:
            raise Dropped(f"visit-{int(path.stem[1:])} is damaged") from None


class GroupPerVisit(Visits):
    """Every visit is a group, whoever came."""

    def group(self, row):
        return row["file"]


class SharedFile(Visits):
    """Two visits in one file, in two groups."""

    def table(self, raw, options, drops):
        table = super().table(raw, options, drops).drop(columns="patient_id")
        table["source"] = [f"r{k // 2:03d}.txt" for k in range(len(table))]
        table["group_id"] = table["sample_id"]
        return table


class Unconfined(Visits):
    """Reads whatever a table names."""

    def decode(self, raw, source, options):
        return Decoded({"signal": self.numbers(raw / RECORDS / source)})


class AnyFolder(Visits):
    """Takes every folder for its own."""

    def sources(self, raw, options):
        return [raw / TABLE] if (raw / TABLE).exists() else []


class Terse(Visits):
    """Refuses without saying what is expected."""

    def sources(self, raw, options):
        from fedmeki_bench.api import InputError

        if not (raw / TABLE).exists():
            raise InputError("wrong folder")
        return [raw / TABLE]


WRONG = [
    (OwnOptions, "loads", "its Options do not descend from PreparerOptions"),
    (Unlicensed, "meta", "meta.licence is empty"),
    (OtherArrays, "meta", "meta.modalities has 'image'"),
    (UnseededStandIn, "synthetic", "synthesizing twice with one seed gives two different files"),
    (SameStandIn, "synthetic", "synthesizing with two seeds gives the same files"),
    (Unmarked, "synthetic", "has no SYNTHETIC.json"),
    (WritesIntoRaw, "prepares", "changed or wrote 'seen.txt' in the raw folder"),
    (Unstable, "prepares", "preparing the same release into two folders gives two different files"),
    (Restless, "repeat", "a second prepare of the same release wrote 'card.json' again"),
    (Cached, "atomic", "it left 'cache.txt' in the raw folder"),
    (Believes, "atomic", "after a kill, the next prepare wrote another"),
    (Uncounted, "counted", "54 are not accounted for"),
    (Crashes, "counted", "it raised"),
    (Gullible, "counted", "no sample was dropped"),
    (Wordy, "counted", "holds the id of a sample"),
    (GroupPerVisit, "groups", "the samples of one patient_id"),
    (SharedFile, "groups", "sources are in more than one split"),
    (Unconfined, "confined", "which is outside the raw folder"),
    (AnyFolder, "wrong-folder", "sources() accepts an empty folder"),
    (Terse, "wrong-folder", "which names no file or folder that is expected"),
]
