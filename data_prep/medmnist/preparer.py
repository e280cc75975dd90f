"""The preparer that all sets of MedMNIST share, with what is of pictures and of volumes alone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

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

from .layout import PARTS, PIXELS, SetFacts, file_name, read_labels, read_samples

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

_SOURCE = re.compile(r"(train|val|test)/([0-9]{7})")


class ReleaseOptions(PreparerOptions):
    """What all sets are asked for; their options add to it."""

    pixels: int = Field(PIXELS, description="side of what is released; names the file")


class MedMnistOptions(ReleaseOptions):
    """Options of the preparers of MedMNIST's sets of pictures."""

    join_duplicates: bool = Field(
        False, description="split=patient: groups that hold near-identical samples go to one side; slow on large sets"
    )
    pixels: Literal[28, 64, 128, 224] = Field(28, description="side of the released pictures; names the file")
    image_size: int = Field(64, ge=16, le=1024, description="side of the stored square image, in pixels")
    colour: Literal["grey", "rgb"] = Field("grey", description="one channel of luminance, or three channels")


class MedMnist3DOptions(ReleaseOptions):
    """Options of the preparers of MedMNIST's sets of volumes, which are stored as they are released."""

    pixels: Literal[28, 64] = Field(28, description="side of the released volumes, in voxels; names the file")


OptionsT = TypeVar("OptionsT", bound=ReleaseOptions)


class MedMnist(DatasetPreparer[OptionsT]):
    """One sample per entry of one set. Tasks get ``label``, a tuple of whole numbers, and ``official_split``."""

    facts: ClassVar[SetFacts]
    extra_columns: ClassVar[tuple[str, ...]] = ("official_split",)
    synthesize_size: ClassVar[int] = 400

    def sources(self, raw: Path, options: OptionsT) -> list[Path]:
        """The set's file."""
        require_folder(raw, self.meta, (file_name(self.meta.name, options.pixels),))
        return [self._file(raw, options)]

    def release(self, raw: Path, table: pd.DataFrame) -> str:
        """By the number of samples."""
        rows = int(table.attrs.get("rows_read", 0))
        whole = (
            ""
            if rows == self.facts.samples
            else f", {rows} {self.facts.noun} instead of {self.facts.samples} (a part of it?)"
        )
        return f"MedMNIST v2, {self.meta.name}{whole}"

    def table(self, raw: Path, options: OptionsT, drops: Drops) -> pd.DataFrame:
        """One row per sample, part by part; pixel-identical ones are one group."""
        import pandas as pd

        path = self._file(raw, options)
        kept: list[dict[str, Any]] = []
        first: dict[str, str] = {}
        for part, official in PARTS.items():
            labels = read_labels(path, part, self.facts)
            number = -1
            for number, sample in enumerate(read_samples(path, part, options.pixels, self.facts)):
                name = f"{part}-{number:07d}"
                if number >= len(labels) or not ((labels[number] >= 0) & (labels[number] < self.facts.values)).all():
                    drops.add("the label is none of the set's", name)
                    continue
                kept.append({
                    "sample_id": name,
                    "group_id": first.setdefault(self._digest(sample), name),
                    "site": "",
                    "source": f"{part}/{number:07d}",
                    "label": tuple(labels[number].tolist()),
                    "official_split": official,
                })  # fmt: skip
            if number + 1 != len(labels):
                raise InputError(f"{path}: the part {part} has {number + 1} {self.facts.noun} and {len(labels)} labels")
            drops.read += number + 1
        for remark in self.remarks(options):
            drops.note(remark)
        table: pd.DataFrame = pd.DataFrame(
            kept, columns=["sample_id", "group_id", "site", "source", "label", "official_split"]
        )
        table.attrs["rows_read"] = drops.read
        table.attrs["official_split"] = official_overlap(
            [(row["group_id"], row["official_split"]) for row in kept],
            dataset=self.meta.name, seed=options.split_seed, unit="image",
        )  # fmt: skip
        return table

    def remarks(self, options: OptionsT) -> list[str]:
        """What the card should say of how samples are stored."""
        return []

    def stored(self, sample: np.ndarray, options: OptionsT) -> dict[str, np.ndarray]:
        """A sample of the file as :meth:`arrays` promises it."""
        raise NotImplementedError

    def decode(self, raw: Path, source: str, options: OptionsT) -> Decoded:
        """Read one sample: everything before it is read, too."""
        ((_, found),) = self.decode_all(raw, [source], options, 1)
        if isinstance(found, Dropped):
            raise found
        return found

    def decode_all(
        self, raw: Path, sources: Sequence[str], options: OptionsT, workers: int
    ) -> Iterator[tuple[str, Decoded | Dropped]]:
        """One pass over the parts of the file, since it can only be read from its beginning."""
        for part, wanted in groupby(sources, key=lambda source: source.partition("/")[0]):
            yield from self._of_part(raw, part, list(wanted), options)

    def _of_part(
        self, raw: Path, part: str, sources: Sequence[str], options: OptionsT
    ) -> Iterator[tuple[str, Decoded | Dropped]]:
        waiting = iter(sources)
        source = next(waiting, None)
        if not all(_SOURCE.fullmatch(name) for name in sources):
            yield from ((name, Dropped("no sample has this name")) for name in sources)
            return
        try:
            for number, sample in enumerate(read_samples(self._file(raw, options), part, options.pixels, self.facts)):
                while source is not None and int(source.rpartition("/")[2]) == number:
                    yield source, Decoded(self.stored(sample, options))
                    source = next(waiting, None)
                if source is None:
                    return
        except InputError:
            pass  # told with each sample that is lost
        while source is not None:
            yield source, Dropped("the file is truncated or damaged")
            source = next(waiting, None)

    def synthesize(self, out: Path, *, size: int, seed: int) -> None:
        """See ``synthetic.py``."""
        from .synthetic import write

        write(out, self.meta.name, self.facts, size=size, seed=seed, ordered=self.ordered)

    ordered: ClassVar[bool] = False
    """Whether the classes have an order; only the stand-in wants to know."""

    def _file(self, raw: Path, options: OptionsT) -> Path:
        return raw / file_name(self.meta.name, options.pixels)

    def _digest(self, sample: np.ndarray) -> str:
        from PIL import Image

        # the slices of a volume one below the other are a picture, too
        return pixel_digest(Image.fromarray(sample.reshape(-1, *sample.shape[self.facts.axes - 1 :])))


class MedMnist2D(MedMnist[MedMnistOptions]):
    """A set of pictures.

    They are stored as grey levels by default, because a run has one image encoder for all tasks, and the other
    releases are grey. ``colour=rgb`` stores three channels, of grey pictures three equal ones.
    """

    def arrays(self, options: MedMnistOptions) -> dict[str, ArraySpec]:
        """Values 0 to 255."""
        side, channels = options.image_size, 3 if options.colour == "rgb" else 1
        return {"image": ArraySpec((channels, side, side), "uint8", 1 / 255, "grey" if channels == 1 else "rgb")}

    def remarks(self, options: MedMnistOptions) -> list[str]:
        """Whether colours are lost."""
        if self.facts.channels == 1 or options.colour == "rgb":
            return []
        return ["the pictures are in colour and are stored as grey levels (luminance); -o colour=rgb keeps colours"]

    def stored(self, sample: np.ndarray, options: MedMnistOptions) -> dict[str, np.ndarray]:
        """(1 or 3, side, side): each value the mean of the area it stands for, or the value it lies in when larger."""
        import numpy as np
        from PIL import Image

        coloured = Image.fromarray(sample)
        wanted = coloured.convert("RGB") if options.colour == "rgb" else coloured.convert("L")
        return {"image": np.stack([resized(channel, options.image_size) for channel in wanted.split()])}


class MedMnist3D(MedMnist[MedMnist3DOptions]):
    """A set of volumes, stored as they are released: encoders of volumes shrink what they get."""

    def arrays(self, options: MedMnist3DOptions) -> dict[str, ArraySpec]:
        """Values 0 to 255; the axes are the file's."""
        return {"volume": ArraySpec((1, *self.facts.shape(options.pixels)), "uint8", 1 / 255, "grey")}

    def stored(self, sample: np.ndarray, options: MedMnist3DOptions) -> dict[str, np.ndarray]:
        """(1, pixels, pixels, pixels)."""
        return {"volume": sample[None]}


def set_meta(
    name: str, title: str, source: str, *, licence: str = "CC BY 4.0", modality: str = "image",
    larger: str = "64, 128 or 224: '{name}_64.npz' and so on",
) -> DatasetMeta:  # fmt: skip
    """What all sets have in common, with what this one is, and where it comes from."""
    return DatasetMeta(
        name=name,
        version=1,
        title=f"{title} (MedMNIST v2)",
        modalities=(modality,),
        grouping="image",
        licence=licence,
        access="open",
        citation="Yang J, et al. MedMNIST v2: A large-scale lightweight benchmark for 2D and 3D biomedical image "
        f"classification. Scientific Data 10:41 (2023); {source}",
        url="https://medmnist.com/",
        real_layout=f"a folder with '{name}.npz' (with -o pixels={larger.format(name=name)})",
    )
