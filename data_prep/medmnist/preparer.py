"""The preparer that all sets of MedMNIST share."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from fedmeki_bench.api import (
    ArraySpec,
    DatasetMeta,
    DatasetPreparer,
    Decoded,
    Dropped,
    Drops,
    InputError,
    PreparerOptions,
    official_overlap,
    pixel_digest,
    require_folder,
    resized,
)

from .layout import PARTS, SetFacts, file_name, read_labels, read_pictures

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

_SOURCE = re.compile(r"(train|val|test)/([0-9]{7})")


class MedMnistOptions(PreparerOptions):
    """Options of the preparers of MedMNIST's sets."""

    join_duplicates: bool = Field(
        False, description="split=patient: groups that hold near-identical samples go to one side; slow on large sets"
    )
    pixels: Literal[28, 64, 128, 224] = Field(28, description="side of the released pictures; names the file")
    image_size: int = Field(64, ge=16, le=1024, description="side of the stored square image, in pixels")
    colour: Literal["grey", "rgb"] = Field("grey", description="one channel of luminance, or three channels")


class MedMnist(DatasetPreparer[MedMnistOptions]):
    """One sample per picture of one set. Tasks get ``label``, a tuple of whole numbers, and ``official_split``.

    Pictures are stored as grey levels by default, because a run has one image encoder for all tasks, and the other
    releases are grey. ``colour=rgb`` stores three channels, of grey pictures three equal ones.
    """

    facts: ClassVar[SetFacts]
    extra_columns: ClassVar[tuple[str, ...]] = ("official_split",)
    synthesize_size: ClassVar[int] = 400

    def sources(self, raw: Path, options: MedMnistOptions) -> list[Path]:
        """The set's file."""
        require_folder(raw, self.meta, (file_name(self.meta.name, options.pixels),))
        return [self._file(raw, options)]

    def release(self, raw: Path, table: pd.DataFrame) -> str:
        """By the number of pictures."""
        rows = int(table.attrs.get("rows_read", 0))
        whole = (
            "" if rows == self.facts.samples else f", {rows} pictures instead of {self.facts.samples} (a part of it?)"
        )
        return f"MedMNIST v2, {self.meta.name}{whole}"

    def table(self, raw: Path, options: MedMnistOptions, drops: Drops) -> pd.DataFrame:
        """One row per picture, part by part; pixel-identical ones are one group."""
        import pandas as pd
        from PIL import Image

        path = self._file(raw, options)
        kept: list[dict[str, Any]] = []
        first: dict[str, str] = {}
        for part, official in PARTS.items():
            labels = read_labels(path, part, self.facts)
            number = -1
            for number, picture in enumerate(read_pictures(path, part, options.pixels, self.facts)):
                name = f"{part}-{number:07d}"
                if number >= len(labels) or not ((labels[number] >= 0) & (labels[number] < self.facts.values)).all():
                    drops.add("the label is none of the set's", name)
                    continue
                kept.append({
                    "sample_id": name,
                    "group_id": first.setdefault(pixel_digest(Image.fromarray(picture)), name),
                    "site": "",
                    "source": f"{part}/{number:07d}",
                    "label": tuple(labels[number].tolist()),
                    "official_split": official,
                })  # fmt: skip
            if number + 1 != len(labels):
                raise InputError(f"{path}: the part {part} has {number + 1} pictures and {len(labels)} labels")
            drops.read += number + 1
        if self.facts.channels == 3 and options.colour == "grey":
            drops.note(
                "the pictures are in colour and are stored as grey levels (luminance); -o colour=rgb keeps colours"
            )
        table: pd.DataFrame = pd.DataFrame(
            kept, columns=["sample_id", "group_id", "site", "source", "label", "official_split"]
        )
        table.attrs["rows_read"] = drops.read
        table.attrs["official_split"] = official_overlap(
            [(row["group_id"], row["official_split"]) for row in kept],
            dataset=self.meta.name, seed=options.split_seed, unit="image",
        )  # fmt: skip
        return table

    def arrays(self, options: MedMnistOptions) -> dict[str, ArraySpec]:
        """Values 0 to 255."""
        side, channels = options.image_size, 3 if options.colour == "rgb" else 1
        return {"image": ArraySpec((channels, side, side), "uint8", 1 / 255, "grey" if channels == 1 else "rgb")}

    def decode(self, raw: Path, source: str, options: MedMnistOptions) -> Decoded:
        """Read one picture: everything before it is read, too."""
        ((_, found),) = self.decode_all(raw, [source], options, 1)
        if isinstance(found, Dropped):
            raise found
        return found

    def decode_all(
        self, raw: Path, sources: Sequence[str], options: MedMnistOptions, workers: int
    ) -> Iterator[tuple[str, Decoded | Dropped]]:
        """One pass over the parts of the file, since it can only be read from its beginning."""
        for part, wanted in groupby(sources, key=lambda source: source.partition("/")[0]):
            yield from self._of_part(raw, part, list(wanted), options)

    def _of_part(
        self, raw: Path, part: str, sources: Sequence[str], options: MedMnistOptions
    ) -> Iterator[tuple[str, Decoded | Dropped]]:
        waiting = iter(sources)
        source = next(waiting, None)
        if not all(_SOURCE.fullmatch(name) for name in sources):
            yield from ((name, Dropped("no picture has this name")) for name in sources)
            return
        try:
            for number, picture in enumerate(read_pictures(self._file(raw, options), part, options.pixels, self.facts)):
                while source is not None and int(source.rpartition("/")[2]) == number:
                    yield source, Decoded({"image": _stored(picture, options)})
                    source = next(waiting, None)
                if source is None:
                    return
        except InputError:
            pass  # told with each picture that is lost
        while source is not None:
            yield source, Dropped("the file is truncated or damaged")
            source = next(waiting, None)

    def synthesize(self, out: Path, *, size: int, seed: int) -> None:
        """See ``synthetic.py``."""
        from .synthetic import write

        write(out, self.meta.name, self.facts, size=size, seed=seed, ordered=self.ordered)

    ordered: ClassVar[bool] = False
    """Whether the classes have an order; only the stand-in wants to know."""

    def _file(self, raw: Path, options: MedMnistOptions) -> Path:
        return raw / file_name(self.meta.name, options.pixels)


def _stored(picture: np.ndarray, options: MedMnistOptions) -> np.ndarray:
    """(1 or 3, side, side): each value the mean of the area it stands for, or the value it lies in when enlarged."""
    import numpy as np
    from PIL import Image

    coloured = Image.fromarray(picture)
    wanted = coloured.convert("RGB") if options.colour == "rgb" else coloured.convert("L")
    return np.stack([resized(channel, options.image_size) for channel in wanted.split()])


def set_meta(name: str, title: str, source: str, *, licence: str = "CC BY 4.0") -> DatasetMeta:
    """What all sets have in common, with what this one is, and where it comes from."""
    return DatasetMeta(
        name=name,
        version=1,
        title=f"{title} (MedMNIST v2)",
        modalities=("image",),
        grouping="image",
        licence=licence,
        access="open",
        citation="Yang J, et al. MedMNIST v2: A large-scale lightweight benchmark for 2D and 3D biomedical image "
        f"classification. Scientific Data 10:41 (2023); {source}",
        url="https://medmnist.com/",
        real_layout=f"a folder with '{name}.npz' (with -o pixels=64, 128 or 224: '{name}_64.npz' and so on)",
    )
