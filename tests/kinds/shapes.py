"""A foreign package for the tests: pictures of disks with a task of every kind, on ``fedmeki_bench.api`` alone."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import ClassVar

from fedmeki_bench.api import (
    ArraySpec,
    Clinical,
    DatasetMeta,
    DatasetPreparer,
    Decoded,
    Drops,
    PreparerOptions,
    Task,
    TaskMeta,
    generator,
    read_table,
    write_marker,
)

SIDE = 32
PLACES = ("right", "lower left", "upper left")
SIZES = ("small", "medium", "large")


class Shapes(DatasetPreparer):
    """One disk at one of three places, of one of three sizes and any brightness, perhaps with a line or a frame."""

    meta: ClassVar[DatasetMeta] = DatasetMeta(
        name="shapes", version=1, title="Shapes", modalities=("image",), grouping="image", licence="CC0",
        access="generated",
        citation="none", url="none", real_layout="shapes.csv",
    )  # fmt: skip

    def sources(self, raw: Path, options: PreparerOptions) -> list[Path]:
        return [raw / "shapes.csv"]

    def table(self, raw: Path, options: PreparerOptions, drops: Drops):
        found = read_table(raw / "shapes.csv", ("id", "place", "size", "grey", "line", "frame"))
        drops.read = len(found)
        facts = found["place"] + ":" + found["size"] + ":" + found["grey"] + ":" + found["line"] + ":" + found["frame"]
        return found.assign(
            sample_id=found["id"], group_id=found["id"], site=found["size"], source=found["id"] + ":" + facts
        )

    def arrays(self, options: PreparerOptions) -> dict[str, ArraySpec]:
        return {"image": ArraySpec((1, SIDE, SIDE), "uint8", 1 / 255, "grey")}

    def decode(self, raw: Path, source: str, options: PreparerOptions) -> Decoded:
        import numpy as np

        number, place, size, grey, line, frame = (int(part) for part in source.split(":"))
        picture = generator(number, "shapes").normal(20, 8, (SIDE, SIDE))
        y, x = np.mgrid[:SIDE, :SIDE]
        middle = ((16, 24), (24, 8), (8, 8))[place]
        picture[(y - middle[0]) ** 2 + (x - middle[1]) ** 2 < (3, 5, 7)[size] ** 2] += grey
        if line:
            picture[15:17] += 90
        if frame:
            picture[[0, 1, -2, -1]] += 90
        return Decoded({"image": picture.clip(0, 255).astype("uint8")[None]})

    def synthesize(self, out: Path, *, size: int, seed: int) -> None:
        rng = generator(seed, "shapes")
        with (out / "shapes.csv").open("w", newline="") as stream:
            rows = csv.writer(stream)
            rows.writerow(("id", "place", "size", "grey", "line", "frame"))
            for k in range(size):
                rows.writerow((k, *rng.integers(0, 3, 2), int(rng.integers(60, 200)), *rng.integers(0, 2, 2)))
        write_marker(out, dataset="shapes", generator=1, size=size, seed=seed)


def _meta(
    name: str, kind: str, what: str, classes: tuple[str, ...] = (), unit: str = "", positive: str = ""
) -> TaskMeta:
    return TaskMeta(
        name=name, version=1, title=what.rstrip("?"), dataset="shapes", modalities=("image",), kind=kind,
        role="training",
        clinical=Clinical(what, "nobody", "never"), licence="CC0", access="generated", citation="none",
        grouping="image",
        classes=classes, unit=unit, positive=positive,
    )  # fmt: skip


class _Asked(Task):
    def prompt(self, question: str) -> str:
        return f"Above is a picture. {question}"


class Line(_Asked):
    """Yes or no."""

    meta: ClassVar[TaskMeta] = _meta("shape_line", "binary", "Yes or no, is there a line?", positive="a line")

    def label(self, row):
        return int(row["line"])


class Place(_Asked):
    """One of three."""

    meta: ClassVar[TaskMeta] = _meta("shape_place", "multiclass", f"Which of {', '.join(PLACES)}?", PLACES)

    def label(self, row):
        return int(row["place"])


class Size(_Asked):
    """One of three, in their order."""

    meta: ClassVar[TaskMeta] = _meta("shape_size", "ordinal", f"How large, {', '.join(SIZES)}?", SIZES)

    def label(self, row):
        return int(row["size"])


class Extras(_Asked):
    """Any of two, the frame not annotated in every fourth picture."""

    meta: ClassVar[TaskMeta] = _meta("shape_extras", "multilabel", "What else is there?", ("line", "frame"))

    def label(self, row):
        return int(row["line"]), None if int(row["id"]) % 4 == 0 else int(row["frame"])


class Grey(_Asked):
    """A number."""

    meta: ClassVar[TaskMeta] = _meta("shape_grey", "regression", "How bright is the disk?", unit="grey")

    def label(self, row):
        return float(row["grey"])
