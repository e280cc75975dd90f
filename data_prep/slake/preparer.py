"""SLAKE 1.0: questions in English and Chinese about CT, MRI and X-ray pictures."""

from __future__ import annotations

from collections.abc import Mapping
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
    confined,
    grey_array,
    official_overlap,
    question_rows,
    require_folder,
    text,
)

from .layout import IMAGES, PARTS

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = (
    "sample_id", "group_id", "site", "source", "question", "answer", "answer_type", "content_type", "location",
    "language", "official_split", "asked", "picture_split", "first",
)  # fmt: skip


class SlakeOptions(PreparerOptions):
    """Options of the SLAKE preparer."""

    image_size: int = Field(224, ge=16, le=1024, description="side of the stored square image, in pixels")
    language: Literal["en", "zh", "all"] = Field("en", description="questions in this language; chosen before all else")
    rows: Literal["test", "all"] = Field(
        "test", description="questions of the official test part, or of all three parts"
    )


class Slake(DatasetPreparer[SlakeOptions]):
    """One sample per question in the chosen language.

    Tasks get ``question``, ``answer``, ``answer_type`` (``open``, ``closed`` or blank), ``content_type``,
    ``location``, ``language`` and ``official_split``; ``asked``: whether option ``rows`` asks for that part. A task
    about pictures takes the ``first`` question about each; ``picture_split`` is ``test`` where any of them is
    of that part. Site is the imaging modality (CT, MRI, X-Ray).
    """

    meta: ClassVar[DatasetMeta] = DatasetMeta(
        name="slake",
        version=1,
        title="SLAKE 1.0",
        modalities=("image",),
        grouping="image",
        licence="CC BY 4.0",
        access="open",
        citation="Liu B, et al. SLAKE: A Semantically-Labeled Knowledge-Enhanced Dataset for Medical Visual Question "
        "Answering. IEEE ISBI 1650-1654 (2021)",
        url="https://www.med-vqa.com/slake/",
        real_layout="a folder with 'train.json', 'validate.json' (or 'validation.json'), 'test.json' and "
        "'imgs/xmlab<n>/source.jpg'",
    )
    extra_columns: ClassVar[tuple[str, ...]] = (
        "answer_type", "content_type", "location", "language", "official_split",
    )  # fmt: skip
    shortcuts: ClassVar[tuple[str, ...]] = (
        "many questions repeat the same wording over images: the wording alone guesses many answers",
        "with language=all, images of the English test part are in the Chinese training part",
    )

    synthesize_size: ClassVar[int] = 1200

    def sources(self, raw: Path, options: SlakeOptions) -> list[Path]:
        """The question files; also checks that the folder is SLAKE's."""
        require_folder(raw, self.meta, (IMAGES, *PARTS["test"]))
        return [path for _, path in _files(raw)]

    def bulk(self, raw: Path, options: SlakeOptions) -> list[Path]:
        """The pictures."""
        return [raw / IMAGES]

    def release(self, raw: Path, table: pd.DataFrame) -> str:
        """By the number of questions."""
        rows = int(table.attrs.get("rows_read", 0))
        return "SLAKE 1.0" + ("" if rows == 14_028 else f", {rows} questions instead of 14,028 (a part of it?)")

    def table(self, raw: Path, options: SlakeOptions, drops: Drops) -> pd.DataFrame:
        """One row per question of the chosen language and part, in the order of the files."""
        import pandas as pd

        def read(item: Mapping[str, Any], part: str, position: int) -> dict[str, Any] | str:
            language = text(item, "q_lang").lower()
            if language not in {"en", "zh"}:
                raise Dropped("q_lang is neither en nor zh")
            if options.language not in {language, "all"}:
                return f"the question is in another language ({language})"
            asked = options.rows == "all" or part == "test"
            return _row(item, part, position) | {"language": language, "asked": asked}

        kept = question_rows(_files(raw), read, drops)
        pairs = [(row["group_id"], row["official_split"]) for row in kept]
        tested = {picture for picture, part in pairs if part == "test"}
        seen: set[str] = set()
        for row in kept:
            picture = row["group_id"]
            row |= {
                "first": picture not in seen,
                "picture_split": "test" if picture in tested else row["official_split"],
            }
            seen.add(picture)
        table: pd.DataFrame = pd.DataFrame(kept, columns=list(_COLUMNS), dtype=object)
        table.attrs["rows_read"] = drops.read
        table.attrs["official_split"] = official_overlap(
            pairs, dataset=self.meta.name, seed=options.split_seed, unit="image"
        )
        return table

    def arrays(self, options: SlakeOptions) -> dict[str, ArraySpec]:
        """Grey values 0 to 255; pictures are stretched to a square."""
        side = options.image_size
        return {"image": ArraySpec((1, side, side), "uint8", 1 / 255, "grey")}

    def decode(self, raw: Path, source: str, options: SlakeOptions) -> Decoded:
        """Read one picture."""
        return Decoded({"image": grey_array(confined(raw / IMAGES, source), options.image_size)})

    def synthesize(self, out: Path, *, size: int, seed: int) -> None:
        """See ``synthetic.py``."""
        from .synthetic import write

        write(out, size=size, seed=seed)


def _files(raw: Path) -> list[tuple[str, Path]]:
    """(official part, file); the training and validation parts may be absent."""
    found: list[tuple[str, Path]] = []
    for part, names in PARTS.items():
        there = [raw / name for name in names if (raw / name).is_file()]
        if len(there) > 1:
            raise InputError(f"{raw} has both {there[0].name} and {there[1].name}: keep one of them")
        found += [(part, path) for path in there]
    return found


def _row(item: Mapping[str, Any], part: str, position: int) -> dict[str, Any]:
    image = text(item, "img_name")
    confined(Path(), image)
    kind = text(item, "answer_type", default="").lower()
    return {
        "sample_id": f"{part}-{text(item, 'qid', default=f'item{position}')}",
        "group_id": image,
        "site": text(item, "modality", default=""),
        "source": image,
        "question": text(item, "question"),
        "answer": text(item, "answer"),
        "answer_type": kind if kind in {"open", "closed"} else "",
        "content_type": text(item, "content_type", default=""),
        "location": text(item, "location", default=""),
        "official_split": part,
    }
