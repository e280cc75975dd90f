"""One DICOM file to an 8-bit grey picture as a viewer shows it, within bounded memory.

Modality, VOI and presentation transforms are pydicom's, in the order of PS3.4, N.2. What a header or a deflated file
promises is checked before anything of that size is unpacked.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedmeki_bench.api import Dropped, decoded_frame, first_frame, opened_dicom, resized

if TYPE_CHECKING:
    import numpy as np
    from pydicom import Dataset

_JPEG = "1.2.840.10008.1.2.4.50"
_GREY = ("MONOCHROME1", "MONOCHROME2")


def dicom_grey(path: Path, side: int) -> tuple[np.ndarray, Dataset]:
    """The first frame as uint8 (side, side), area means, bright is dense; and the header.

    Raises:
        Dropped: no DICOM, damaged, implausibly large, or compressed so that no installed decoder reads it.
    """
    with opened_dicom(path) as header:
        grey = resized(_picture(header), side)
        # turned after resizing: then a negative gives the exact negative
        return (255 - grey if _inverted(header) else grey), header


def _picture(header: Dataset) -> Any:
    from PIL import Image

    if not header.get("PixelData"):
        raise Dropped("the DICOM file holds no complete picture")
    syntax = header.file_meta.TransferSyntaxUID
    grey = str(header.get("PhotometricInterpretation", "")).strip() in _GREY
    if syntax == _JPEG and int(header.get("BitsStored", 8) or 8) == 8:
        picture = Image.open(BytesIO(first_frame(header)), formats=["JPEG"])
        if not grey or picture.mode != "L":
            return picture.convert("L")
        if not _transformed(header):
            return picture
        return Image.fromarray(_shown(_array(picture), header))
    return Image.fromarray(_decoded(header))


def _array(picture: Any) -> np.ndarray:
    import numpy as np

    return np.asarray(picture)


def _decoded(header: Dataset) -> np.ndarray:
    """The first frame, decoded by pydicom, as it is shown: uint8 (rows, columns)."""
    import numpy as np
    from PIL import Image
    from pydicom.pixels import apply_color_lut

    pixels = decoded_frame(header)
    kind = str(header.get("PhotometricInterpretation", "")).strip()
    if kind == "PALETTE COLOR":
        pixels = apply_color_lut(pixels, header)
        highest = 255 if pixels.dtype == np.uint8 else 65535
    else:
        highest = 2 ** int(header.get("BitsStored", 8) or 8) - 1
    if pixels.ndim == 3:
        eight = np.rint(pixels[..., :3].astype(np.float64) * (255 / highest)).clip(0, 255).astype(np.uint8)
        return np.asarray(Image.fromarray(eight).convert("L"))
    return _shown(pixels, header)


def _transformed(header: Dataset) -> bool:
    """Whether stored values become grey levels by more than their bit depth."""
    names = ("ModalityLUTSequence", "VOILUTSequence", "PresentationLUTSequence")
    slope, intercept = header.get("RescaleSlope"), header.get("RescaleIntercept")
    rescaled = (slope not in (None, "", 1)) or (intercept not in (None, "", 0))
    return rescaled or _windowed(header) or any(header.get(name) for name in names)


def _windowed(header: Dataset) -> bool:
    width, centre = header.get("WindowWidth"), header.get("WindowCenter")
    return width not in (None, "") and centre not in (None, "")


def _inverted(header: Dataset) -> bool:
    """MONOCHROME1 and a presentation shape INVERSE say the same thing, so that both are one inversion.

    A presentation table has been followed already, whatever it does.
    """
    if header.get("PresentationLUTSequence"):
        return False
    shape = str(header.get("PresentationLUTShape", "") or "").strip()
    return shape == "INVERSE" or str(header.get("PhotometricInterpretation", "")).strip() == "MONOCHROME1"


def _shown(pixels: np.ndarray, header: Dataset) -> np.ndarray:
    """Stored values through modality, VOI and presentation tables to uint8, not yet inverted."""
    import numpy as np
    from pydicom.pixels import apply_modality_lut, apply_presentation_lut, apply_voi_lut

    bits = int(header.get("BitsStored", 8) or 8)
    least = -(2 ** (bits - 1)) if header.get("PixelRepresentation", 0) else 0
    ends = np.array([least, least + 2**bits - 1])
    values, low, high = pixels, float(ends[0]), float(ends[1])
    if header.get("ModalityLUTSequence"):
        values = apply_modality_lut(pixels, header)
        low, high = 0.0, 2.0 ** _lut_bits(header.ModalityLUTSequence) - 1
    elif header.get("RescaleSlope") not in (None, "") and header.get("RescaleIntercept") not in (None, ""):
        values = apply_modality_lut(pixels, header)
        low, high = sorted(apply_modality_lut(ends, header).tolist())
    if header.get("VOILUTSequence"):
        values = apply_voi_lut(np.rint(values).astype(np.int64) if values.dtype.kind == "f" else values, header)
        low, high = 0.0, 2.0 ** _lut_bits(header.VOILUTSequence) - 1
    elif _windowed(header) and _first(header, "WindowWidth") >= 1:
        values = apply_voi_lut(values, header)
        # what a window makes of values far outside it: its darkest and its brightest
        low, high = apply_voi_lut(np.array([-1e9, 1e9]), header).tolist()
    if header.get("PresentationLUTSequence"):
        values = apply_presentation_lut(np.rint(values).astype(np.int64), header)
        low, high = 0.0, 2.0 ** _lut_bits(header.PresentationLUTSequence) - 1
    scaled = (values.astype(np.float64) - low) * (255 / max(high - low, 1e-6))
    shown: np.ndarray = np.rint(scaled.clip(0, 255)).astype(np.uint8)
    return shown


def _lut_bits(sequence: Any) -> int:
    return int(sequence[0].LUTDescriptor[2])


def _first(header: Dataset, name: str) -> float:
    """A number of the header; the first where there are several windows."""
    value = header.get(name)
    return float(value if isinstance(value, (int, float, str)) else value[0])
