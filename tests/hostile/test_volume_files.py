"""Files of volumes that promise, or unpack to, more than memory holds."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from pathlib import Path

import nibabel
import numpy as np
import pytest
from volumes.phantom import write_nifti, write_series

from fedmeki_bench.data.contract import Dropped
from fedmeki_bench.data.raw.dicom_series import read_dicom_series
from fedmeki_bench.data.raw.volumes import read_nifti

from .conftest import within

SIZE = (4, 4, 4)
MEGABYTES = 1_000_000


def header(dim: list[int], **fields) -> bytes:
    """352 bytes that promise a volume of bytes."""
    made = nibabel.Nifti1Header()
    made.set_data_dtype(np.uint8)
    made["dim"], made["magic"], made["vox_offset"] = dim, b"n+1", 352
    made["sform_code"], made["srow_x"], made["srow_y"], made["srow_z"] = 1, [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]
    for name, value in fields.items():
        made[name] = value
    return made.binaryblock + bytes(4)


def peak(path: Path) -> tuple[int, object]:
    """The most memory that reading took, and what came of it."""
    tracemalloc.start()
    try:
        with within(60):
            found: object = read_nifti(path, SIZE)
    except Dropped as dropped:
        found = dropped.reason
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most, found


def packed(path: Path, start: bytes, megabytes: int) -> Path:
    """``start`` and that many million zeros."""
    with gzip.open(path, "wb", 9) as stream:
        stream.write(start)
        for _ in range(megabytes):
            stream.write(bytes(MEGABYTES))
    return path


def test_zeros_without_end_are_read_in_a_slices_memory(tmp_path):
    path = packed(tmp_path / "a.nii.gz", header([3, 1000, 1000, 100, 1, 1, 1, 1]), 100)
    assert path.stat().st_size < 200_000
    most, found = peak(path)
    assert isinstance(found, np.ndarray)
    assert not found.any()
    assert most < 40 * MEGABYTES


@pytest.mark.parametrize(
    ("start", "says"),
    [
        (header([3, 1000, 1000, 1000, 1, 1, 1, 1]), "truncated or damaged"),
        (header([3, 32767, 32767, 32767, 1, 1, 1, 1]), "implausibly large"),
        (header([3, 32767, 32767, 1, 1, 1, 1, 1]), "implausibly large"),
        (header([7, 9, 9, 9, 9999, 9999, 9999, 9999]), "volumes where one is expected"),
        (header([3, 9, 9, 9, 1, 1, 1, 1], vox_offset=2e9), "implausibly large"),
        # an extension of 2 GB between the header and the voxels: it is not read
        (header([3, 9, 9, 9, 1, 1, 1, 1])[:348] + b"\1\0\0\0" + (2**31 - 16).to_bytes(4, "little") + bytes(4), None),
    ],
)
def test_what_a_header_promises_takes_no_memory(tmp_path, start, says):
    most, found = peak(packed(tmp_path / "a.nii.gz", start, 20))
    assert most < 40 * MEGABYTES
    assert (says in found) if says else isinstance(found, np.ndarray)


def test_what_follows_a_volume_takes_no_memory(tmp_path):
    most, found = peak(packed(tmp_path / "a.nii.gz", header([3, 9, 9, 9, 1, 1, 1, 1]), 150))
    assert isinstance(found, np.ndarray)
    assert most < 10 * MEGABYTES


def test_a_pipe_and_a_folder_are_no_volume(tmp_path):
    import os

    os.mkfifo(tmp_path / "a.nii")
    (tmp_path / "b.nii").mkdir()
    for name in ("a.nii", "b.nii"):
        with within(5), pytest.raises(Dropped, match="file is missing"):
            read_nifti(tmp_path / name, SIZE)
    os.mkfifo(tmp_path / "series.dcm")
    write_series(tmp_path)
    with within(20):
        assert read_dicom_series(tmp_path, SIZE).shape == SIZE  # what is no regular file is passed by


def test_a_slice_that_unpacks_to_more_is_dropped_in_bounded_memory(tmp_path):
    from pydicom import dcmread
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    path = write_series(tmp_path)[3]
    data = dcmread(path)
    del data.PixelData
    data.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    data.save_as(path, enforce_file_format=True)
    content = path.read_bytes()
    start = 144 + int.from_bytes(content[140:144], "little")
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    size = 300 * MEGABYTES
    elements = zlib.decompress(content[start:], -15) + b"\xe0\x7f\x10\x00OW\x00\x00" + size.to_bytes(4, "little")
    parts = [packer.compress(elements), *(packer.compress(bytes(MEGABYTES)) for _ in range(300)), packer.flush()]
    path.write_bytes(content[:start] + b"".join(parts))
    tracemalloc.start()
    with pytest.raises(Dropped, match="implausibly large"):
        read_dicom_series(tmp_path, SIZE)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 40 * MEGABYTES


def test_a_good_file_is_read_by_the_same_test(tmp_path):
    assert isinstance(peak(write_nifti(tmp_path / "a.nii.gz"))[1], np.ndarray)
