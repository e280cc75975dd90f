"""VQA-RAD: questions of clinicians about radiological pictures, with short answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from fedmeki_bench.api import (
    ArraySpec,
    DatasetMeta,
    DatasetPreparer,
    Decoded,
    Drops,
    InputError,
    PreparerOptions,
    confined,
    grey_array,
    later,
    official_overlap,
    question_rows,
    require_folder,
    text,
    training_assignment,
)

from .layout import DIVIDED, PUBLIC

if TYPE_CHECKING:
    import pandas as pd

_FOLDERS = ("images", "VQA_RAD Image Folder")
_COLUMNS = (
    "sample_id", "group_id", "site", "source", "question", "answer", "answer_type", "question_type", "phrase_type",
    "official_split",
)  # fmt: skip


class VqaRadOptions(PreparerOptions):
    """Options of the VQA-RAD preparer."""

    image_size: int = Field(224, ge=16, le=1024, description="side of the stored square image, in pixels")
    trained: bool = later(
        False, since="0.1.0",
        description="medvqa_trained may train on the pictures; medvqa then leaves out those that it trains on",
    )  # fmt: skip


class VqaRad(DatasetPreparer[VqaRadOptions]):
    """One sample per question; both shapes in which the data set goes about are read.

    Tasks get ``question``, ``answer`` (numbers as text), ``answer_type`` (``open``, ``closed`` or blank),
    ``question_type``, ``phrase_type`` and ``official_split`` (``train`` or ``test``). Site is the organ.
    """

    meta: ClassVar[DatasetMeta] = DatasetMeta(
        name="vqa_rad",
        version=1,
        title="VQA-RAD",
        modalities=("image",),
        grouping="image",
        licence="CC0 1.0",
        access="open",
        citation="Lau JJ, et al. A dataset of clinically generated visual questions and answers about radiology "
        "images. Scientific Data 5:180251 (2018)",
        url="https://osf.io/89kps/",
        real_layout="a folder with 'trainset.json' and 'testset.json', or 'VQA_RAD Dataset Public.json', and the "
        "pictures in 'images' or 'VQA_RAD Image Folder'",
    )
    extra_columns: ClassVar[tuple[str, ...]] = ("answer_type", "question_type", "phrase_type", "official_split")
    shortcuts: ClassVar[tuple[str, ...]] = (
        "closed questions are answered yes or no: the question's wording alone guesses half of them",
        "the official division is by question: it has all its test images in training, too",
    )

    def sources(self, raw: Path, options: VqaRadOptions) -> list[Path]:
        """The question files; also checks that the folder is VQA-RAD's."""
        require_folder(raw, self.meta, ())
        _pictures(raw)
        return [path for _, path in _files(raw)]

    def bulk(self, raw: Path, options: VqaRadOptions) -> list[Path]:
        """The pictures."""
        return [_pictures(raw)]

    def release(self, raw: Path, table: pd.DataFrame) -> str:
        """Which of the two shapes it is."""
        shape = "original file" if _files(raw)[0][1].name == PUBLIC else "train and test file"
        return f"VQA-RAD, {shape}, {int(table.attrs.get('rows_read', 0))} questions"

    def table(self, raw: Path, options: VqaRadOptions, drops: Drops) -> pd.DataFrame:
        """One row per question, in the order of the files."""
        import pandas as pd

        numbers: list[str] = []

        def read(item: Mapping[str, Any], part: str, position: int) -> dict[str, Any]:
            row = _row(item, part, position)
            if not isinstance(item.get("answer"), str):
                numbers.append(row["sample_id"])
            return row

        kept = question_rows(_files(raw), read, drops)
        if numbers:
            drops.note(f"{len(numbers)} answers are numbers and are read as text")
        asked = Counter((row["source"], row["question"].lower()) for row in kept)
        if again := sum(count > 1 for count in asked.values()):
            drops.note(f"{again} pairs of image and question occur more than once")
        table: pd.DataFrame = pd.DataFrame(kept, columns=list(_COLUMNS), dtype=object)
        table.attrs["rows_read"] = drops.read
        table.attrs["official_split"] = official_overlap(
            zip(table["group_id"], table["official_split"], strict=True),
            dataset=self.meta.name,
            seed=options.split_seed,
            unit="image",
        )
        return table

    def registry(self, raw: Path, table: pd.DataFrame, options: VqaRadOptions) -> dict[str, str] | None:
        """Picture -> split, as ``medvqa_trained`` splits them, if it may be trained on them."""
        return training_assignment(table, options, self.meta.name) if options.trained else None

    def arrays(self, options: VqaRadOptions) -> dict[str, ArraySpec]:
        """Grey values 0 to 255; pictures are stretched to a square."""
        side = options.image_size
        return {"image": ArraySpec((1, side, side), "uint8", 1 / 255, "grey")}

    def decode(self, raw: Path, source: str, options: VqaRadOptions) -> Decoded:
        """Read one picture."""
        return Decoded({"image": grey_array(confined(_pictures(raw), source), options.image_size)})

    def synthesize(self, out: Path, *, size: int, seed: int) -> None:
        """See ``synthetic.py``."""
        from .synthetic import write

        write(out, size=size, seed=seed)


def _files(raw: Path) -> list[tuple[str, Path]]:
    """(official part, file); the original file tells the part of each question itself."""
    divided = [(part, raw / name) for part, name in DIVIDED if (raw / name).is_file()]
    if divided:
        return divided
    if (raw / PUBLIC).is_file():
        return [("", raw / PUBLIC)]
    raise InputError(f"{raw} lacks 'trainset.json' and '{PUBLIC}'; dataset 'vqa_rad' expects {VqaRad.meta.real_layout}")


def _pictures(raw: Path) -> Path:
    for name in _FOLDERS:
        if (raw / name).is_dir():
            return raw / name
    raise InputError(f"{raw} lacks the folder 'images'; dataset 'vqa_rad' expects {VqaRad.meta.real_layout}")


def _row(item: Mapping[str, Any], part: str, position: int) -> dict[str, Any]:
    image = text(item, "image_name")
    confined(Path(), image)
    phrase = text(item, "phrase_type", default="").lower()
    part = part or ("test" if phrase.startswith("test") else "train")
    kind = text(item, "answer_type", default="").lower()
    return {
        "sample_id": text(item, "qid", default=f"{part}-{position}"),
        "group_id": image,
        "site": text(item, "image_organ", default="").upper(),
        "source": image,
        "question": text(item, "question"),
        "answer": text(item, "answer"),
        "answer_type": kind if kind in {"open", "closed"} else "",
        "question_type": text(item, "question_type", default="").upper(),
        "phrase_type": phrase,
        "official_split": part,
    }
