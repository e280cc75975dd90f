"""COVID-19 Radiography Database (COVQU): PNG chest X-rays in one folder per class."""

from __future__ import annotations

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
    grey_picture,
    natural,
    pixel_digest,
    require_folder,
    resized,
)

from .layout import CLASSES

if TYPE_CHECKING:
    import pandas as pd

_FOLDERS = {"COVID": ("covid", "covid-19"), "Normal": ("normal",)}  # as spelled in the wild, in lower case
_SUFFIXES = (".png", ".jpg", ".jpeg")
_COUNTS = {"COVID": 3616, "Normal": 10_192}


class CovquOptions(PreparerOptions):
    """Options of the COVQU preparer."""

    image_size: int = Field(224, ge=16, le=1024, description="side of the stored square image, in pixels")


class Covqu(DatasetPreparer[CovquOptions]):
    """One sample per image file of the folders COVID and Normal, in natural order; masks are never read.

    Tasks get the column ``class``. No patients are known; images with the same pixels share a group, which
    decoding tells (a file that can't be read keeps a group of its own).
    """

    meta: ClassVar[DatasetMeta] = DatasetMeta(
        name="covqu",
        version=1,
        title="COVID-19 Radiography Database",
        modalities=("image",),
        grouping="image (pixel-identical images joined)",
        licence="terms of the COVID-19 Radiography Database and its sources: academic use",
        access="free with a Kaggle account",
        citation="Chowdhury MEH, et al. Can AI help in screening viral and COVID-19 pneumonia? IEEE Access "
        "8:132665 (2020); Rahman T, et al. Computers in Biology and Medicine 132:104319 (2021)",
        url="https://www.kaggle.com/datasets/tawsifurrahman/covid19-radiography-database",
        real_layout="a folder with 'COVID/images/COVID-<n>.png' and 'Normal/images/Normal-<n>.png' "
        "(the level 'images' may be absent)",
    )
    extra_columns: ClassVar[tuple[str, ...]] = ()
    shortcuts: ClassVar[tuple[str, ...]] = (
        "the source gives the class away: Normal comes from one US hospital, COVID mostly from PadChest and others",
        "8,851 of the Normal images are RSNA's Normal images: with both datasets in one federation, one's test "
        "images are the other's training images",
        "no patient is known: images of one patient may lie in several splits",
    )
    pool_from: ClassVar[int] = 1000

    def sources(self, raw: Path, options: CovquOptions) -> list[Path]:
        """There is no table; checks that the folder is COVQU's."""
        require_folder(raw, self.meta, ())
        for name in CLASSES:
            _folder(raw, name)
        return []

    def bulk(self, raw: Path, options: CovquOptions) -> list[Path]:
        """The images of both classes."""
        return [_folder(raw, name) for name in CLASSES]

    def release(self, raw: Path, table: pd.DataFrame) -> str:
        """By the number of images per class."""
        found = {name: int((table["class"] == name).sum()) for name in CLASSES}
        told = " and ".join(f"{n} {name}" for name, n in found.items())
        return "COVQU" if found == _COUNTS else f"COVQU, {told} instead of 3616 and 10192 (another release?)"

    def table(self, raw: Path, options: CovquOptions, drops: Drops) -> pd.DataFrame:
        """One row per image file: COVID first, each folder in natural order."""
        import pandas as pd

        kept: list[dict[str, Any]] = []
        seen: set[str] = set()
        for name in CLASSES:
            folder = _folder(raw, name)
            for path in _pictures(folder):
                drops.read += 1
                sample = f"{name}/{path.stem}"
                try:
                    if any("\ud800" <= sign <= "\udfff" for sign in path.name):
                        raise Dropped("the file name is no text")
                    if sample in seen:
                        raise Dropped("a second file has the same name but for its ending")
                    confined(folder, path.name)
                except Dropped as dropped:
                    drops.add(dropped.reason, ascii(sample))
                    continue
                seen.add(sample)
                source = path.relative_to(raw).as_posix()
                kept.append({"sample_id": sample, "group_id": sample, "site": name, "source": source, "class": name})
        return pd.DataFrame(kept, columns=["sample_id", "group_id", "site", "source", "class"])

    def arrays(self, options: CovquOptions) -> dict[str, ArraySpec]:
        """Grey values 0 to 255, bright is dense."""
        side = options.image_size
        return {"image": ArraySpec((1, side, side), "uint8", 1 / 255, "grey")}

    def decode(self, raw: Path, source: str, options: CovquOptions) -> Decoded:
        """Read one picture; its group is its pixels, at the file's own size."""
        picture = grey_picture(confined(raw, source))
        array = resized(picture, options.image_size)[None].copy()
        return Decoded({"image": array}, {"group_id": f"pixels-{pixel_digest(picture)}"})

    def synthesize(self, out: Path, *, size: int, seed: int) -> None:
        """See ``synthetic.py``."""
        from .synthetic import write

        write(out, size=size, seed=seed)


def _folder(raw: Path, name: str) -> Path:
    """The folder with the images of a class, whatever the spelling and with or without the level ``images``."""
    for entry in sorted(raw.iterdir()):
        if entry.is_dir() and entry.name.lower() in _FOLDERS[name]:
            images = entry / "images"
            folder = images if images.is_dir() else entry
            if next(iter(_pictures(folder)), None) is None:
                raise InputError(f"{folder} holds no picture; dataset 'covqu' expects {Covqu.meta.real_layout}")
            return folder
    raise InputError(f"{raw} lacks the folder '{name}'; dataset 'covqu' expects {Covqu.meta.real_layout}")


def _pictures(folder: Path) -> list[Path]:
    found = (p for p in folder.iterdir() if p.suffix.lower() in _SUFFIXES and not p.name.startswith("."))
    return sorted((p for p in found if p.is_file()), key=lambda path: (natural(path.name), path.name))
