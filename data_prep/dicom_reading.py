"""One DICOM file to an 8-bit grey picture as a viewer shows it, within bounded memory.

Modality, VOI and presentation transforms are pydicom's, in the order of PS3.4, N.2. What a header or a deflated file
promises is checked before anything of that size is unpacked.
"""

from __future__ import annotations

import contextlib
import logging
import struct
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedmeki_bench.api import Dropped, damage_dropped, resized

if TYPE_CHECKING:
    import numpy as np
    from pydicom import Dataset

MOST_PIXELS = 64_000_000
"""Values of all frames together; a large mammogram has 25 million."""
MOST_BYTES = 256_000_000
"""Of a deflated file once unpacked."""
_JPEG = "1.2.840.10008.1.2.4.50"
_DEFLATED = "1.2.840.10008.1.2.1.99"
_TOO_LARGE = "the picture is implausibly large"
_PREFIX = 132  # preamble and the letters DICM
_GREY = ("MONOCHROME1", "MONOCHROME2")


def dicom_grey(path: Path, side: int) -> tuple[np.ndarray, Dataset]:
    """The first frame as uint8 (side, side), area means, bright is dense; and the header.

    Raises:
        Dropped: no DICOM, damaged, implausibly large, or compressed so that no installed decoder reads it.
    """
    from pydicom import dcmread
    from pydicom.errors import BytesLengthException, InvalidDicomError

    with _quiet_reader(), damage_dropped("the DICOM file"):
        try:
            _check_deflated(path)
            header = dcmread(path)
            grey = resized(_picture(header), side)
            # turned after resizing: then a negative gives the exact negative
            return (255 - grey if _inverted(header) else grey), header
        except InvalidDicomError:
            raise Dropped("the file is not DICOM") from None
        except (BytesLengthException, NotImplementedError, RuntimeError):
            raise Dropped("the DICOM file is truncated or damaged") from None


@contextlib.contextmanager
def _quiet_reader() -> Iterator[None]:
    """Keep pydicom from remarking on each odd header value or cut file: we count them."""
    log = logging.getLogger("pydicom")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(level)


def _check_deflated(path: Path) -> None:
    """Unpack a deflated file piece by piece, keeping nothing, until its size is known to be bearable."""
    with path.open("rb") as stream:
        start = stream.read(_PREFIX + 12)
        if start[128:_PREFIX] != b"DICM" or start[_PREFIX : _PREFIX + 4] != b"\x02\x00\x00\x00":
            return  # for the reader to judge
        meta = stream.read(struct.unpack("<I", start[-4:])[0])
        if _DEFLATED.encode() not in meta:
            return
        unpacker, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
        while piece := stream.read(1 << 16):
            while piece:
                size += len(unpacker.decompress(piece, 1 << 20))
                piece = unpacker.unconsumed_tail
                if size > MOST_BYTES:
                    raise Dropped(_TOO_LARGE)


def _picture(header: Dataset) -> Any:
    from PIL import Image

    if not header.get("PixelData"):
        raise Dropped("the DICOM file holds no complete picture")
    _check_size(header)
    syntax = header.file_meta.TransferSyntaxUID
    grey = str(header.get("PhotometricInterpretation", "")).strip() in _GREY
    if syntax == _JPEG and int(header.get("BitsStored", 8) or 8) == 8:
        picture = Image.open(BytesIO(_first_frame(header)), formats=["JPEG"])
        if not grey or picture.mode != "L":
            return picture.convert("L")
        if not _transformed(header):
            return picture
        return Image.fromarray(_shown(_array(picture), header))
    return Image.fromarray(_decoded(header))


def _array(picture: Any) -> np.ndarray:
    import numpy as np

    return np.asarray(picture)


def _check_size(header: Dataset) -> None:
    """Refuse a size before the pixels are decoded: the header's, and the one that a compressed frame states."""
    frames = int(header.get("NumberOfFrames", 1) or 1)
    rows, columns, values = (int(header.get(name, 0) or 0) for name in ("Rows", "Columns", "SamplesPerPixel"))
    if rows * columns * max(values, 1) * max(frames, 1) > MOST_PIXELS:
        raise Dropped(_TOO_LARGE)
    if not header.file_meta.TransferSyntaxUID.is_encapsulated:
        return
    stated = _stated_size(_first_frame(header))
    if stated is not None and stated[0] * stated[1] > MOST_PIXELS:
        raise Dropped(_TOO_LARGE)
    if stated is not None and stated != (rows, columns):
        raise Dropped("the DICOM file is truncated or damaged")


def _first_frame(header: Dataset) -> bytes:
    from pydicom.encaps import generate_frames

    return bytes(next(generate_frames(header.PixelData, number_of_frames=int(header.get("NumberOfFrames", 1) or 1))))


def _stated_size(frame: bytes) -> tuple[int, int] | None:
    """(rows, columns) as a JPEG, JPEG-LS or JPEG 2000 codestream tells them; None for anything else."""
    if frame[:4] == b"\xff\x4f\xff\x51":
        right, down, left, top = struct.unpack(">4I", frame[8:24])
        return down - top, right - left
    at = 2
    if frame[:2] != b"\xff\xd8":
        return None
    while at + 9 <= len(frame) and frame[at] == 0xFF:
        marker, length = frame[at + 1], struct.unpack(">H", frame[at + 2 : at + 4])[0]
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            rows, columns = struct.unpack(">2H", frame[at + 5 : at + 9])
            return rows, columns
        at += 1 if marker == 0xFF else 2 + length
    return None


def _decoded(header: Dataset) -> np.ndarray:
    """The first frame, decoded by pydicom, as it is shown: uint8 (rows, columns)."""
    import numpy as np
    from PIL import Image
    from pydicom.pixels import apply_color_lut, get_decoder, pixel_array

    syntax = header.file_meta.TransferSyntaxUID
    try:
        available = get_decoder(syntax).is_available
    except NotImplementedError:
        available = False
    if not available:
        raise Dropped(f"no installed decoder reads the compression {syntax.name}")
    pixels = pixel_array(header, index=0)
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
