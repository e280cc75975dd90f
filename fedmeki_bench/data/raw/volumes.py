"""Volumes at model resolution: NIfTI files to values, the one way of resizing, and windows to grey levels.

Every reader gives (D, H, W): D are axial slices from the bottom (feet) to the top (head), H goes from front to back,
W from the patient's right to the left, as a radiologist looks at axial slices. Whatever order a file stores them in,
axes are exchanged and turned to the closest of these; nothing is rotated by less. A file is read slice by slice, and
each voxel counts where it lies, so memory follows from the size asked for and from a single slice.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedmeki_bench.data.contract import Dropped
from fedmeki_bench.data.raw.images import damage_dropped

if TYPE_CHECKING:
    import numpy as np

Size = tuple[int, int, int]
"""(D, H, W)."""

MOST_IN_SLICE = 1 << 24
"""Voxels; a slice of 4096 x 4096."""
MOST_VOXELS = 1 << 30
"""Of a volume; 1024 slices of 1024 x 1024."""
_MOST_ALONG = 1 << 15  # voxels in a row
_MOST_BEFORE = 1 << 24  # bytes between header and voxels; extensions are small
_MOST_AFTER = 1 << 30  # bytes unpacked behind the volume to see whether the file is whole
_TOO_LARGE = "the volume is implausibly large"
_DAMAGED = "the NIfTI file is truncated or damaged"
_HEADERS = {348: "Nifti1Header", 540: "Nifti2Header"}


def read_nifti(path: Path, size: Size, *, frame: int | None = None) -> np.ndarray:
    """A NIfTI file (``.nii``, ``.nii.gz``) as float32 (D, H, W), each value the mean of the space it stands for.

    Args:
        path: the file.
        size: (D, H, W) of the result. Slices thicker than that are repeated; the proportions of the body are not kept.
        frame: which volume to take, from 0, of a file that holds several.

    Raises:
        Dropped: missing, damaged, implausibly large, of colours; it holds several volumes and ``frame`` chooses none;
            or its orientation or values are no numbers.
    """
    import nibabel
    import numpy as np
    from nibabel.arrayproxy import ArrayProxy
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError

    _check_target(size)
    if not path.is_file():
        raise Dropped("the volume's file is missing")
    packed = path.name.lower().endswith(".gz")
    with damage_dropped("the NIfTI file"), np.errstate(all="ignore"):
        try:
            with gzip.open(path) if packed else path.open("rb") as stream:
                header = _header(stream, nibabel)
                shape, at = _shape(header, frame)
                voxels = ArrayProxy(stream, header, mmap=False)
                planes = (_plane(voxels, (slice(None), slice(None), k, *at), shape) for k in range(shape[2]))
                found = resampled(planes, shape, header.get_best_affine(), size)
                if packed:
                    _read_on(stream)
                return found
        except (HeaderDataError, ImageFileError):
            raise Dropped(_DAMAGED) from None


def window(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Values to grey levels, uint8: ``low`` and below to 0, ``high`` and above to 255, evenly between.

    For CT in Hounsfield units, e.g. -1000 to 400 for lungs and -160 to 240 for soft tissue.
    """
    import numpy as np

    if not low < high:
        raise ValueError(f"a window begins below its end, not at {low} and {high}")
    grey: np.ndarray = np.rint(((values - low) * (255 / (high - low))).clip(0, 255)).astype(np.uint8)
    return grey


def resampled(planes: Iterable[np.ndarray], shape: Size, affine: np.ndarray, size: Size) -> np.ndarray:
    """Planes of a volume, one after the other, to float32 (D, H, W), each value the mean of the space it stands for.

    Args:
        planes: ``shape[2]`` arrays of ``shape[:2]``.
        shape: voxels along the three axes as they are stored.
        affine: (4, 4) from voxels to millimetres to the right, to the front and up (RAS+).
        size: (D, H, W).

    Raises:
        Dropped: the affine gives no orientation, or a value is not finite.
    """
    import numpy as np
    from nibabel.orientations import apply_orientation, io_orientation

    if not np.isfinite(affine).all() or np.isnan(axes := io_orientation(affine)).any():
        raise Dropped("the header's orientation is none")
    target = [size[::-1][int(axis)] for axis in axes[:, 0]]  # size along right, front, up: W, H, D
    first, second, third = (_overlaps(n, m) for n, m in zip(shape, target, strict=True))
    total, by_plane = np.zeros((target[2], target[0], target[1])), third.tocsc()
    for k, plane in enumerate(planes):
        small = (second @ (first @ plane.astype(np.float64)).T).T
        own = slice(by_plane.indptr[k], by_plane.indptr[k + 1])
        for place, share in zip(by_plane.indices[own], by_plane.data[own], strict=True):
            total[place] += share * small
    found = apply_orientation(total.transpose(1, 2, 0), axes)[::-1, ::-1].transpose(2, 1, 0)
    with np.errstate(over="ignore"):
        given = np.ascontiguousarray(found, dtype=np.float32)
    if not np.isfinite(given).all():
        raise Dropped("the volume holds values that are not finite")
    return given


def check_voxels(shape: Size) -> None:
    """Refuse what a header promises before anything of that size is read.

    Raises:
        Dropped: no voxel, or implausibly many.
    """
    if min(shape) < 1:
        raise Dropped("the volume holds no voxel")
    row, plane, whole = max(shape), shape[0] * shape[1], shape[0] * shape[1] * shape[2]
    if row > _MOST_ALONG or plane > MOST_IN_SLICE or whole > MOST_VOXELS:
        raise Dropped(_TOO_LARGE)


def _check_target(size: Size) -> None:
    if len(size) != 3 or min(size) < 1:
        raise ValueError(f"a size is (D, H, W), each 1 or more, not {size}")


def _overlaps(n: int, m: int) -> Any:
    """(m, n), sparse: which share of each of ``m`` equal lengths each of ``n`` equal lengths fills."""
    import numpy as np
    from scipy.sparse import coo_array

    edges = np.unique(np.concatenate([np.arange(n + 1) * m, np.arange(m + 1) * n]))  # in units of 1 / (m * n)
    begin, length = edges[:-1], np.diff(edges)
    return coo_array((length / n, (begin // n, begin // m)), shape=(m, n)).tocsr()


def _header(stream: Any, nibabel: Any) -> Any:
    """The header alone: what a file puts between it and the voxels may be of any size, and is not needed."""
    start = stream.read(max(_HEADERS))
    lengths = {"<": int.from_bytes(start[:4], "little"), ">": int.from_bytes(start[:4], "big")}
    order = next((order for order, length in lengths.items() if length in _HEADERS), None)
    if order is None:
        raise Dropped("the file is no NIfTI file")
    if len(start) < (length := lengths[order]):
        raise Dropped(_DAMAGED)
    header = getattr(nibabel, _HEADERS[length])(start[:length], endianness=order, check=False)
    if not bytes(header["magic"]).startswith((b"n+1", b"n+2")):
        raise Dropped("the file is no NIfTI file with its voxels inside")
    if not 1 <= int(header["dim"][0]) <= 7:
        raise Dropped(_DAMAGED)
    if not 0 <= float(header["vox_offset"]) <= _MOST_BEFORE:
        raise Dropped(_TOO_LARGE)
    return header


def _shape(header: Any, frame: int | None) -> tuple[Size, tuple[int, ...]]:
    """Voxels along the first three axes, and where along the others."""
    shape = tuple(int(n) for n in header.get_data_shape())
    dtype = header.get_data_dtype()
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise Dropped("the voxels are no plain numbers, such as colours")
    if not shape or min(shape) < 1:
        raise Dropped("the volume holds no voxel")
    three: Size = (shape[0], *(*shape[1:], 1, 1)[:2])  # type: ignore[assignment]
    check_voxels(three)
    further = shape[3:]
    several = [axis for axis, n in enumerate(further) if n > 1]
    if not several:
        if frame not in (None, 0):
            raise Dropped(f"the file holds 1 volume, not one of number {frame}")
        return three, (0,) * len(further)
    if len(several) > 1 or frame is None:
        held = " x ".join(str(further[axis]) for axis in several)
        raise Dropped(f"the file holds {held} volumes where one is expected")
    if not 0 <= frame < further[several[0]]:
        raise Dropped(f"the file holds {further[several[0]]} volumes, not one of number {frame}")
    return three, tuple(frame if axis == several[0] else 0 for axis in range(len(further)))


def _plane(voxels: Any, at: tuple[Any, ...], shape: Size) -> np.ndarray:
    import numpy as np

    return np.asarray(voxels[at[: voxels.ndim]]).reshape(shape[:2])


def _read_on(stream: Any) -> None:
    """Unpack what is left: only at its end a packed file shows that it is whole."""
    left = _MOST_AFTER
    while left > 0 and (piece := stream.read(1 << 20)):
        left -= len(piece)
