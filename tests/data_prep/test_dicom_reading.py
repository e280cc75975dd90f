"""DICOM as a viewer shows it, and files that would unpack to more than memory holds."""

from __future__ import annotations

import tracemalloc
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
)

from fedmeki_bench.builtin.data_prep.dicom_reading import dicom_grey
from fedmeki_bench.data.contract import Dropped
from fedmeki_bench.data.raw.dicom_files import MOST_PIXELS


def smooth(side: int = 64) -> np.ndarray:
    x = np.linspace(0, np.pi, side)
    return np.rint(127 + 100 * np.outer(np.sin(x), np.cos(x))).astype(np.uint8)


def dataset(stored: np.ndarray, syntax=ExplicitVRLittleEndian, **header) -> Dataset:
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    data.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    data.file_meta.TransferSyntaxUID = syntax
    data.SOPClassUID, data.SOPInstanceUID = data.file_meta.MediaStorageSOPClassUID, "1.2.3"
    data.Rows, data.Columns = stored.shape[:2]
    bits = 8 * stored.itemsize
    data.SamplesPerPixel = 3 if stored.ndim == 3 else 1
    if stored.ndim == 3:
        data.PlanarConfiguration = 0
    data.PixelRepresentation = int(stored.dtype.kind == "i")
    data.BitsAllocated, data.BitsStored, data.HighBit = bits, bits, bits - 1
    data.PhotometricInterpretation = "RGB" if stored.ndim == 3 else "MONOCHROME2"
    data.PixelData = stored.tobytes()
    data["PixelData"].VR = "OB" if bits == 8 else "OW"
    for name, value in header.items():
        setattr(data, name, value)
    return data


def shown(folder: Path, data: Dataset) -> np.ndarray:
    data.save_as(folder / "a.dcm", enforce_file_format=True)
    return dicom_grey(folder / "a.dcm", 64)[0]


def jpeg(stored: np.ndarray) -> bytes:
    stream = BytesIO()
    Image.fromarray(stored).save(stream, "JPEG", quality=95)
    return encapsulate([stream.getvalue()])


def lut(first: int, values: list[int], bits: int = 8) -> Dataset:
    item = Dataset()
    item.LUTDescriptor = [len(values), first, bits]
    item.add_new("LUTData", "OW", np.array(values, "<u2").tobytes())
    return item


def test_the_ordinary_jpeg_is_what_pillow_decodes(tmp_path):
    content = jpeg(smooth())
    got = shown(tmp_path, dataset(smooth(), JPEGBaseline8Bit, PixelData=content))
    stream = BytesIO()
    Image.fromarray(smooth()).save(stream, "JPEG", quality=95)
    np.testing.assert_array_equal(got, np.asarray(Image.open(stream)))


def test_inverse_is_inverted_once(tmp_path):
    for header in (
        {"PresentationLUTShape": "INVERSE"},
        {"PhotometricInterpretation": "MONOCHROME1"},
        {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"},
    ):
        np.testing.assert_array_equal(shown(tmp_path, dataset(255 - smooth(), **header)), smooth())
        lossy = shown(tmp_path, dataset(smooth(), JPEGBaseline8Bit, PixelData=jpeg(255 - smooth()), **header))
        assert np.abs(lossy.astype(int) - smooth()).max() <= 4
    identity = dataset(smooth(), PresentationLUTShape="IDENTITY")
    np.testing.assert_array_equal(shown(tmp_path, identity), smooth())


def test_sixteen_bit_colour_is_scaled_and_does_not_wrap(tmp_path):
    grey = np.repeat(smooth()[:, :, None], 3, axis=2)
    got = shown(tmp_path, dataset(grey.astype(np.uint16) * 200))
    assert np.abs(got - smooth() * (200 * 255 / 65535)).max() <= 1


def test_palette_indices_are_looked_up(tmp_path):
    """Index 0 is the brightest here: taken for grey, the picture would be its own negative."""
    data = dataset(smooth(), PhotometricInterpretation="PALETTE COLOR")
    table = (np.arange(255, -1, -1, dtype="<u2") * 257).tobytes()
    for colour in ("Red", "Green", "Blue"):
        setattr(data, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 16])
        data.add_new(f"{colour}PaletteColorLookupTableData", "OW", table)
    assert np.abs(shown(tmp_path, data).astype(int) - (255 - smooth())).max() <= 1


def test_tables_of_modality_and_window_are_followed(tmp_path):
    reverse = lut(0, list(range(255, -1, -1)))
    data = dataset(smooth(), VOILUTSequence=[reverse])
    np.testing.assert_array_equal(shown(tmp_path, data), 255 - smooth())
    item = lut(0, list(range(255, -1, -1)))
    item.ModalityLUTType = "US"
    np.testing.assert_array_equal(shown(tmp_path, dataset(smooth(), ModalityLUTSequence=[item])), 255 - smooth())
    steep = dataset(smooth(), JPEGBaseline8Bit, PixelData=jpeg(smooth()), WindowCenter=127, WindowWidth=20)
    got = shown(tmp_path, steep)
    assert (got[smooth() < 110] == 0).all()
    assert (got[smooth() > 145] == 255).all()


@pytest.mark.parametrize("syntax", [JPEGLosslessSV1, JPEG2000Lossless])
def test_compressions_that_a_wheel_decodes(tmp_path, syntax):
    gdcm = pytest.importorskip("gdcm")
    shown(tmp_path, dataset(smooth()))
    reader, change = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax()
    reader.SetFileName(str(tmp_path / "a.dcm"))
    assert reader.Read()
    kind = (
        gdcm.TransferSyntax.JPEGLosslessProcess14_1
        if syntax == JPEGLosslessSV1
        else gdcm.TransferSyntax.JPEG2000Lossless
    )
    change.SetTransferSyntax(gdcm.TransferSyntax(kind))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(tmp_path / "b.dcm"))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    np.testing.assert_array_equal(dicom_grey(tmp_path / "b.dcm", 64)[0], smooth())
    content = (tmp_path / "b.dcm").read_bytes()
    (tmp_path / "b.dcm").write_bytes(content[: len(content) - len(content) // 3])
    with pytest.raises(Dropped, match=r"damaged|no complete picture"):
        dicom_grey(tmp_path / "b.dcm", 64)


def test_no_decoder_is_told_apart_from_damage(tmp_path):
    data = dataset(smooth(), HTJ2KLossless, PixelData=encapsulate([b"\xff\x4f\xff\x51" + bytes(60)]))
    data.Rows = data.Columns = 0
    data.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    with pytest.raises(Dropped, match=r"no installed decoder reads the compression High-Throughput JPEG 2000"):
        dicom_grey(tmp_path / "a.dcm", 64)
    data = dataset(smooth(), JPEG2000Lossless, PixelData=encapsulate([b"nonsense" * 40]))
    with pytest.raises(Dropped, match="damaged"):
        shown(tmp_path, data)


def test_a_deflated_bomb_is_dropped_in_bounded_memory(tmp_path):
    """459 KB that unpack to 450 MB."""
    data = dataset(smooth())
    data.save_as(tmp_path / "plain.dcm", enforce_file_format=True)
    del data.PixelData
    data.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    data.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    content = (tmp_path / "a.dcm").read_bytes()
    start = 144 + int.from_bytes(content[140:144], "little")
    elements = zlib.decompress(content[start:], -15)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    size = 450_000_000
    packed = packer.compress(elements + b"\xe0\x7f\x10\x00OW\x00\x00" + size.to_bytes(4, "little"))
    block = bytes(1_000_000)
    packed += b"".join(packer.compress(block) for _ in range(size // len(block))) + packer.flush()
    (tmp_path / "a.dcm").write_bytes(content[:start] + packed)
    assert len(packed) < 500_000
    tracemalloc.start()
    with pytest.raises(Dropped, match="implausibly large"):
        dicom_grey(tmp_path / "a.dcm", 64)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000


def test_deflated_files_of_ordinary_size_are_read(tmp_path):
    np.testing.assert_array_equal(shown(tmp_path, dataset(smooth(), DeflatedExplicitVRLittleEndian)), smooth())


def test_a_size_is_refused_before_it_is_decoded(tmp_path):
    with pytest.raises(Dropped, match="implausibly large"):
        shown(tmp_path, dataset(smooth(), Rows=60_000, Columns=60_000))
    with pytest.raises(Dropped, match="implausibly large"):
        shown(tmp_path, dataset(smooth(), NumberOfFrames=MOST_PIXELS))
    # a small header over a codestream that states another size
    lying = dataset(smooth(), JPEGBaseline8Bit, PixelData=jpeg(smooth(128)))
    with pytest.raises(Dropped, match="damaged"):
        shown(tmp_path, lying)
    stream = bytearray(jpeg(smooth()))
    at = stream.index(b"\xff\xc0")
    stream[at + 5 : at + 9] = b"\xff\xff\xff\xff"
    with pytest.raises(Dropped, match="implausibly large"):
        shown(tmp_path, dataset(smooth(), JPEGBaseline8Bit, PixelData=bytes(stream)))
