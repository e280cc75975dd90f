"""A made-up dataset for the board ``conflict``: small pictures of four signs, asked about in two contexts.

There is no release of it; ``synth`` writes what ``prepare`` reads (see ``synthetic.py``).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from fedmeki_bench.api import (
    ArraySpec,
    DatasetMeta,
    DatasetPreparer,
    Decoded,
    Drops,
    PreparerOptions,
    confined,
    grey_array,
    read_table,
    require_folder,
    training_assignment,
)

from .layout import PICTURES, SIGNS, TABLE

if TYPE_CHECKING:
    import pandas as pd


class ConflictOptions(PreparerOptions):
    """Options of the preparer."""

    image_size: int = Field(64, ge=16, le=256, description="side of the stored square image, in pixels")
    public: int = Field(
        0, ge=0, description="at most so many public pictures per trained task; others take no part; 0: all"
    )
    private: int = Field(0, ge=0, description="likewise of the clients' pictures")


class Conflict(DatasetPreparer[ConflictOptions]):
    """One sample per picture. Tasks get a column per sign, the task that the picture is for, and ``surplus``."""

    meta: ClassVar[DatasetMeta] = DatasetMeta(
        name="conflict",
        version=1,
        title="Conflict (made up)",
        modalities=("image",),
        grouping="picture",
        licence="CC0 1.0",
        access="made up: fedmeki-bench synth conflict",
        citation="none: made up for this benchmark",
        url="",
        real_layout="'pictures.csv' (picture, task, disk, ring, bar, cross) and 'pictures/<number>.png'",
    )
    synthesize_size: ClassVar[int] = 12_000

    def sources(self, raw: Path, options: ConflictOptions) -> list[Path]:
        """The table."""
        require_folder(raw, self.meta, (TABLE, PICTURES))
        return [raw / TABLE]

    def bulk(self, raw: Path, options: ConflictOptions) -> list[Path]:
        """The pictures."""
        return [raw / PICTURES]

    def table(self, raw: Path, options: ConflictOptions, drops: Drops) -> pd.DataFrame:
        """One row per picture; ``surplus`` are a task's pictures beyond what ``public`` and ``private`` allow."""
        import pandas as pd

        assert isinstance(options, ConflictOptions)
        read = read_table(raw / TABLE, ("picture", "task", *SIGNS))
        drops.read += len(read)
        names = read["picture"].astype(str)
        table = pd.DataFrame({
            "sample_id": names, "group_id": names, "site": "", "source": PICTURES + "/" + names + ".png",
            "task": read["task"], **{sign: read[sign].astype(int) for sign in SIGNS},
        })  # fmt: skip
        split = table["group_id"].map(training_assignment(table, options, self.meta.name))
        number = table.groupby([split, "task"]).cumcount()
        table["surplus"] = False
        for part, most in (("public", options.public), ("client", options.private)):
            table["surplus"] |= (split == part) & (number >= most) & (most > 0)
        return table

    def arrays(self, options: ConflictOptions) -> dict[str, ArraySpec]:
        """Grey values 0 to 255."""
        assert isinstance(options, ConflictOptions)
        return {"image": ArraySpec((1, options.image_size, options.image_size), "uint8", 1 / 255, "grey")}

    def decode(self, raw: Path, source: str, options: ConflictOptions) -> Decoded:
        """One picture."""
        assert isinstance(options, ConflictOptions)
        return Decoded({"image": grey_array(confined(raw, source), options.image_size)})

    def synthesize(self, out: Path, *, size: int, seed: int) -> None:
        """See ``synthetic.py``."""
        from .synthetic import write

        write(out, size=size, seed=seed)
