"""A series of DICOM slices to one volume: which slices belong to it, in which order, and whether they are all there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedmeki_bench.data.contract import Dropped
from fedmeki_bench.data.raw.dicom_files import decoded_frame, opened_dicom
from fedmeki_bench.data.raw.volumes import Size, check_voxels, resampled

if TYPE_CHECKING:
    import numpy as np
    from pydicom import Dataset

MOST_FILES = 20_000
"""In a folder; a long CT has some thousand slices."""
_SUFFIXES = (".dcm", ".dicom", ".ima")  # files that claim to be DICOM; others that are not are passed by
_SAME = 1e-3  # of direction cosines, and of pixel spacings relative to each other
_SAME_PLACE = 1e-2  # millimetres
_EVEN, _GAP = 0.1, 0.5  # how far a distance may be from the usual one; from which on a slice is missing


@dataclass(frozen=True, slots=True)
class _Slice:
    path: Path
    series: str
    size: tuple[int, int]  # rows, columns
    spacing: tuple[float, float]  # millimetres between rows, between columns
    along: tuple[float, ...]  # cosines along a row, then down a column; left, back, up (LPS+)
    corner: tuple[float, ...]  # of the first voxel, in millimetres
    thickness: float


def read_dicom_series(source: Path | Sequence[Path], size: Size, *, series: str | None = None) -> np.ndarray:
    """The slices of one series as float32 (D, H, W): rescaled (a CT to Hounsfield units), oriented as a NIfTI file is.

    Args:
        source: a folder, of whose files those that are not DICOM are passed by; or the files.
        size: (D, H, W) of the result, each value the mean of the space it stands for.
        series: SeriesInstanceUID of the series to take, where there are slices of several.

    Raises:
        Dropped: no slices, or of several series and ``series`` chooses none; slices differ in size, orientation or
            pixel spacing, two lie at one place, one is missing, or one can't be read. Whether the first or last slices
            are missing can't be told.
    """
    slices = _chosen([found for path in _files(source) if (found := _slice(path)) is not None], series)
    ordered, affine = _ordered(slices)
    rows, columns = ordered[0].size
    shape = (columns, rows, len(ordered))
    check_voxels(shape)
    return resampled(_planes(ordered), shape, affine, size)


def _files(source: Path | Sequence[Path]) -> list[Path]:
    if not isinstance(source, Path):
        return list(source)
    if not source.is_dir():
        raise Dropped("the folder of the series is missing")
    found = sorted(path for path in source.iterdir() if path.is_file())
    if len(found) > MOST_FILES:
        raise Dropped("the folder of the series holds implausibly many files")
    return found


def _slice(path: Path) -> _Slice | None:
    """What a file says of its slice; None for a file that is none: not DICOM, or without a picture."""
    try:
        with opened_dicom(path, pixels=False) as header:
            return _facts(path, header)
    except Dropped as dropped:
        if dropped.reason == "the file is not DICOM" and path.suffix.lower() not in _SUFFIXES:
            return None
        raise


def _facts(path: Path, header: Dataset) -> _Slice | None:
    if not header.get("Rows") or not header.get("Columns"):
        return None
    if int(header.get("NumberOfFrames", 1) or 1) > 1:
        raise Dropped("a file of the series holds several slices, which is not read")
    if int(header.get("SamplesPerPixel", 1) or 1) != 1 or header.get("PhotometricInterpretation") != "MONOCHROME2":
        raise Dropped("the slices are not grey with high values bright")
    corner, along = _numbers(header, "ImagePositionPatient", 3), _numbers(header, "ImageOrientationPatient", 6)
    across = _numbers(header, "PixelSpacing", 2)
    if corner is None or along is None or across is None or min(across) <= 0:
        raise Dropped("a slice of the series does not tell where it lies")
    thickness = header.get("SpacingBetweenSlices") or header.get("SliceThickness") or 1.0
    return _Slice(
        path, str(header.get("SeriesInstanceUID", "")), (int(header.Rows), int(header.Columns)),
        (across[0], across[1]), along, corner, abs(float(thickness)) or 1.0,
    )  # fmt: skip


def _numbers(header: Dataset, name: str, count: int) -> tuple[float, ...] | None:
    value = header.get(name)
    if value is None or isinstance(value, (str, bytes)) or len(value) != count:
        return None
    return tuple(float(one) for one in value)


def _chosen(slices: Sequence[_Slice], series: str | None) -> list[_Slice]:
    known = sorted({one.series for one in slices})
    if not known:
        raise Dropped("there is no DICOM slice")
    if series is None and len(known) > 1:
        raise Dropped(f"there are slices of {len(known)} series where one is expected")
    found = [one for one in slices if series is None or one.series == series]
    if not found:
        raise Dropped("there is no slice of the series asked for")
    return found


def _ordered(slices: Sequence[_Slice]) -> tuple[list[_Slice], np.ndarray]:
    """The slices along their normal, and the (4, 4) affine from (column, row, slice) to right, front, up."""
    import numpy as np

    first = slices[0]
    if any(one.size != first.size for one in slices):
        raise Dropped("the slices of the series differ in size")
    along = np.array([one.along for one in slices])
    if not np.allclose(along, along[0], atol=_SAME):
        raise Dropped("the slices of the series differ in orientation")
    spacing = np.array([one.spacing for one in slices])
    if not np.allclose(spacing, spacing[0], rtol=_SAME, atol=0):
        raise Dropped("the slices of the series differ in pixel spacing")
    row, column = along[0, :3], along[0, 3:]
    lengths = np.array([row @ row, column @ column, 1 + row @ column])
    if not np.allclose(lengths, 1, atol=1e-2):
        raise Dropped("the orientation of the slices is none")
    normal = np.cross(row, column)
    corners = np.array([one.corner for one in slices])
    heights = corners @ normal
    order = np.argsort(heights, kind="stable")
    step = _step(np.diff(heights[order])) if len(slices) > 1 else first.thickness
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = row * spacing[0, 1], column * spacing[0, 0], normal * step
    affine[:3, 3] = corners[order[0]]
    affine[:2] *= -1  # left and back to right and front
    return [slices[k] for k in order], affine


def _step(steps: np.ndarray) -> float:
    """The distance of neighbouring slices, in millimetres."""
    import numpy as np

    usual = float(np.median(steps))
    if not np.isfinite(steps).all():
        raise Dropped("a slice of the series does not tell where it lies")
    if steps.min() < _SAME_PLACE:
        raise Dropped("two slices of the series lie at the same place")
    if steps.max() > (1 + _GAP) * usual:
        raise Dropped("a slice is missing: the series has a gap")
    if np.abs(steps - usual).max() > _EVEN * usual:
        raise Dropped("the slices of the series are not evenly spaced")
    return usual


def _planes(slices: Sequence[_Slice]) -> Iterator[np.ndarray]:
    """(columns, rows) of each slice, rescaled."""
    from pydicom.pixels import apply_modality_lut

    for one in slices:
        with opened_dicom(one.path) as header:
            if not header.get("PixelData"):
                raise Dropped("a slice of the series holds no complete picture")
            stored: Any = decoded_frame(header)
            if stored.shape != one.size:
                raise Dropped("a slice of the series is truncated or damaged")
            plane = apply_modality_lut(stored, header)
        yield plane.T
