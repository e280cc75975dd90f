"""NIfTI files and DICOM series: the same body, the same array; what is no whole volume is dropped in one sentence."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest

from fedmeki_bench.api import Dropped, read_dicom_series, read_nifti, window

from .phantom import PLANES, SIZE, body, write_nifti, write_series

NIBABEL = Path(nibabel.__file__).parent / "tests" / "data"
CT = Path(pydicom.__file__).parent / "data" / "test_files" / "CT_small.dcm"
ORDERS = ("RAS", "LPS", "LAS", "PIR", "ASL", "IPR")


def grey(values: np.ndarray) -> np.ndarray:
    return window(values, -300, 700).astype(int)


def apart(one: np.ndarray, other: np.ndarray) -> int:
    return int(np.abs(grey(one) - grey(other)).max())


@pytest.mark.parametrize("axes", ORDERS)
def test_a_nifti_file_in_any_order_is_the_body(tmp_path, axes):
    for name in ("a.nii", "a.nii.gz"):
        found = read_nifti(write_nifti(tmp_path / name, axes), SIZE)
        assert found.dtype == np.float32
        assert found.flags["C_CONTIGUOUS"]
        np.testing.assert_array_equal(found, body())


@pytest.mark.parametrize("size", [SIZE, (5, 7, 6), (4, 5, 5), (20, 14, 6)])
@pytest.mark.parametrize("plane", PLANES)
def test_nifti_and_dicom_of_one_body_give_the_same_array(tmp_path, plane, size):
    paths = write_series(tmp_path / "series", plane)
    (tmp_path / "series" / "LICENSE.txt").write_text("not a slice")
    one = read_nifti(write_nifti(tmp_path / "a.nii.gz"), size)
    two = read_dicom_series(tmp_path / "series", size)
    assert one.shape == two.shape == size
    assert apart(one, two) <= 1
    assert apart(two, read_dicom_series(paths[::-1], size)) == 0
    for axis in range(3):  # control: turned on any axis it is another one
        assert apart(one, np.flip(two, axis)) > 20


def test_means_are_of_the_space_a_voxel_stands_for(tmp_path):
    half = read_nifti(write_nifti(tmp_path / "a.nii"), (5, 7, 6))
    blocks = body().reshape(5, 2, 7, 2, 6, 2).mean(axis=(1, 3, 5))
    np.testing.assert_allclose(half, blocks, rtol=1e-6)
    uneven = read_nifti(tmp_path / "a.nii", (3, 4, 5))
    assert uneven.mean(dtype=float) == pytest.approx(body().mean(), rel=1e-6)  # every voxel counts alike
    by_hand = np.array([[1, 1, 1, 1 / 3, 0, 0, 0, 0, 0, 0]]) @ body().astype(float).mean(axis=(1, 2)) / (10 / 3)
    assert uneven[0].mean(dtype=float) == pytest.approx(by_hand[0], rel=1e-6)
    np.testing.assert_array_equal(read_nifti(tmp_path / "a.nii", (20, 14, 12))[::2], body())


def test_files_of_others_are_read():
    image = nibabel.as_closest_canonical(nibabel.load(NIBABEL / "anatomical.nii"))
    found = read_nifti(NIBABEL / "anatomical.nii", image.shape[::-1])
    np.testing.assert_array_equal(found, image.get_fdata().transpose(2, 1, 0)[:, ::-1, ::-1].astype(np.float32))
    image = nibabel.as_closest_canonical(nibabel.load(NIBABEL / "example4d.nii.gz"))
    for frame in (0, 1):
        found = read_nifti(NIBABEL / "example4d.nii.gz", image.shape[2::-1], frame=frame)
        wanted = image.get_fdata()[..., frame].transpose(2, 1, 0)[:, ::-1, ::-1]
        np.testing.assert_array_equal(found, wanted.astype(np.float32))
    assert read_nifti(NIBABEL / "example_nifti2.nii.gz", (4, 8, 8), frame=0).shape == (4, 8, 8)
    header = pydicom.dcmread(CT)
    stored = header.pixel_array.astype(float) * header.RescaleSlope + header.RescaleIntercept
    np.testing.assert_array_equal(read_dicom_series([CT], (1, 128, 128))[0], stored)


def test_a_picture_is_a_volume_of_depth_one(tmp_path):
    picture = body()[:1]
    nibabel.Nifti1Image(picture[0].T[::-1, ::-1], np.eye(4)).to_filename(tmp_path / "a.nii")
    np.testing.assert_array_equal(read_nifti(tmp_path / "a.nii", (1, *SIZE[1:])), picture)
    np.testing.assert_array_equal(read_nifti(tmp_path / "a.nii", (2, *SIZE[1:])), np.repeat(picture, 2, axis=0))


def test_windows():
    values = np.array([-2000.0, -1000, -300, 400, 3000], dtype=np.float32)
    assert window(values, -1000, 400).tolist() == [0, 0, 128, 255, 255]
    assert window(values, -1000, 400).dtype == np.uint8
    with pytest.raises(ValueError, match="below its end"):
        window(values, 5, 5)
    with pytest.raises(ValueError, match=r"\(D, H, W\)"):
        read_nifti(Path("a.nii"), (0, 1, 1))


def nifti(tmp_path: Path, values: np.ndarray, **header) -> Path:
    """Any array as a NIfTI file, and fields of its header overwritten."""
    image = nibabel.Nifti1Image(values, np.eye(4))
    path = tmp_path / "x.nii"
    image.to_filename(path)
    raw = bytearray(path.read_bytes())
    fields = np.frombuffer(raw, dtype=nibabel.Nifti1Header.template_dtype, count=1)
    for name, value in header.items():
        fields[name] = value
    path.write_bytes(raw)
    return path


GREY = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
COLOURS = np.zeros((3, 4, 5), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
SEVERAL = np.zeros((3, 4, 5, 6), dtype=np.int16)
FAR = np.where(GREY == 7, np.nan, GREY).astype(np.float32)


@pytest.mark.parametrize(
    ("values", "header", "says"),
    [
        (SEVERAL, {}, "the file holds 6 volumes where one is expected"),
        (SEVERAL[..., None].repeat(2, axis=4), {}, "the file holds 6 x 2 volumes where one is expected"),
        (COLOURS, {}, "no plain numbers"),
        (GREY.astype(np.complex64), {}, "no plain numbers"),
        (FAR, {}, "values that are not finite"),
        (GREY, {"dim": [3, 3, 0, 5, 1, 1, 1, 1]}, "holds no voxel"),
        (GREY, {"dim": [3, 3, -4, 5, 1, 1, 1, 1]}, "holds no voxel"),
        (GREY, {"dim": [3, 3, 4, 500, 1, 1, 1, 1]}, "truncated or damaged"),
        (GREY, {"dim": [3, 32767, 32767, 32767, 1, 1, 1, 1]}, "implausibly large"),
        (GREY, {"dim": [3, 2048, 2048, 2048, 1, 1, 1, 1]}, "implausibly large"),
        (GREY, {"dim": [19, 3, 4, 5, 1, 1, 1, 1]}, "truncated or damaged"),
        (GREY, {"datatype": 4096}, "truncated or damaged"),
        (GREY, {"vox_offset": 1e30}, "implausibly large"),
        (GREY, {"vox_offset": np.nan}, "implausibly large"),
        (GREY, {"magic": b"ni1"}, "no NIfTI file with its voxels inside"),
        (GREY, {"sizeof_hdr": 7}, "the file is no NIfTI file"),
        (GREY, {"srow_x": [0, 0, 0, 0]}, "orientation is none"),
        (GREY, {"srow_x": [np.nan, 0, 0, 0]}, "orientation is none"),
        (GREY, {"scl_slope": 1, "scl_inter": np.inf}, "truncated or damaged"),
    ],
)
def test_what_is_no_volume_is_dropped(tmp_path, values, header, says):
    with pytest.raises(Dropped, match=says):
        read_nifti(nifti(tmp_path, values, **header), (2, 2, 2))


def test_a_frame_is_chosen_or_refused(tmp_path):
    path = nifti(tmp_path, SEVERAL + np.arange(6, dtype=np.int16))
    for frame in range(6):
        assert (read_nifti(path, (2, 2, 2), frame=frame) == frame).all()
    for frame in (6, -1):
        with pytest.raises(Dropped, match=f"holds 6 volumes, not one of number {frame}"):
            read_nifti(path, (2, 2, 2), frame=frame)
    with pytest.raises(Dropped, match="holds 1 volume, not one of number 2"):
        read_nifti(nifti(tmp_path, GREY), (2, 2, 2), frame=2)


def test_cut_and_missing_files_are_dropped(tmp_path):
    with pytest.raises(Dropped, match="file is missing"):
        read_nifti(tmp_path / "a.nii", (2, 2, 2))
    for name in ("a.nii", "a.nii.gz"):
        whole = write_nifti(tmp_path / name).read_bytes()
        for length in (0, 3, 300, len(whole) // 2, len(whole) - 3):
            (tmp_path / name).write_bytes(whole[:length])
            with pytest.raises(Dropped, match=r"truncated or damaged|no NIfTI file"):
                read_nifti(tmp_path / name, (2, 2, 2))
    whole = bytearray(write_nifti(tmp_path / "b.nii.gz").read_bytes())
    whole[-6] ^= 16  # of the checksum at the end, which tells whether the voxels are those that were packed
    (tmp_path / "b.nii.gz").write_bytes(whole)
    with pytest.raises(Dropped, match="truncated or damaged"):
        read_nifti(tmp_path / "b.nii.gz", (2, 2, 2))


def change(path: Path, **fields) -> None:
    data = pydicom.dcmread(path)
    for name, value in fields.items():
        if value is None:
            delattr(data, name)
        else:
            setattr(data, name, value)
    data.save_as(path, enforce_file_format=True)


def moved(paths: list[Path], which: int, by: float) -> None:
    x, y, z = pydicom.dcmread(paths[which]).ImagePositionPatient
    change(paths[which], ImagePositionPatient=[x, y, z + by])


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda p: p[4].unlink(), "a slice is missing: the series has a gap"),
        (lambda p: moved(p, 4, -3.0), "two slices of the series lie at the same place"),
        (lambda p: moved(p, 4, 0.8), "not evenly spaced"),
        (lambda p: change(p[4], PixelSpacing=[2.0, 2.5]), "differ in pixel spacing"),
        (lambda p: change(p[4], Rows=7, PixelData=pydicom.dcmread(p[4]).PixelData[:168]), "differ in size"),
        (lambda p: change(p[4], ImageOrientationPatient=[1, 0, 0, 0, 0, -1]), "differ in orientation"),
        (lambda p: [change(one, ImageOrientationPatient=[1, 0, 0, 1, 0, 0]) for one in p], "orientation .* is none"),
        (lambda p: change(p[4], ImagePositionPatient=None), "does not tell where it lies"),
        (lambda p: change(p[4], ImagePositionPatient=[1.0, 2.0]), "does not tell where it lies"),
        (lambda p: change(p[4], PixelSpacing=[0.0, 2.0]), "does not tell where it lies"),
        (lambda p: change(p[4], SeriesInstanceUID="1.2.9"), "slices of 2 series where one is expected"),
        (lambda p: change(p[4], NumberOfFrames=3), "several slices"),
        (lambda p: change(p[4], PhotometricInterpretation="MONOCHROME1"), "not grey with high values bright"),
        (lambda p: change(p[4], PixelData=None), "holds no complete picture"),
        (lambda p: cut(p[4]), "truncated or damaged|no complete picture"),
        (lambda p: p[4].write_bytes(b"no DICOM at all"), "the file is not DICOM"),
        (lambda p: [change(one, Rows=60_000, Columns=60_000) for one in p], "implausibly large"),
        (lambda p: [one.unlink() for one in p], "there is no DICOM slice"),
    ],
)
def test_what_is_no_whole_series_is_dropped(tmp_path, damage, says):
    paths = write_series(tmp_path / "series")
    damage(paths)
    with pytest.raises(Dropped, match=says):
        read_dicom_series(tmp_path / "series", (4, 4, 4))


def test_a_series_is_chosen_among_several(tmp_path):
    write_series(tmp_path / "series", "axial", "1.2.3")
    write_series(tmp_path / "series", "coronal", "1.2.4")
    with pytest.raises(Dropped, match="slices of 2 series"):
        read_dicom_series(tmp_path / "series", SIZE)
    for series in ("1.2.3", "1.2.4"):
        assert apart(read_dicom_series(tmp_path / "series", SIZE, series=series), body()) <= 1
    with pytest.raises(Dropped, match="no slice of the series asked for"):
        read_dicom_series(tmp_path / "series", SIZE, series="1.2.5")
    with pytest.raises(Dropped, match="folder of the series is missing"):
        read_dicom_series(tmp_path / "nowhere", SIZE)
