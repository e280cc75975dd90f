"""How a file becomes an array, per modality."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedmeki_bench.api import ArraySpec, Dropped, grey_array, read_dicom_series, read_nifti, window

from ..dicom_reading import dicom_grey

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True)
class Reader:
    """One modality.

    Attributes:
        spec: what is stored, from the options.
        read: a path, and the options, to an array of that shape; raises Dropped.
        expects: what the file is, for sentences.
    """

    spec: Callable[[Any], ArraySpec]
    read: Callable[[Path, Any], np.ndarray]
    expects: str


def _image(path: Path, options: Any) -> np.ndarray:
    if path.suffix.lower() in {".dcm", ".dicom"}:
        return dicom_grey(path, options.image_size)[0][None]
    return grey_array(path, options.image_size)


def _signal(path: Path, options: Any) -> np.ndarray:
    """A WFDB record, named with or without ``.hea``: (channels, samples) in its physical unit."""
    import numpy as np
    import wfdb

    stem = path.with_suffix("") if path.suffix.lower() in {".hea", ".dat"} else path
    if not stem.with_name(stem.name + ".hea").is_file():
        raise Dropped("the header (.hea) is missing")
    try:
        record = wfdb.rdrecord(str(stem))
    except (OSError, ValueError, TypeError, IndexError, KeyError, AttributeError):
        raise Dropped("the record is no WFDB record, or it is damaged") from None
    wanted = round(options.signal_seconds * options.signal_rate)
    if record.p_signal is None or record.n_sig != options.signal_channels or record.fs != options.signal_rate:
        raise Dropped(
            f"the record has {record.n_sig} channels at {record.fs:g} Hz, expected are {options.signal_channels} at "
            f"{options.signal_rate:g} Hz (-o signal_channels, -o signal_rate)"
        )
    if record.sig_len < wanted:
        raise Dropped(f"the record is shorter than {options.signal_seconds:g} s (-o signal_seconds)")
    values = np.ascontiguousarray(record.p_signal[:wanted].T, dtype=np.float32)
    if not np.isfinite(values).all():
        raise Dropped("the record has samples marked as missing")
    return values


def _volume(path: Path, options: Any) -> np.ndarray:
    """A NIfTI file, or a folder with the slices of one DICOM series, as grey levels."""
    import numpy as np

    read = read_dicom_series if path.is_dir() else read_nifti
    values = read(path, options.volume_size)
    low, high = options.window or np.quantile(values, (0.005, 0.995)).tolist()
    return window(values, low, high if low < high else low + 1)[None]


READERS: dict[str, Reader] = {
    "image": Reader(
        lambda o: ArraySpec((1, o.image_size, o.image_size), "uint8", 1 / 255, "grey"),
        _image, "a picture in PNG, JPEG or DICOM",
    ),
    "signal": Reader(
        lambda o: ArraySpec((o.signal_channels, round(o.signal_seconds * o.signal_rate)), "float32"),
        _signal, "a WFDB record",
    ),
    "volume": Reader(
        lambda o: ArraySpec((1, *o.volume_size), "uint8", 1 / 255, "grey"),
        _volume, "a NIfTI file or a folder with a DICOM series",
    ),
}  # fmt: skip
"""Modality, which is also the column's name -> how its files are read."""
