"""Files of MedMNIST v2 as it is released, read a sample at a time within bounds; the stand-in writes the same."""

from __future__ import annotations

import contextlib
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from fedmeki_bench.api import InputError

if TYPE_CHECKING:
    import numpy as np

PARTS = {"train": "train", "val": "valid", "test": "test"}
"""Part as arrays are named by -> official part as cards name it."""

PIXELS = 28
"""Along a side, in the files that carry no size in their names."""

_MOST = 1_000_000  # samples of one part; the largest set has 165,466
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError, OSError, KeyError)


@dataclass(frozen=True, slots=True)
class SetFacts:
    """What is known of a set before its file is read.

    Attributes:
        channels: 1 (grey) or 3 (colour).
        columns: of a label; more than one where a picture can have several findings.
        values: how many values a column has: 2, or the number of classes.
        samples: pictures or volumes of the whole set.
        axes: of a sample: 2 (a picture) or 3 (a volume).
    """

    channels: int
    columns: int
    values: int
    samples: int
    axes: int = 2

    @property
    def noun(self) -> str:
        """What samples are, in sentences."""
        return "pictures" if self.axes == 2 else "volumes"

    def shape(self, pixels: int) -> tuple[int, ...]:
        """Of a sample as it lies in the file; colours come last."""
        return (pixels,) * self.axes + (() if self.channels == 1 else (self.channels,))


def file_name(name: str, pixels: int) -> str:
    """``pathmnist.npz``, and ``pathmnist_64.npz`` for larger pictures."""
    return f"{name}.npz" if pixels == PIXELS else f"{name}_{pixels}.npz"


def read_labels(path: Path, part: str, facts: SetFacts) -> np.ndarray:
    """(n, columns) labels of a part; raises :class:`InputError`."""
    import numpy as np

    with _array(path, f"{part}_labels") as (shape, dtype, stream):
        if len(shape) != 2 or shape[1] != facts.columns or dtype.kind not in "iu" or dtype.itemsize > 8:
            raise InputError(
                f"{path}: '{part}_labels' is {dtype} of shape {shape}, not whole numbers (n, {facts.columns})"
            )
        data = stream.read(shape[0] * shape[1] * dtype.itemsize)
        if len(data) < shape[0] * shape[1] * dtype.itemsize:
            raise InputError(f"{path}: '{part}_labels' is truncated")
        return np.frombuffer(data, dtype).reshape(shape).astype(np.int64)


def read_samples(path: Path, part: str, pixels: int, facts: SetFacts) -> Iterator[np.ndarray]:
    """The samples of a part in their order: (pixels, pixels), with colours (pixels, pixels, 3), or (pixels,) * 3.

    Raises:
        InputError: the file is missing, damaged or of another shape, perhaps after some samples.
    """
    import numpy as np

    wanted = facts.shape(pixels)
    with _array(path, f"{part}_images") as (shape, dtype, stream):
        if shape[1:] != wanted or dtype != np.uint8:
            raise InputError(
                f"{path}: '{part}_images' is {dtype} of shape {shape}, not uint8 (n, {', '.join(map(str, wanted))})"
            )
        size = int(np.prod(wanted))
        for number in range(shape[0]):
            data = stream.read(size)
            if len(data) < size:
                raise InputError(f"{path}: '{part}_images' ends after {number} of {shape[0]} {facts.noun}")
            yield np.frombuffer(data, np.uint8).reshape(wanted)


@contextlib.contextmanager
def _array(path: Path, name: str) -> Iterator[tuple[tuple[int, ...], Any, IO[bytes]]]:
    """Shape, type and bytes of an array in a .npz file, read as they come: nothing is unpickled or held as a whole."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as stream:
            yield (*_header(stream), stream)
    except _DAMAGED as error:
        if isinstance(error, KeyError):
            raise InputError(f"{path} lacks the array '{name}'") from None
        reason = "".join(c for c in " ".join(str(error).split()) if c.isprintable())[:120]
        raise InputError(f"{path}: '{name}' can't be read, the file is no .npz or is damaged: {reason}") from error


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], Any]:
    from numpy.lib import format as npy

    version = npy.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"version {version} of the array format")
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    try:
        shape, by_columns, dtype = read(stream)
    except Exception as error:  # numpy reads it as Python's literals: damage shows wherever a parser stumbles
        raise ValueError(f"its header: {error}") from error
    if by_columns or dtype.hasobject or not shape or not 0 < shape[0] <= _MOST:
        raise ValueError(f"an array of {dtype}, shape {shape}")
    return shape, dtype
