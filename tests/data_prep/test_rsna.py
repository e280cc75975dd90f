from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread

from fedmeki_bench.builtin.data_prep.rsna import Rsna, RsnaOptions
from fedmeki_bench.builtin.data_prep.rsna.synthetic import write
from fedmeki_bench.builtin.tasks.lung_opacity import LungOpacity
from fedmeki_bench.data.contract import Dropped
from fedmeki_bench.data.prepare.prepare import prepare
from fedmeki_bench.errors import InputError
from fedmeki_bench.options import parse_options

SMALL = RsnaOptions(image_size=16)


def run(raw: Path, out: Path, **options):
    return prepare(Rsna(), raw, out, [LungOpacity()], RsnaOptions(image_size=16, **options), workers=1)[0]


def rows(raw: Path) -> list[list[str]]:
    lines = (raw / "stage_2_detailed_class_info.csv").read_text().splitlines()
    return [line.split(",") for line in lines[1:]]


def dicom(path: Path, stored: np.ndarray, *, jpeg: bool = False, **header) -> None:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit

    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    data.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    data.file_meta.TransferSyntaxUID = JPEGBaseline8Bit if jpeg else ExplicitVRLittleEndian
    data.SOPClassUID, data.SOPInstanceUID = data.file_meta.MediaStorageSOPClassUID, "1.2.3"
    data.Rows, data.Columns = stored.shape
    bits = 8 * stored.itemsize
    data.SamplesPerPixel, data.PixelRepresentation = 1, int(stored.dtype.kind == "i")
    data.BitsAllocated, data.BitsStored, data.HighBit = bits, bits, bits - 1
    data.PhotometricInterpretation = "MONOCHROME2"
    if jpeg:
        buffer = BytesIO()
        Image.fromarray(stored).save(buffer, "JPEG", quality=95)
        data.PixelData = encapsulate([buffer.getvalue()])
    else:
        data.PixelData = stored.tobytes()
    data["PixelData"].VR = "OB" if bits == 8 else "OW"
    for name, value in header.items():
        setattr(data, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)


def decode(folder: Path, stored: np.ndarray, **header):
    dicom(folder / "stage_2_train_images" / "a.dcm", stored, **header)
    return Rsna().decode(folder, "a", SMALL)


def cut_in_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def smooth(side: int = 64) -> np.ndarray:
    x = np.linspace(0, np.pi, side)
    return np.rint(127 + 100 * np.outer(np.sin(x), np.cos(x))).astype(np.uint8)


def test_pixels_are_box_means(tmp_path):
    stored = (np.arange(256).reshape(16, 16)).astype(np.uint8).repeat(2, 0).repeat(2, 1)
    image = decode(tmp_path, stored).arrays["image"]
    assert image.shape == (1, 16, 16)
    np.testing.assert_array_equal(image[0], np.arange(256).reshape(16, 16))


def test_monochrome1_is_inverted_monochrome2(tmp_path):
    two = decode(tmp_path, smooth()).arrays["image"]
    one = decode(tmp_path, 255 - smooth(), PhotometricInterpretation="MONOCHROME1").arrays["image"]
    assert np.abs(one.astype(int) - two).max() <= 1


def test_jpeg_is_near_plain(tmp_path):
    plain = decode(tmp_path, smooth()).arrays["image"].astype(int)
    jpeg = decode(tmp_path, smooth(), jpeg=True).arrays["image"].astype(int)
    assert np.abs(jpeg - plain).max() <= 3


@pytest.mark.parametrize(
    ("stored", "header"),
    [
        (smooth().astype(np.uint16) * 257, {}),
        (smooth().astype(np.uint16) * 10 + 100, {"WindowCenter": 1375, "WindowWidth": 2550}),
        (smooth().astype(np.int16) - 100, {"WindowCenter": [27.5, 1], "WindowWidth": [255, 1]}),
        (smooth().astype(np.uint16) * 10, {"BitsStored": 12, "RescaleSlope": 2, "RescaleIntercept": 5,
                                           "WindowCenter": 2555, "WindowWidth": 5100}),
    ],
)  # fmt: skip
def test_sixteen_bits_follow_window_or_depth(tmp_path, stored, header):
    expected = decode(tmp_path, smooth()).arrays["image"].astype(int)
    assert np.abs(decode(tmp_path, stored, **header).arrays["image"] - expected).max() <= 1


def test_header_tells_view_sex_age(tmp_path):
    told = decode(tmp_path, smooth(), ViewPosition="AP", PatientSex="F", PatientAge="051Y").attributes
    assert told == {"site": "AP", "sex": "female", "age": 51.0}
    told = decode(tmp_path, smooth(), PatientAge="155").attributes
    assert told == {"site": "", "sex": "", "age": None}


def test_card_of_a_stand_in(rsna, tmp_path):
    card = run(rsna, tmp_path / "out").card
    count = card["rows"]
    assert count["read"] == len(rows(rsna)) > 60
    assert count["kept"] + count["excluded"] == 60
    assert count["merged"] == count["read"] - 60
    assert set(card["sites"]) == {"AP", "PA"}
    assert card["grouping"] == "image"
    assert card["synthetic"]
    assert "AP" in card["shortcuts"][0]
    assert any("no patient_map" in note for note in card["notes"])


def test_published_split_deals_rows_and_lets_images_cross(rsna, tmp_path):
    card = run(rsna, tmp_path, split="published").card
    assert card["split_mode"] == "published"
    assert card["rows"]["merged"] == 0
    assert card["rows"]["kept"] == sum(name != "No Lung Opacity / Not Normal" for _, name in rows(rsna))
    assert card["audit"]["sources_shared_between_splits"] > 0
    assert card["audit"]["identical_arrays_shared_between_splits"] > 0


def test_patient_map_groups(rsna, tmp_path):
    images = list(dict.fromkeys(image for image, _ in rows(rsna)))
    path = tmp_path / "map.csv"
    path.write_text("image,patient\n" + "".join(f"{i},p{k // 4}\n" for k, i in enumerate(images[:40])))
    card = run(rsna, tmp_path / "out", patient_map=path).card
    assert card["grouping"].startswith("patient")
    assert "20 images are not in the patient_map: each is a group of its own" in card["notes"]
    assert card["groups"] < card["rows"]["kept"]
    assert card["audit"]["groups_shared_between_splits"] == 0
    assert card["options"]["patient_map"] == "map.csv"
    path.write_text(f"image,patient\n{images[0]},a\n{images[0]},b\n")
    with pytest.raises(InputError, match=r"row 2: image .* has a second patient"):
        run(rsna, tmp_path / "out", patient_map=path)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda p: p.unlink(), "the image file is missing"),
        (lambda p: p.write_text("hello, I am a text file\n" * 50), "the file is not DICOM"),
        (lambda p: p.write_bytes(b""), "the file is not DICOM"),
        (cut_in_half, "the DICOM file holds no complete picture"),
        (lambda p: dicom(p, smooth(), Rows=900), "the DICOM file is truncated or damaged"),
    ],
)  # fmt: skip
def test_a_bad_image_is_counted(rsna, tmp_path, damage, reason):
    paths = [rsna / "stage_2_train_images" / f"{image}.dcm" for image, name in rows(rsna) if name == "Normal"]
    path = next(path for path in paths if dcmread(path).file_meta.TransferSyntaxUID.is_compressed)
    image = path.stem
    damage(path)
    card = run(rsna, tmp_path / "out").card
    assert {r: f["n"] for r, f in card["dropped"].items()} == {reason: 1}
    assert card["dropped"][reason]["examples"] == [image]
    assert card["rows"]["kept"] + card["rows"]["excluded"] == 59


def test_every_cut_of_a_file_is_a_drop_or_a_picture(rsna):
    for path in sorted((rsna / "stage_2_train_images").iterdir())[:6]:
        data = path.read_bytes()
        # behind the picture, a compressed file has a delimiter of eight bytes
        for length in range(0, len(data) - 9, max(1, len(data) // 25)):
            path.write_bytes(data[:length])
            with pytest.raises(Dropped):
                Rsna().decode(rsna, path.stem, SMALL)


def test_bad_rows_are_counted(rsna, tmp_path):
    table = rsna / "stage_2_detailed_class_info.csv"
    normal = next(image for image, name in rows(rsna) if name == "Normal")
    with table.open("a") as stream:
        stream.write(f"{normal},Lung Opacity\n../../x,Normal\nnew,Abnormal\n")
    card = run(rsna, tmp_path / "out").card
    assert {r: f["n"] for r, f in card["dropped"].items()} == {
        "rows of one image give different classes": 1,
        "the file name points outside the dataset's folder": 1,
        "the class is none of the three known": 1,
    }


def test_all_images_missing(rsna, tmp_path):
    for path in (rsna / "stage_2_train_images").iterdir():
        path.unlink()
    with pytest.raises(InputError, match=r"the image file is missing.*stage_2_train_images/<patientId>"):
        run(rsna, tmp_path / "out")
    assert not (tmp_path / "out" / "lung_opacity").exists()


def test_options_are_checked():
    assert parse_options(RsnaOptions, {"image_size": "64"}).image_size == 64
    with pytest.raises(InputError, match=r"unknown option 'imagesize'; did you mean 'image_size'\?"):
        parse_options(RsnaOptions, {"imagesize": "64"})
    for bad in ("-5", "0", "big", "1e9"):
        with pytest.raises(InputError, match=f"option 'image_size' cannot be '{bad}'"):
            parse_options(RsnaOptions, {"image_size": bad})


def test_synthetic_is_deterministic(rsna, tmp_path):
    write(tmp_path / "again", size=60, seed=0, side=48)
    for file in sorted(p for p in rsna.rglob("*") if p.is_file()):
        assert file.read_bytes() == (tmp_path / "again" / file.relative_to(rsna)).read_bytes()
    with pytest.raises(ValueError, match="positive"):
        write(tmp_path / "none", size=0, seed=0)
