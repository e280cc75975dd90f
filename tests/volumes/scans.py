"""A foreign package for the tests: scans as NIfTI files, on ``fedmeki_bench.api`` alone."""

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
    read_nifti,
    read_table,
    window,
    write_marker,
)

SIZE = (12, 24, 24)


class Scans(DatasetPreparer):
    """Noise, in half of the scans with a bright spot low or high."""

    meta: ClassVar[DatasetMeta] = DatasetMeta(
        name="scans", version=1, title="Scans", modalities=("volume",), grouping="scan", licence="CC0",
        access="generated", citation="none", url="none", real_layout="scans.csv and one .nii.gz per scan",
    )  # fmt: skip

    def sources(self, raw: Path, options: PreparerOptions) -> list[Path]:
        return [raw / "scans.csv"]

    def table(self, raw: Path, options: PreparerOptions, drops: Drops):
        found = read_table(raw / "scans.csv", ("id", "high"))
        drops.read = len(found)
        return found.assign(sample_id=found["id"], group_id=found["id"], site="", source=found["id"] + ".nii.gz")

    def arrays(self, options: PreparerOptions) -> dict[str, ArraySpec]:
        return {"volume": ArraySpec((1, *SIZE), "uint8", 1 / 255, "grey")}

    def decode(self, raw: Path, source: str, options: PreparerOptions) -> Decoded:
        return Decoded({"volume": window(read_nifti(raw / source, SIZE), -200, 600)[None]})

    def synthesize(self, out: Path, *, size: int, seed: int) -> None:
        import nibabel
        import numpy as np

        with (out / "scans.csv").open("w", newline="") as stream:
            rows = csv.writer(stream)
            rows.writerow(("id", "high"))
            for k in range(size):
                rng = generator(seed, "scans", k)
                high, (y, x) = int(rng.integers(2)), rng.integers(8, 40, 2)
                values = rng.normal(0, 60, (48, 48, 18))
                z = 12 if high else 2
                values[x : x + 8, y : y + 8, z : z + 5] += 500
                image = nibabel.Nifti1Image(values.astype(np.int16), np.diag([1.0, 1.0, 3.0, 1.0]))
                image.to_filename(out / f"{k}.nii.gz")
                rows.writerow((k, high))
        write_marker(out, dataset="scans", generator=1, size=size, seed=seed)


class High(Task):
    """Is the spot in the upper half?"""

    meta: ClassVar[TaskMeta] = TaskMeta(
        name="scan_high", version=1, title="Spot above", dataset="scans", modalities=("volume",), kind="binary",
        role="training", clinical=Clinical("Is the spot in the upper half?", "nobody", "never"), licence="CC0",
        access="generated", citation="none", grouping="scan", positive="above",
    )  # fmt: skip

    def label(self, row):
        return int(row["high"])

    def prompt(self, question: str) -> str:
        return f"A scan: <volume>\nYes or no, {question}"
