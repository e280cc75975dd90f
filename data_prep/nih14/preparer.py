"""NIH ChestX-ray14: frontal chest X-rays with fourteen findings mined from their reports."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

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
    read_table,
    require_folder,
)

from .layout import AGE, FINDINGS, IMAGE, LABELS, NO_FINDING, PARTS, PATIENT, SEX, TABLES, VIEW

if TYPE_CHECKING:
    import pandas as pd

_FOLDER = re.compile(r"images(_[0-9]+)?")
_AGE = re.compile(r"0*([0-9]{1,3})([YMD]?)")
_PER_YEAR = {"": 1, "Y": 1, "M": 12, "D": 365}
_OLDEST = 110
_LONGEST_LIST = 50_000_000  # bytes; the release's has two million


class Nih14Options(PreparerOptions):
    """Options of the NIH ChestX-ray14 preparer."""

    image_size: int = Field(224, ge=16, le=1024, description="side of the stored square image, in pixels")


class Nih14(DatasetPreparer[Nih14Options]):
    """One sample per image.

    Tasks get a column per finding, 1 where the labels name it and 0 otherwise, and ``official_split`` (``train``,
    ``test`` or blank). Site is the view position (PA or AP). Ages above 110 years are left blank.
    """

    meta: ClassVar[DatasetMeta] = DatasetMeta(
        name="nih14",
        version=1,
        title="NIH ChestX-ray14",
        modalities=("image",),
        grouping="patient",
        licence="free to use with attribution to the NIH Clinical Center and a citation",
        access="open, without an account",
        citation="Wang X, et al. ChestX-ray8: Hospital-scale Chest X-ray Database and Benchmarks on Weakly-Supervised "
        "Classification and Localization of Common Thorax Diseases. IEEE CVPR 2097-2106 (2017)",
        url="https://nihcc.app.box.com/v/ChestXray-NIHCC",
        real_layout="a folder with 'Data_Entry_2017_v2020.csv' (or 'Data_Entry_2017.csv'), 'train_val_list.txt', "
        "'test_list.txt' and the pictures in 'images/' or 'images_001/images/', 'images_002/images/', ...",
    )
    extra_columns: ClassVar[tuple[str, ...]] = ("sex", "age", "official_split")
    shortcuts: ClassVar[tuple[str, ...]] = (
        "AP views are mostly of bedridden patients, in whom findings are more frequent: the view alone tells much",
        "many pictures with pneumothorax show the drain that treats it, and many with effusion or edema show lines",
        "labels are mined from reports: words that are absent, negated or about an earlier picture become wrong labels",
        "pictures of the RSNA pneumonia release are pictures of this one: train on one and test on the other with care",
    )
    pool_from: ClassVar[int] = 300
    synthesize_size: ClassVar[int] = 800

    def sources(self, raw: Path, options: Nih14Options) -> list[Path]:
        """The table and the lists of the official division; also checks that the folder is this release's."""
        if raw.is_dir() and not any((raw / name).is_file() for name in TABLES):
            require_folder(raw, self.meta, TABLES[:1])
        require_folder(raw, self.meta, ())
        if not _folders(raw):
            require_folder(raw, self.meta, ("images",))
        return [_table(raw), *(raw / name for name in PARTS.values() if (raw / name).is_file())]

    def bulk(self, raw: Path, options: Nih14Options) -> list[Path]:
        """The folders of pictures."""
        return _folders(raw)

    def release(self, raw: Path, table: pd.DataFrame) -> str:
        """By the number of rows, and which of the two tables it is."""
        rows = int(table.attrs.get("rows_read", 0))
        whole = "" if rows == 112_120 else f", {rows} images instead of 112,120 (a part of it?)"
        return f"NIH ChestX-ray14, {_table(raw).name}{whole}"

    def table(self, raw: Path, options: Nih14Options, drops: Drops) -> pd.DataFrame:
        """One row per image, in the order of the table."""
        import pandas as pd

        read = read_table(_table(raw), (IMAGE, LABELS, PATIENT, VIEW))
        drops.read = len(read)
        parts, places = _parts(raw), _places(raw)
        sex = next((name for name in SEX if name in read), None)
        kept: list[dict[str, Any]] = []
        seen: set[str] = set()
        old = 0
        for position, cells in enumerate(read.to_dict("records"), start=1):
            row = {str(name): str(value).strip() for name, value in cells.items()}
            try:
                found = _row(row, places)
                if found["sample_id"] in seen:
                    raise Dropped("the image occurs a second time")
            except Dropped as dropped:
                drops.add(dropped.reason, f"row {position} ({row[IMAGE][:40]})")
                continue
            seen.add(found["sample_id"])
            age, blanked = _age(row.get(AGE, ""))
            old += blanked
            kept.append(
                found
                | {
                    "sex": {"M": "male", "F": "female"}.get(row[sex].upper() if sex else "", ""),
                    "age": age,
                    "official_split": parts.get(row[IMAGE], ""),
                }
            )
        if old:
            drops.note(f"{old} ages above {_OLDEST} years are left blank")
        columns = ["sample_id", "group_id", "site", "source", "sex", "age", "official_split", *FINDINGS]
        table: pd.DataFrame = pd.DataFrame(kept, columns=columns)
        table.attrs["rows_read"] = len(read)
        pairs = [(row["group_id"], row["official_split"]) for row in kept if row["official_split"]]
        if len(pairs) < len(kept):
            drops.note(f"{len(kept) - len(pairs)} images are in none of the lists {' and '.join(PARTS.values())}")
        if pairs:
            table.attrs["official_split"] = official_overlap(
                pairs, dataset=self.meta.name, seed=options.split_seed, unit="patient"
            )
        return table

    def arrays(self, options: Nih14Options) -> dict[str, ArraySpec]:
        """Grey values 0 to 255, bright is dense."""
        side = options.image_size
        return {"image": ArraySpec((1, side, side), "uint8", 1 / 255, "grey")}

    def decode(self, raw: Path, source: str, options: Nih14Options) -> Decoded:
        """Read one picture; the few with colours or transparency become grey."""
        return Decoded({"image": grey_array(confined(raw, source), options.image_size)})

    def synthesize(self, out: Path, *, size: int, seed: int) -> None:
        """See ``synthetic.py``."""
        from .synthetic import write

        write(out, size=size, seed=seed)


def _table(raw: Path) -> Path:
    """The newer table where both are there: it corrects ages."""
    return next(raw / name for name in TABLES if (raw / name).is_file())


def _folders(raw: Path) -> list[Path]:
    """``images`` and ``images_001`` and so on."""
    return [entry for entry in sorted(raw.iterdir()) if _FOLDER.fullmatch(entry.name) and entry.is_dir()]


def _places(raw: Path) -> dict[str, str]:
    """File name -> where the picture lies below ``raw``; in the first folder that has it."""
    found: dict[str, str] = {}
    for folder in _folders(raw):
        for place in (folder, folder / "images"):
            if place.is_dir():
                for path in place.glob("*.png"):
                    found.setdefault(path.name, path.relative_to(raw).as_posix())
    return found


def _parts(raw: Path) -> dict[str, str]:
    """File name -> official part, from the lists that are there."""
    found: dict[str, str] = {}
    for part, name in PARTS.items():
        path = raw / name
        if not path.is_file():
            continue
        if path.stat().st_size > _LONGEST_LIST:
            raise InputError(f"{path} is larger than {_LONGEST_LIST // 1_000_000} MB, so it is no list of pictures")
        try:
            lines = path.read_text(encoding="utf-8").split()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path} cannot be read: {error}") from error
        twice = next((line for line in lines if found.setdefault(line, part) != part), None)
        if twice is not None:
            raise InputError(f"{path}: {twice[:60]!r} is in the list of the other part, too")
    return found


def _row(row: Mapping[str, str], places: Mapping[str, str]) -> dict[str, Any]:
    """A row of the table with its labels read; Dropped where it cannot be used."""
    image, patient = row[IMAGE], row[PATIENT]
    confined(Path(), image)
    if "/" in image:
        raise Dropped("the file name names a folder, too")
    if not patient:
        raise Dropped("the patient is not told")
    named = [name.strip() for name in row[LABELS].split("|")]
    if not row[LABELS] or set(named) - {*FINDINGS, NO_FINDING}:
        raise Dropped("a finding is none of the fourteen" if row[LABELS] else "the findings are not told")
    if NO_FINDING in named and len(named) > 1:
        raise Dropped("a finding beside 'No Finding'")
    findings = {name: int(name in named) for name in FINDINGS}
    return findings | {
        "sample_id": image.removesuffix(".png"),
        "group_id": patient,
        "site": row[VIEW].upper(),
        "source": places.get(image, f"images/{image}"),
    }


def _age(text: str) -> tuple[float | None, bool]:
    """Years, and whether they were too many to be meant; None where there are none, or not in a known form."""
    match = _AGE.fullmatch(text.upper())
    if match is None:
        return None, False
    years = int(match[1]) / _PER_YEAR[match[2]]
    return (None, True) if years > _OLDEST else (years, False)
