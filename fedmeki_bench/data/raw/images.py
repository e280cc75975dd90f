"""Pictures at model resolution: PNG and JPEG files to grey values, and the one way of resizing."""

from __future__ import annotations

import contextlib
import hashlib
import struct
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedmeki_bench.data.contract import Dropped

if TYPE_CHECKING:
    import numpy as np

# what Pillow raises on damaged files, found by cutting and mutating them
DAMAGED = (
    OSError, EOFError, ValueError, LookupError, AttributeError, TypeError, OverflowError, SyntaxError, struct.error,
    zlib.error,
)  # fmt: skip
_FORMATS = ("PNG", "JPEG")


@contextlib.contextmanager
def damage_dropped(what: str) -> Iterator[None]:
    """Turn whatever a decoder raises on a bad file into :class:`Dropped`.

    Args:
        what: the kind of file, as the reason calls it, e.g. ``the picture``.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a large or odd picture: counted where it cannot be read
            yield
    except Image.DecompressionBombError:
        raise Dropped("the picture is implausibly large") from None
    except DAMAGED:
        raise Dropped(f"{what} is truncated or damaged") from None


def resized(picture: Any, side: int) -> np.ndarray:
    """A grey PIL image as uint8 (side, side): each value the mean of the area it stands for.

    A picture that is not square is stretched, as the published pipelines do.
    """
    import numpy as np
    from PIL import Image

    return np.asarray(picture.resize((side, side), Image.Resampling.BOX), dtype=np.uint8)


def grey_picture(path: Path) -> Any:
    """A PNG or JPEG file as a grey 8-bit PIL image at its own size.

    Raises:
        Dropped: missing, another format, damaged, or implausibly large.
    """
    from PIL import Image, UnidentifiedImageError

    if not path.is_file():
        raise Dropped("the image file is missing")
    with damage_dropped("the picture"):
        try:
            picture = Image.open(path, formats=_FORMATS)
        except UnidentifiedImageError:
            raise Dropped("the file is no PNG or JPEG picture") from None
        with picture:
            return _eight_bits(picture)


def grey_array(path: Path, side: int) -> np.ndarray:
    """A PNG or JPEG file as stored in a cohort: uint8, (1, side, side); raises :class:`Dropped`."""
    import numpy as np

    return np.ascontiguousarray(resized(grey_picture(path), side)[None])


def pixel_digest(picture: Any) -> str:
    """A short hash of a grey picture's size and pixels: equal for the same picture in different files."""
    digest = hashlib.blake2b(repr(picture.size).encode(), digest_size=12)
    digest.update(picture.tobytes())
    return digest.hexdigest()


def _eight_bits(picture: Any) -> Any:
    """Grey, 8 bit. 16-bit pictures are scaled, which Pillow's own conversion clips instead."""
    import numpy as np
    from PIL import Image

    if picture.mode.startswith("I"):
        values = np.asarray(picture)
        return Image.fromarray((values.astype(np.int64).clip(0, 65535) // 257).astype(np.uint8))
    if picture.mode == "P":
        picture = picture.convert("RGB")
    return picture.convert("L")
