"""A body that looks different from every side, written as NIfTI and as DICOM, in any order of axes."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

SIZE = (10, 14, 12)  # D, H, W

# the cosines of rows and columns of slices as scanners take them, in right to left, front to back, feet to head
PLANES = {
    "axial": ((1, 0, 0), (0, 1, 0)),
    "coronal": ((1, 0, 0), (0, 0, -1)),
    "sagittal": ((0, 1, 0), (0, 0, -1)),
    "axial, head first": ((-1, 0, 0), (0, 1, 0)),
}


def body() -> np.ndarray:
    """(D, H, W) as the readers give it, int16: a ramp from foot to head, a nose in front, a liver on the right."""
    d, h, w = np.indices(SIZE)
    values = 40 * d + 3 * h + 2 * w - 300
    values[6:8, :3, 5:7] += 500  # high, in front, in the middle
    values[2:5, 5:9, :4] += 250  # low, on the patient's right
    return values.astype(np.int16)


def write_nifti(path: Path, axes: str = "RAS") -> Path:
    """The body with its first axis towards ``axes[0]`` and so on, e.g. LPI."""
    ras = np.ascontiguousarray(body().transpose(2, 1, 0)[::-1, ::-1])
    image = nibabel.Nifti1Image(ras, np.diag([2.0, 2.0, 3.0, 1.0]))
    wanted = nibabel.orientations.axcodes2ornt(axes)
    image.as_reoriented(nibabel.orientations.ornt_transform(nibabel.io_orientation(image.affine), wanted)).to_filename(
        path
    )
    return path


def write_series(folder: Path, plane: str = "axial", series: str = "1.2.3") -> list[Path]:
    """The body as a CT series of slices in that plane, under names that tell nothing of their order."""
    folder.mkdir(parents=True, exist_ok=True)
    row, column = (np.array(one, dtype=float) for one in PLANES[plane])
    normal = np.cross(row, column)
    lps = body().transpose(2, 1, 0)  # to the left, to the back, up
    steps = np.array([2.0, 2.0, 3.0])
    axis = [int(np.abs(one).argmax()) for one in (row, column, normal)]
    turned = lps.transpose(axis)[tuple(slice(None, None, int(np.sign(one.sum()))) for one in (row, column, normal))]
    corner = sum(
        (lps.shape[a] - 1) * steps[a] * np.eye(3)[a] for a, one in zip(axis, (row, column, normal), strict=True)
        if one.sum() < 0
    ) + np.array([-30.0, 7.0, 100.0])  # fmt: skip
    paths = []
    for k in range(turned.shape[2]):
        made = slice_of(turned[:, :, k].T, row, column, corner + k * steps[axis[2]] * normal, series)
        made.PixelSpacing = [float(steps[axis[1]]), float(steps[axis[0]])]
        made.SliceThickness = float(steps[axis[2]])
        paths.append(folder / f"{(k * 7) % 23:03d}_{plane[0]}.dcm")
        made.save_as(paths[-1], enforce_file_format=True)
    return paths


def slice_of(values: np.ndarray, row, column, corner, series: str) -> Dataset:
    """One slice, (rows, columns) of Hounsfield units."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    data.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID, data.SOPInstanceUID = data.file_meta.MediaStorageSOPClassUID, "1.2.3.4"
    data.SeriesInstanceUID = series
    data.Rows, data.Columns = values.shape
    data.SamplesPerPixel, data.PhotometricInterpretation, data.PixelRepresentation = 1, "MONOCHROME2", 0
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 16, 15
    data.RescaleSlope, data.RescaleIntercept = 0.5, -1024
    data.ImagePositionPatient = [float(one) for one in corner]
    data.ImageOrientationPatient = [float(one) for one in (*row, *column)]
    data.PixelSpacing, data.SliceThickness = [1.0, 1.0], 1.0
    data.PixelData = ((values.astype(int) + 1024) * 2).astype("<u2").tobytes()
    data["PixelData"].VR = "OW"
    return data
