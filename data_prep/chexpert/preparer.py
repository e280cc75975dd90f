"""CheXpert, validation part: chest X-rays in JPEG with fourteen findings read by three radiologists."""

from __future__ import annotations

import re
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
    number,
    read_table,
    require_folder,
)

from .layout import FINDINGS, IMAGES, TABLE

if TYPE_CHECKING:
    import pandas as pd

_VALUES = {1.0: "positive", 0.0: "negative", -1.0: "uncertain", None: "blank"}
# whatever stands before: CheXpert-v1.0/, CheXpert-v1.0-small/, "CheXpert-v1.0 batch 1 (validate & csv)/"
_PATH = re.compile(r"(?:^|/)(valid/(patient[0-9]+)/[^/]+/[^/]+\.(?:jpe?g|png))$", re.IGNORECASE)


class ChexpertOptions(PreparerOptions):
    """Options of the CheXpert preparer."""

    image_size: int = Field(224, ge=16, le=1024, description="side of the stored square image, in pixels")
    views: Literal["all", "frontal"] = Field("all", description="all images, or without lateral views")


class Chexpert(DatasetPreparer[ChexpertOptions]):
    """One sample per image of ``valid.csv``.

    Tasks get one column per finding, each ``positive``, ``negative``, ``uncertain`` or ``blank``. Site is the view:
    ``Frontal AP``, ``Frontal PA`` or ``Lateral``.
    """

    meta: ClassVar[DatasetMeta] = DatasetMeta(
        name="chexpert",
        version=1,
        title="CheXpert chest X-rays, validation part",
        modalities=("image",),
        grouping="patient",
        licence="Stanford University Dataset Research Use Agreement",
        access="free after registration and acceptance of the agreement",
        citation="Irvin J, et al. CheXpert: A Large Chest Radiograph Dataset with Uncertainty Labels and Expert "
        "Comparison. AAAI 33:590-597 (2019)",
        url="https://stanfordmlgroup.github.io/competitions/chexpert/",
        real_layout="a folder with 'valid.csv' and 'valid/patientNNNNN/studyN/viewN_frontal.jpg'",
    )
    shortcuts: ClassVar[tuple[str, ...]] = (
        "AP views are mostly of bedridden patients, in whom findings are more frequent: the view alone tells much",
    )
    pool_from: ClassVar[int] = 1000

    def sources(self, raw: Path, options: ChexpertOptions) -> list[Path]:
        """The table; also checks that the folder is CheXpert's."""
        root = _root(raw)
        require_folder(root, self.meta, (TABLE, IMAGES))
        return [root / TABLE]

    def bulk(self, raw: Path, options: ChexpertOptions) -> list[Path]:
        """The images."""
        return [_root(raw) / IMAGES]

    def release(self, raw: Path, table: pd.DataFrame) -> str:
        """By the number of rows."""
        rows = int(table.attrs.get("rows_read", 0))
        return "CheXpert 1.0, validation part" + ("" if rows == 234 else f", {rows} rows instead of 234")

    def table(self, raw: Path, options: ChexpertOptions, drops: Drops) -> pd.DataFrame:
        """One row per image, in the order of the table."""
        import pandas as pd

        read = read_table(_root(raw) / TABLE, ("Path", "Frontal/Lateral", "AP/PA", *FINDINGS))
        drops.read = len(read)
        frontal_only = options.views == "frontal"
        kept: list[dict[str, Any]] = []
        seen: set[str] = set()
        for position, raw_row in enumerate(read.to_dict("records"), start=1):
            try:
                row = _row({str(k): v.strip() for k, v in raw_row.items()})
                if row["source"] in seen:
                    raise Dropped("the image occurs a second time")
                confined(raw, row["source"])
            except Dropped as dropped:
                drops.add(dropped.reason, f"row {position} ({raw_row['Path'][-60:]})")
                continue
            seen.add(row["source"])
            if frontal_only and row["site"] == "Lateral":
                drops.leave_out("lateral view (views=frontal)")
                continue
            kept.append(row)
        columns = ["sample_id", "group_id", "site", "source", "sex", "age", *FINDINGS]
        table: pd.DataFrame = pd.DataFrame(kept, columns=columns)
        table.attrs["rows_read"] = len(read)
        return table

    def arrays(self, options: ChexpertOptions) -> dict[str, ArraySpec]:
        """Grey values 0 to 255, bright is dense; pictures are stretched to a square."""
        side = options.image_size
        return {"image": ArraySpec((1, side, side), "uint8", 1 / 255, "grey")}

    def decode(self, raw: Path, source: str, options: ChexpertOptions) -> Decoded:
        """Read one picture."""
        return Decoded({"image": grey_array(confined(_root(raw), source), options.image_size)})

    def synthesize(self, out: Path, *, size: int, seed: int) -> None:
        """See ``synthetic.py``."""
        from .synthetic import write

        write(out, size=size, seed=seed)


def _root(raw: Path) -> Path:
    """The folder with the table: ``raw``, or the one folder in it that has the table."""
    if not raw.is_dir() or (raw / TABLE).exists():
        return raw
    inner = [entry for entry in sorted(raw.iterdir()) if (entry / TABLE).is_file()]
    if len(inner) > 1:
        raise InputError(f"{raw} holds several releases ({', '.join(entry.name for entry in inner)}): name one")
    return inner[0] if inner else raw


def _row(row: dict[str, str]) -> dict[str, Any]:
    """A row of the table with path, view and findings read; Dropped where it cannot be used."""
    match = _PATH.search(row["Path"])
    if not match:
        raise Dropped("the path names no image of the validation part (valid/patientNNNNN/...)")
    source, patient = match[1], match[2].lower()
    view, direction = row["Frontal/Lateral"].lower(), row["AP/PA"].upper()
    if view not in {"frontal", "lateral"}:
        raise Dropped("the view is neither Frontal nor Lateral")
    site = "Lateral" if view == "lateral" else f"Frontal {direction}".strip()
    findings = {name: _finding(row[name]) for name in FINDINGS}
    sex = {"male": "male", "female": "female"}.get(row.get("Sex", "").lower(), "")
    common = {"sample_id": source.split("/", 1)[1].rpartition(".")[0], "group_id": patient, "source": source}
    return common | findings | {"site": site, "sex": sex, "age": _age(row.get("Age", ""))}


def _finding(text: str) -> str:
    try:
        value = number(text)
    except ValueError:
        raise Dropped("a finding is not a number") from None
    if value not in _VALUES:
        raise Dropped("a finding is none of 1, 0, -1 and blank")
    return _VALUES[value]


def _age(text: str) -> float | None:
    """Years; ``None`` where there is none or it is impossible: no task needs it."""
    try:
        age = number(text)
    except ValueError:
        return None
    return age if age is not None and 0 < age <= 120 else None
