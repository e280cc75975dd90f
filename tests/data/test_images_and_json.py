from __future__ import annotations

import random
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from fedmeki_bench.data.contract import Dropped
from fedmeki_bench.data.raw.images import grey_array, grey_picture, pixel_digest
from fedmeki_bench.data.raw.json_items import mapping, read_items, text, whole
from fedmeki_bench.data.raw.tables import natural
from fedmeki_bench.errors import InputError

GREY = np.arange(64 * 64, dtype=np.uint32).reshape(64, 64) // 16 % 256


def saved(path, array, mode=None, **how):
    picture = Image.fromarray(array)
    (picture.convert(mode) if mode else picture).save(path, **how)
    return path


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P"])
def test_every_mode_of_the_same_picture_is_the_same(tmp_path, mode):
    plain = grey_array(saved(tmp_path / "a.png", GREY.astype(np.uint8)), 16)
    assert plain.shape == (1, 16, 16)
    assert plain.dtype == np.uint8
    other = grey_array(saved(tmp_path / "b.png", GREY.astype(np.uint8), mode), 16)
    assert np.abs(other.astype(int) - plain).max() <= 1


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    path = saved(tmp_path / "a.png", (GREY * 257).astype(np.uint16))
    assert np.abs(np.asarray(grey_picture(path)).astype(int) - GREY).max() <= 1


def test_digest_is_of_pixels_not_of_the_file(tmp_path):
    one = saved(tmp_path / "a.png", GREY.astype(np.uint8), compress_level=0)
    two = saved(tmp_path / "b.png", GREY.astype(np.uint8), "RGB", compress_level=9)
    assert one.read_bytes() != two.read_bytes()
    assert pixel_digest(grey_picture(one)) == pixel_digest(grey_picture(two))
    three = saved(tmp_path / "c.png", GREY.astype(np.uint8)[:, ::-1])
    assert pixel_digest(grey_picture(one)) != pixel_digest(grey_picture(three))


def test_bad_pictures_are_dropped_with_a_reason(tmp_path):
    with pytest.raises(Dropped, match="missing"):
        grey_array(tmp_path / "none.png", 16)
    for name, data in (("text.png", b"hello"), ("empty.png", b""), ("gif.png", b"GIF89a")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(Dropped, match="no PNG or JPEG"):
            grey_array(tmp_path / name, 16)
    bomb = BytesIO()
    Image.new("1", (20000, 20000)).save(bomb, "PNG")
    (tmp_path / "bomb.png").write_bytes(bomb.getvalue())
    with pytest.raises(Dropped, match="implausibly large"):
        grey_array(tmp_path / "bomb.png", 16)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_mutated_pictures_are_read_or_dropped(tmp_path, kind):
    rng, buffer = random.Random(0), BytesIO()
    Image.fromarray(GREY.astype(np.uint8)).save(buffer, kind)
    whole_file, path = buffer.getvalue(), tmp_path / "x"
    for _ in range(300):
        data = bytearray(whole_file)
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(min(len(data), 300) if rng.random() < 0.7 else len(data))
            if rng.random() < 0.8:
                data[at] = rng.randrange(256)
            else:
                del data[at : at + rng.randint(1, 200)]
            data = data or bytearray(b"x")
        path.write_bytes(bytes(data))
        try:
            assert grey_array(path, 16).shape == (1, 16, 16)
        except Dropped:
            continue


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (b"[{]", "line 1: is no valid JSON"),
        (b'[{"a": 1},\n{"b"', "line 2: is no valid JSON .*seems cut"),
        (b'{"a": 1}', "holds no list of items, but one dict"),
        (b"[\xff]", "is not UTF-8"),
        (b"[" * 100_000, "nested too deep"),
        (b"[" + b"9" * 10_000 + b"]", "a number too long"),
    ],
)
def test_bad_json_is_one_sentence(tmp_path, content, sentence):
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=sentence):
        read_items(path)


def test_fields():
    item = mapping({" Answer ": 4, "b": 2.0, "c": " x ", "d": None})
    assert [text(item, name) for name in ("answer", "b", "c")] == ["4", "2", "x"]
    assert text(item, "d", default="-") == "-"
    for value in (True, [1], {}, float("nan"), float("inf"), "\ud800", "a\0b", " ", None):
        with pytest.raises(Dropped, match="field 'x'"):
            text({"x": value}, "x")
    assert [whole(value, "x") for value in (3, "3", 3.0)] == [3, 3, 3]
    for value in (True, -1, 1.5, "-3", "³", None, [3], 2**60, float("nan"), "9" * 30):
        with pytest.raises(Dropped, match="whole number"):
            whole(value, "x")
    with pytest.raises(Dropped, match="not an object"):
        mapping([1])


def test_natural_order():
    names = ["COVID-10.png", "COVID-2.png", "covid-1.png", "9" * 40, "x"]
    assert sorted(names, key=natural) == ["9" * 40, "covid-1.png", "COVID-2.png", "COVID-10.png", "x"]
