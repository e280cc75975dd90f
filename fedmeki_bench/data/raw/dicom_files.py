"""DICOM files within bounded memory: what a header or a deflated file promises is checked before it is unpacked."""

from __future__ import annotations

import contextlib
import logging
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from fedmeki_bench.data.contract import Dropped
from fedmeki_bench.data.raw.images import damage_dropped

if TYPE_CHECKING:
    import numpy as np
    from pydicom import Dataset

MOST_PIXELS = 64_000_000
"""Values of all frames together; a large mammogram has 25 million."""
MOST_BYTES = 256_000_000
"""Of a deflated file once unpacked."""
_DEFLATED = "1.2.840.10008.1.2.1.99"
_TOO_LARGE = "the picture is implausibly large"
_DAMAGED = "the DICOM file is truncated or damaged"
_PREFIX = 132  # preamble and the letters DICM


@contextlib.contextmanager
def opened_dicom(path: Path, *, pixels: bool = True) -> Iterator[Dataset]:
    """One DICOM file, of a bearable size; whatever pydicom raises on it in the block is damage.

    Args:
        path: the file.
        pixels: also read the pixels, and check how many there are; without, they are left on disk.

    Raises:
        Dropped: no DICOM, damaged, or implausibly large.
    """
    from pydicom import dcmread
    from pydicom.errors import BytesLengthException, InvalidDicomError

    with _quiet_reader(), damage_dropped("the DICOM file"):
        try:
            _check_deflated(path)
            header = dcmread(path, stop_before_pixels=not pixels)
            if pixels and header.get("PixelData"):
                _check_size(header)
            yield header
        except InvalidDicomError:
            raise Dropped("the file is not DICOM") from None
        except (BytesLengthException, NotImplementedError, RuntimeError):
            raise Dropped(_DAMAGED) from None


def first_frame(header: Dataset) -> bytes:
    """The first frame of compressed pixels, as it is stored.

    Raises:
        Dropped: there is none.
    """
    from pydicom.encaps import generate_frames

    frames = generate_frames(header.PixelData, number_of_frames=int(header.get("NumberOfFrames", 1) or 1))
    for frame in frames:
        return bytes(frame)
    raise Dropped(_DAMAGED)


def decoded_frame(header: Dataset) -> np.ndarray:
    """The stored values of the first frame, decoded by pydicom.

    Raises:
        Dropped: no installed decoder reads the compression.
    """
    from pydicom.pixels import get_decoder, pixel_array

    syntax = header.file_meta.TransferSyntaxUID
    try:
        available = get_decoder(syntax).is_available
    except NotImplementedError:
        available = False
    if not available:
        raise Dropped(f"no installed decoder reads the compression {syntax.name}")
    return pixel_array(header, index=0)


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


def _check_size(header: Dataset) -> None:
    """Refuse a size before the pixels are decoded: the header's, and the one that a compressed frame states."""
    frames = int(header.get("NumberOfFrames", 1) or 1)
    rows, columns, values = (int(header.get(name, 0) or 0) for name in ("Rows", "Columns", "SamplesPerPixel"))
    if rows * columns * max(values, 1) * max(frames, 1) > MOST_PIXELS:
        raise Dropped(_TOO_LARGE)
    if not header.file_meta.TransferSyntaxUID.is_encapsulated:
        return
    stated = _stated_size(first_frame(header))
    if stated is not None and stated[0] * stated[1] > MOST_PIXELS:
        raise Dropped(_TOO_LARGE)
    if stated is not None and stated != (rows, columns):
        raise Dropped(_DAMAGED)


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
