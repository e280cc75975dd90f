"""RSNA Pneumonia Detection (stage 2): frontal chest X-rays in DICOM, with one of three classes each."""

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
    damage_dropped,
    read_table,
    require_folder,
)

from ..dicom_reading import dicom_grey
from .layout import CLASSES, IMAGES, NAMES

if TYPE_CHECKING:
    import pandas as pd
    from pydicom import Dataset


class RsnaOptions(PreparerOptions):
    """Options of the RSNA preparer."""

    image_size: int = Field(224, ge=16, le=1024, description="side of the stored square image, in pixels")
    patient_map: Path | None = Field(
        None, description="CSV with the columns image,patient; images of one patient then stay together"
    )


class Rsna(DatasetPreparer[RsnaOptions]):
    """One sample per image; with ``split=published`` one per row of the class file, as the papers counted.

    Tasks get the columns ``image`` and ``class``. Site is the view position (AP or PA) of the DICOM header.
    Ages above 110 years, which occur in headers, are left blank.
    """

    meta: ClassVar[DatasetMeta] = DatasetMeta(
        name="rsna",
        version=1,
        title="RSNA Pneumonia Detection chest X-rays",
        modalities=("image",),
        grouping="image",
        licence="RSNA Pneumonia Detection Challenge terms: non-commercial and academic use",
        access="free after accepting the competition's rules",
        citation="Shih G, et al. Augmenting the National Institutes of Health Chest Radiograph Dataset "
        "with Expert Annotations of Possible Pneumonia. Radiology: AI 1(1):e180041 (2019)",
        url="https://www.kaggle.com/competitions/rsna-pneumonia-detection-challenge",
        real_layout="a folder with 'stage_2_detailed_class_info.csv' and 'stage_2_train_images/<patientId>.dcm'",
    )
    shortcuts: ClassVar[tuple[str, ...]] = (
        "Lung Opacity is mostly AP (78 % of the release), Normal mostly PA (82 %): the view alone tells much",
    )
    pool_from: ClassVar[int] = 600

    def sources(self, raw: Path, options: RsnaOptions) -> list[Path]:
        """The class file and the patient map; also checks that the folder is RSNA's."""
        require_folder(raw, self.meta, (CLASSES, IMAGES))
        patients = options.patient_map
        if patients is not None and not patients.is_file():
            raise InputError(f"option 'patient_map': there is no file {patients}")
        return [raw / CLASSES] + ([patients] if patients else [])

    def bulk(self, raw: Path, options: RsnaOptions) -> list[Path]:
        """The images."""
        return [raw / IMAGES]

    def release(self, raw: Path, table: pd.DataFrame) -> str:
        """By the number of rows of the class file."""
        rows = int(table.attrs.get("rows_read", 0))
        return "RSNA stage 2" + ("" if rows == 30_227 else f", {rows} rows instead of 30,227 (a part of it?)")

    def grouping(self, options: RsnaOptions) -> str:
        """Patient where a map is given, else image."""
        return "patient (by patient_map)" if options.patient_map else "image"

    def table(self, raw: Path, options: RsnaOptions, drops: Drops) -> pd.DataFrame:
        """One row per image, or per row of the class file with ``split=published``."""
        import pandas as pd

        read = read_table(raw / CLASSES, ("patientId", "class"))
        drops.read = len(read)
        by_row = options.split == "published"
        images: dict[str, list[str]] = {}  # image -> class of each of its rows
        for position, (image, name) in enumerate(
            zip(read["patientId"].str.strip(), read["class"].str.strip(), strict=True), start=1
        ):
            try:
                confined(raw / IMAGES, image)
                if name not in NAMES:
                    raise Dropped("the class is none of the three known")
            except Dropped as dropped:
                drops.add(dropped.reason, f"row {position} ({image[:40]})")
                continue
            images.setdefault(image, []).append(name)
        patients = self._patients(options, images, drops)
        kept: list[dict[str, Any]] = []
        for image, names in images.items():
            samples = len(names) if by_row else 1
            drops.merged += len(names) - samples
            if len(set(names)) > 1:
                for _ in range(samples):
                    drops.add("rows of one image give different classes", image)
                continue
            common = {"group_id": patients.get(image, image), "site": "", "source": image}
            common |= {"image": image, "class": names[0]}
            kept += [common | {"sample_id": f"{image}#{k + 1}" if by_row else image} for k in range(samples)]
        table: pd.DataFrame = pd.DataFrame(kept, columns=["sample_id", "group_id", "site", "source", "image", "class"])
        table.attrs["rows_read"] = len(read)
        return table

    def _patients(self, options: RsnaOptions, images: dict[str, list[str]], drops: Drops) -> dict[str, str]:
        path = options.patient_map
        if path is None:
            drops.note("no patient_map: images of one patient may lie in several splits")
            return {}
        found: dict[str, str] = {}
        read = read_table(path, ("image", "patient"))
        for position, (image, patient) in enumerate(zip(read["image"], read["patient"], strict=True), start=1):
            name = image.strip().removesuffix(".dcm")
            if not patient.strip():
                raise InputError(f"{path}, row {position}: image '{name}' has no patient")
            if found.setdefault(name, patient.strip()) != patient.strip():
                raise InputError(f"{path}, row {position}: image '{name}' has a second patient")
        absent = sum(image not in found for image in images)
        if absent:
            drops.note(f"{absent} images are not in the patient_map: each is a group of its own")
        return found

    def arrays(self, options: RsnaOptions) -> dict[str, ArraySpec]:
        """Grey values 0 to 255, bright is dense."""
        side = options.image_size
        return {"image": ArraySpec((1, side, side), "uint8", 1 / 255, "grey")}

    def decode(self, raw: Path, source: str, options: RsnaOptions) -> Decoded:
        """Read one DICOM file; area-averaged to the stored size."""
        import numpy as np

        path = confined(raw / IMAGES, f"{source}.dcm")
        if not path.is_file():
            raise Dropped("the image file is missing")
        grey, header = dicom_grey(path, options.image_size)
        with damage_dropped("the DICOM file"):
            attributes = _attributes(header)
        return Decoded({"image": np.ascontiguousarray(grey[None])}, attributes)

    def synthesize(self, out: Path, *, size: int, seed: int) -> None:
        """See ``synthetic.py``."""
        from .synthetic import write

        write(out, size=size, seed=seed)


def _attributes(header: Dataset) -> dict[str, str | float | None]:
    age = str(header.get("PatientAge", "") or "").strip().upper()
    years = age.removesuffix("Y")
    return {
        "site": str(header.get("ViewPosition", "") or "").strip().upper(),
        "sex": {"M": "male", "F": "female"}.get(str(header.get("PatientSex", "") or "").strip().upper(), ""),
        "age": float(years) if years.isascii() and years.isdigit() and int(years) <= 110 else None,
    }
