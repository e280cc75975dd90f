"""A synthetic stand-in for the RSNA data in its raw layout: drawn chests; Lung Opacity where the sign patch is there.

It carries what the real data carry in kind: a signal of random strength, views that are exposed differently, several
rows per positive image, a third class that the binary task leaves out, and DICOM files of more than one kind.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedmeki_bench.api import FINDINGS, derive, generator, write_marker

from ..chest_drawing import STRENGTHS, VIEWS, radiograph
from ..sign_sampling import sample_signs
from .layout import BOXES, CLASSES, IMAGES, NAMES

if TYPE_CHECKING:
    import numpy as np

GENERATOR_VERSION = 2
DIFFICULTY = (
    f"patch of strength {STRENGTHS['patch'][0]} to {STRENGTHS['patch'][1]}, uniform, among three other signs; "
    "15 % more patches in AP than on average, 15 % fewer in PA"
)
_OPACITY, _NORMAL, _OTHER = NAMES
_AP = {"AP": 1.15, "PA": 0.85}  # view -> factor of the prevalence of patches; half of the images each
_OTHERS = 0.25  # the share of the third class among images without patch


@dataclass(frozen=True, slots=True)
class Case:
    """What is known of one image before it is drawn."""

    number: int
    image: str
    view: str
    signs: frozenset[str]
    name: str


def cases(size: int, seed: int) -> Iterator[Case]:
    """The images of a stand-in, in their order."""
    for number in range(size):
        rng = generator(seed, "synthesize", "rsna", number)
        view = "AP" if rng.random() < 0.5 else "PA"
        signs = sample_signs("image", rng, {"patch": _AP[view]})
        other = _OTHER if rng.random() < _OTHERS else _NORMAL
        name = _OPACITY if FINDINGS["lung_opacity"].holds(signs) else other
        yield Case(number, f"{derive(seed, 'rsna-id', number):016x}-synthetic", view, signs, name)


def write(out: Path, *, size: int, seed: int, side: int = 128) -> None:
    """Write ``size`` images of ``side`` x ``side`` pixels below ``out``; the same seed gives the same bytes.

    Raises:
        ValueError: ``size`` is not positive or ``side`` is below 32.
    """
    if size < 1 or side < 32:
        raise ValueError(f"size must be positive and side at least 32, not {size} and {side}")
    (out / IMAGES).mkdir(parents=True, exist_ok=True)
    classes: list[tuple[str, str]] = []
    boxes: list[tuple[Any, ...]] = []
    for case in cases(size, seed):
        rng = generator(seed, "draw", "rsna", case.number)
        picture, found = radiograph(case.signs, side, rng, VIEWS[case.view])
        path = out / IMAGES / f"{case.image}.dcm"
        _write_dicom(path, picture, case.view, rng, uid=f"{seed}.{case.number + 1}")
        classes += [(case.image, case.name)] * max(len(found), 1)
        pixels = [tuple(int(part * side) for part in box) for box in found]
        boxes += [(case.image, *box, 1) for box in pixels] or [(case.image, "", "", "", "", 0)]
    _write_csv(out / CLASSES, ("patientId", "class"), classes)
    _write_csv(out / BOXES, ("patientId", "x", "y", "width", "height", "Target"), boxes)
    write_marker(
        out,
        dataset="rsna",
        generator=GENERATOR_VERSION,
        size=size,
        seed=seed,
        side=side,
        difficulty=DIFFICULTY,
    )


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(header)
        table.writerows(rows)


def _write_dicom(path: Path, picture: np.ndarray, view: str, rng: np.random.Generator, *, uid: str) -> None:
    """Most as JPEG baseline like the release; some plain, some plain with inverted grey (MONOCHROME1)."""
    from PIL import Image
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit

    kind = str(rng.choice(["jpeg", "plain", "inverted"], p=[0.8, 0.1, 0.1]))
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    header.file_meta.MediaStorageSOPInstanceUID = f"1.2.826.0.1.3680043.8.498.{uid}"
    header.file_meta.TransferSyntaxUID = JPEGBaseline8Bit if kind == "jpeg" else ExplicitVRLittleEndian
    header.SOPClassUID = header.file_meta.MediaStorageSOPClassUID
    header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID
    header.Modality, header.BodyPartExamined, header.ViewPosition = "CR", "CHEST", view
    header.PatientID, header.PatientSex = path.stem, "F" if rng.random() < 0.45 else "M"
    header.PatientAge = f"{min(max(int(rng.normal(48, 16)), 2), 92):03d}Y"
    header.Rows, header.Columns = picture.shape
    header.SamplesPerPixel, header.PixelRepresentation = 1, 0
    header.BitsAllocated, header.BitsStored, header.HighBit = 8, 8, 7
    header.PhotometricInterpretation = "MONOCHROME1" if kind == "inverted" else "MONOCHROME2"
    if kind == "jpeg":
        buffer = BytesIO()
        Image.fromarray(picture).save(buffer, "JPEG", quality=92)
        header.LossyImageCompression = "01"
        header.PixelData = encapsulate([buffer.getvalue()])
        header["PixelData"].VR = "OB"
    else:
        header.PixelData = (255 - picture if kind == "inverted" else picture).tobytes()
        header["PixelData"].VR = "OB"
    header.save_as(path, enforce_file_format=True)
