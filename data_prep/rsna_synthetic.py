"""A synthetic stand-in for the RSNA data in its raw layout: drawn chests, blurred opacities in positives.

It is no anatomy. It carries what the real data carry in kind: a signal of random strength, a view position
that is correlated with the label (a shortcut), exposure that differs between views, several rows per positive
image, a third class that the binary task leaves out, and DICOM files of more than one kind.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.chest_drawing import inside
from data_prep.rsna import BOXES, CLASSES, IMAGES, NAMES
from fedmeki_bench.cohort.dataset import write_marker
from fedmeki_bench.seeds import derive, generator

if TYPE_CHECKING:
    import numpy as np

GENERATOR_VERSION = 1
DIFFICULTY = "opacity strength 0.15 to 0.8, uniform; 70 % of positives AP, 25 % of normals AP"
_OPACITY, _NORMAL, _OTHER = NAMES
_SHARES = {_OPACITY: 0.35, _NORMAL: 0.40, _OTHER: 0.25}
_AP = {_OPACITY: 0.70, _NORMAL: 0.25, _OTHER: 0.5}
Box = tuple[int, int, int, int]


def write(out: Path, *, size: int, seed: int, side: int = 256) -> None:
    """Write ``size`` images of ``side`` x ``side`` pixels below ``out``; the same seed gives the same bytes.

    Raises:
        ValueError: ``size`` is not positive or ``side`` is below 32.
    """
    if size < 1 or side < 32:
        raise ValueError(f"size must be positive and side at least 32, not {size} and {side}")
    (out / IMAGES).mkdir(parents=True, exist_ok=True)
    classes: list[tuple[str, str]] = []
    boxes: list[tuple[Any, ...]] = []
    for number in range(size):
        rng = generator(seed, "synthesize", "rsna", number)
        image = f"{derive(seed, 'rsna-id', number):016x}-synthetic"
        name = str(rng.choice(list(_SHARES), p=list(_SHARES.values())))
        view = "AP" if rng.random() < _AP[name] else "PA"
        picture, found = _draw(name, view, side, rng)
        _write_dicom(out / IMAGES / f"{image}.dcm", picture, view, rng, uid=f"{seed}.{number + 1}")
        classes += [(image, name)] * max(len(found), 1)
        boxes += [(image, *box, 1) for box in found] or [(image, "", "", "", "", 0)]
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


def _draw(name: str, view: str, side: int, rng: np.random.Generator) -> tuple[np.ndarray, list[Box]]:
    """A picture of uint8, (side, side), and the boxes (x, y, width, height) of its opacities in pixels."""
    import numpy as np

    axis = (np.arange(side, dtype=np.float32) + 0.5) / side
    x, y = axis[None, :], axis[:, None]
    shift = rng.normal(0, 0.015, 2)
    wide = rng.normal(1.0, 0.07) * (1.05 if view == "AP" else 1.0)
    centres = [(0.31 + shift[0], 0.48 + shift[1]), (0.69 + shift[0], 0.48 + shift[1])]
    lungs = np.zeros((side, side), dtype=np.float32)
    for cx, cy in centres:
        far = ((x - cx) / (0.15 * wide)) ** 2 + ((y - cy) / 0.30) ** 2
        lungs = np.maximum(lungs, inside(far, 9))
    body = inside(((x - 0.5) / 0.47) ** 4 + ((y - 0.6) / 0.62) ** 4, 6)
    ribs = 0.06 * np.sin(2 * np.pi * (y * rng.uniform(7, 9) + 0.8 * (x - 0.5) ** 2 + rng.random())) * lungs
    picture = 0.08 + 0.62 * body - 0.42 * lungs + ribs
    swollen = 1.35 if name == _OTHER and rng.random() < 0.6 else 1.0
    heart = ((x - 0.55) / (0.13 * swollen * (1.15 if view == "AP" else 1.0))) ** 2 + ((y - 0.62) / 0.17) ** 2
    picture += 0.25 * inside(heart, 6)
    found: list[Box] = []
    if name == _OPACITY:
        strength = rng.uniform(0.15, 0.8)
        for _ in range(int(rng.choice([1, 2, 3], p=[0.5, 0.4, 0.1]))):
            cx, cy = centres[int(rng.integers(2))]
            cx, cy = cx + rng.normal(0, 0.04), cy + rng.normal(0.05, 0.1)
            sx, sy = rng.uniform(0.04, 0.09, 2)
            blob = np.exp(-0.5 * (((x - cx) / sx) ** 2 + ((y - cy) / sy) ** 2))
            picture += 0.45 * strength * blob * (0.3 + 0.7 * lungs)
            left, top = max(0, int((cx - 2 * sx) * side)), max(0, int((cy - 2 * sy) * side))
            found.append((left, top, int(4 * sx * side), int(4 * sy * side)))
    return _exposed(picture, view, rng), found


def _exposed(picture: np.ndarray, view: str, rng: np.random.Generator) -> np.ndarray:
    """Noise, coarse and fine, and the exposure of the view."""
    import numpy as np

    side = picture.shape[0]
    cell = max(side // 16, 1)
    coarse = rng.normal(0, 0.04, (side // cell + 1, side // cell + 1)).astype(np.float32)
    picture = picture + coarse.repeat(cell, 0).repeat(cell, 1)[:side, :side]
    fine = 0.05 if view == "AP" else 0.03
    picture = picture + fine * rng.standard_normal((side, side), dtype=np.float32)
    gain = rng.normal(0.9 if view == "AP" else 1.0, 0.05)
    offset = rng.normal(0.06 if view == "AP" else 0.0, 0.02)
    grey: np.ndarray = np.rint((255 * (gain * picture + offset)).clip(0, 255)).astype(np.uint8)
    return grey


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
