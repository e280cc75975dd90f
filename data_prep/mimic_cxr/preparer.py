"""MIMIC-CXR-JPG with reports and laboratory results of MIMIC-IV: chest studies of several images, text and labs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
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
    PreparerOptions,
    confined,
    grey_array,
    number,
    rows_of,
    series_statistics,
)

from ..mimic3.release import Release, reading
from .labs import Labs, read_labs
from .layout import (
    COLUMNS,
    FILES,
    FINDINGS,
    FRONTAL,
    HOSPITAL,
    HOURS,
    ITEMS,
    LABELS,
    LABS,
    LATERAL,
    METADATA,
    study_folder,
)
from .reports import indication

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

_EXPECTED = (
    f"MIMIC-CXR-JPG's '{METADATA}.csv.gz' and '{LABELS}.csv.gz' with its folder '{FILES}' (and, for what was asked, "
    f"the reports of MIMIC-CXR in it), and MIMIC-IV's '{HOSPITAL}/{LABS}.csv.gz'"
)
_VALUES = {1.0: "positive", 0.0: "negative", -1.0: "uncertain", None: "blank"}


class MimicCxrOptions(PreparerOptions):
    """Options of the MIMIC-CXR preparer; the last changes no number and no card."""

    image_size: int = Field(224, ge=16, le=1024, description="side of the stored square image, in pixels")
    memory_gb: float = Field(4.0, gt=0.2, exclude=True, description="memory for the query engine")


class MimicCxr(DatasetPreparer[MimicCxrOptions]):
    """One sample per study: up to one frontal and one lateral image, labs of the 48 hours before, what was asked.

    Tasks get one column per finding, each ``positive``, ``negative``, ``uncertain`` or ``blank``, and ``indication``:
    why the study was asked for, from its report, empty if not known.
    """

    meta: ClassVar[DatasetMeta] = DatasetMeta(
        name="mimic_cxr",
        version=1,
        title="MIMIC-CXR chest studies with laboratory results",
        modalities=("image", "labs", "text"),
        grouping="patient",
        licence="PhysioNet Credentialed Health Data License 1.5.0",
        access="credentialed: PhysioNet account, CITI training and data use agreements, then download",
        citation="Johnson AEW, et al. MIMIC-CXR-JPG, a large publicly available database of labeled chest radiographs. "
        "arXiv:1901.07042 (2019); Johnson AEW, et al. MIMIC-IV, a freely accessible electronic health record dataset. "
        "Scientific Data 10:1 (2023)",
        url="https://physionet.org/content/mimic-cxr-jpg/",
        real_layout=f"a folder with {_EXPECTED}",
    )
    extra_columns: ClassVar[tuple[str, ...]] = ("images",)
    shortcuts: ClassVar[tuple[str, ...]] = (
        "AP views are mostly of bedridden patients, in whom findings are more frequent: the view alone tells much",
        "laboratory results exist for inpatients and emergencies: that there are any tells who is ill",
        "labels come from the reports by software (CheXpert), not from readers of the images",
    )
    pool_from: ClassVar[int] = 1000
    synthesize_size: ClassVar[int] = 500

    def __init__(self) -> None:
        self._labs: Labs | None = None
        self._place: dict[str, int] = {}  # source -> number of its study

    def __getstate__(self) -> dict[str, Any]:
        return {"_labs": None, "_place": {}}  # decoding processes read images alone

    def sources(self, raw: Path, options: MimicCxrOptions) -> list[Path]:
        """The tables; also checks their columns."""
        return [path for part in _tables(raw) for path in part.paths]

    def bulk(self, raw: Path, options: MimicCxrOptions) -> list[Path]:
        """The images and reports."""
        return [raw / FILES]

    def release(self, raw: Path, table: pd.DataFrame) -> str:
        """By the number of studies."""
        rows = int(table.attrs.get("rows_read", 0))
        return "MIMIC-CXR-JPG 2.0.0" + ("" if rows == 227_827 else f", {rows} studies instead of 227827")

    def table(self, raw: Path, options: MimicCxrOptions, drops: Drops) -> pd.DataFrame:
        """One row per study that has labels, in the order of the table of labels."""
        import pandas as pd

        images, hospital = _tables(raw)
        known = _studies(images)
        kept: list[dict[str, Any]] = []
        labels = _rows(images, LABELS)
        drops.read = len(labels)
        for position, row in enumerate(labels, start=1):
            try:
                kept.append(_sample(raw, row, known))
            except Dropped as dropped:
                drops.add(dropped.reason, f"row {position} (study {str(row['study_id'])[:20]})")
        undated = sum(row["at"] < 0 for row in kept)
        if undated:
            drops.note(f"{undated} studies have no readable time, and so no laboratory results")
        self._labs = read_labs(
            hospital[LABS], [row["subject"] for row in kept], [row["at"] for row in kept], options.memory_gb
        )
        self._place = {row["source"]: k for k, row in enumerate(kept)}
        columns = ["sample_id", "group_id", "site", "source", "images", "indication", *FINDINGS]
        table: pd.DataFrame = pd.DataFrame(kept, columns=columns)
        table.attrs["rows_read"] = len(labels)
        return table

    def arrays(self, options: MimicCxrOptions) -> dict[str, ArraySpec]:
        """Grey images 0 to 255, and 48 hours x 12 results in MIMIC's units, NaN where nothing was measured."""
        side = options.image_size
        return {
            "image": ArraySpec((1, side, side), "uint8", 1 / 255, "grey", many=2, optional=True),
            "labs": ArraySpec((HOURS, len(ITEMS)), "float32", optional=True),
        }

    def decode(self, raw: Path, source: str, options: MimicCxrOptions) -> Decoded:
        """Read the images of one study; its laboratory results are known after :meth:`table`."""
        folder, _, names = source.partition(" ")
        place = confined(raw / FILES, folder)
        images = [grey_array(confined(place, f"{name}.jpg"), options.image_size) for name in names.split()]
        labs = None if self._labs is None or source not in self._place else self._labs.of(self._place[source])
        return Decoded({"image": images, "labs": [] if labs is None else [labs]})

    def decode_all(
        self, raw: Path, sources: Sequence[str], options: MimicCxrOptions, workers: int
    ) -> Iterator[tuple[str, Decoded | Dropped]]:
        """Images by several processes, laboratory results by this one."""
        if self._labs is None:
            self.table(raw, options, Drops())
        assert self._labs is not None
        for source, outcome in super().decode_all(raw, sources, options, workers):
            if isinstance(outcome, Decoded):
                labs = self._labs.of(self._place[source]) if source in self._place else None
                outcome = Decoded({"image": outcome.of("image"), "labs": [] if labs is None else [labs]})
            yield source, outcome

    def statistics(self, arrays: Mapping[str, np.ndarray], samples: pd.DataFrame) -> dict[str, Any]:
        """What gaps are filled with, and how results are standardised, from private training studies alone."""
        return {"labs": series_statistics(arrays["labs"], rows_of(samples, "labs")).as_json()}

    def synthesize(self, out: Path, *, size: int, seed: int) -> None:
        """See ``synthetic.py``."""
        from .synthetic import write

        write(out, size=size, seed=seed)


def _tables(raw: Path) -> tuple[Release, Release]:
    """The tables of the images' release, and those of the hospital's."""
    images = Release(raw, {name: COLUMNS[name] for name in (METADATA, LABELS)}, "mimic_cxr", _EXPECTED)
    return images, Release(raw / HOSPITAL, {LABS: COLUMNS[LABS]}, "mimic_cxr", _EXPECTED)


def _rows(release: Release, name: str) -> list[dict[str, str | None]]:
    import duckdb

    table = release[name]
    with reading(table), duckdb.connect() as db:
        found = db.execute(f"SELECT * FROM {table.scan()}")
        columns = [column[0] for column in found.description]
        return [dict(zip(columns, row, strict=True)) for row in found.fetchall()]


def _studies(release: Release) -> dict[tuple[str | None, str | None], dict[str, Any]]:
    """(patient, study) -> its time, and its first frontal and first lateral image with their views."""
    found: dict[tuple[str | None, str | None], dict[str, Any]] = {}
    for row in sorted(_rows(release, METADATA), key=lambda row: str(row["dicom_id"])):
        study = found.setdefault((row["subject_id"], row["study_id"]), {"at": -1, "views": {}})
        study["at"] = max(study["at"], _seconds(row["studydate"], row["studytime"]))
        view = (row["viewposition"] or "").strip().upper()
        side = "frontal" if view in FRONTAL else "lateral" if view in LATERAL else ""
        if side:
            study["views"].setdefault(side, (row["dicom_id"], view))
    return found


def _seconds(date: str | None, time: str | None) -> int:
    """``21800506`` and ``213014.531`` as seconds since 1970; -1 where they are no time."""
    try:
        clock = f"{int(float(time or '')):06d}"
        return int(datetime.strptime(f"{date} {clock}", "%Y%m%d %H%M%S").replace(tzinfo=timezone.utc).timestamp())
    except (ValueError, OverflowError):
        return -1


def _sample(raw: Path, row: dict[str, str | None], known: Mapping[Any, dict[str, Any]]) -> dict[str, Any]:
    """A row of the table of labels with its images, what was asked and its findings; Dropped if it can't be used."""
    study = known.get((row["subject_id"], row["study_id"]))
    if study is None:
        raise Dropped("the table of images has no image of the study")
    try:
        subject, name = (int(str(row[column])) for column in ("subject_id", "study_id"))
    except ValueError:
        raise Dropped("subject_id or study_id is not a whole number") from None
    folder = study_folder(subject, name)
    confined(raw / FILES, folder)
    views = [study["views"][side] for side in ("frontal", "lateral") if side in study["views"]]
    if any(not dicom or not str(dicom).replace("-", "").isalnum() for dicom, _ in views):
        raise Dropped("a dicom_id is no name of a file")
    return {
        "sample_id": f"s{name}", "group_id": f"p{subject}", "site": views[0][1] if views else "",
        "source": " ".join((folder, *(dicom for dicom, _ in views))), "subject": subject, "at": study["at"],
        "images": len(views), "indication": indication(raw / FILES / f"{folder}.txt"),
    } | {finding: _finding(row.get(finding.lower())) for finding in FINDINGS}  # fmt: skip


def _finding(text: str | None) -> str:
    try:
        value = number(text or "")
    except ValueError:
        raise Dropped("a finding is not a number") from None
    if value not in _VALUES:
        raise Dropped("a finding is none of 1, 0, -1 and blank")
    return _VALUES[value]
