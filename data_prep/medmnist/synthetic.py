"""Synthetic stand-ins for the sets of MedMNIST v2, as the files they are released in. Nothing in them is medicine.

*Classes*: each has a texture of its own, of soft waves, which every picture of the class shows shifted, at another
strength, under noise. *Two classes* are a striped spot, there or not. *Findings* are such spots, each at its own place,
of stripes of its own. *Levels*: the higher, the more small dark spots. Colour sets are stained: one pattern in three
channels of different gain. *Volumes* have such textures and spots in three dimensions.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedmeki_bench.api import generator, write_marker

from .layout import PARTS, PIXELS, SetFacts, file_name

if TYPE_CHECKING:
    import numpy as np

GENERATOR_VERSION = 1
STRENGTH = (0.35, 1.0)
NOISE = 0.08
DIFFICULTY = f"patterns of strength {STRENGTH[0]} to {STRENGTH[1]}, uniform, under noise of {NOISE}"
_SIDE = PIXELS
_SHARES = {"train": 0.7, "val": 0.1, "test": 0.2}
_PREVALENCE = 0.2  # of each finding
_TWIN = 50  # one picture in so many is there twice, as now and then in the releases
_WAVES = 6


def write(out: Path, name: str, facts: SetFacts, *, size: int, seed: int, ordered: bool) -> None:
    """Write a set of ``size`` pictures or volumes of 28 px a side below ``out``; the same seed gives the same bytes.

    Args:
        ordered: the classes are levels.

    Raises:
        ValueError: ``size`` is below 6: each part needs a sample.
    """
    import numpy as np

    if size < 6:
        raise ValueError(f"size must be at least 6, not {size}")
    rng = generator(seed, "synthesize", name)
    labels = _labels(facts, size, rng)
    many, two = (_classes, _findings) if facts.axes == 2 else (_classes_3d, _finding_3d)
    draw = _levels if ordered else many if facts.values > 2 else two
    pictures = np.stack([_exposed(draw(label, facts, name, rng), facts, rng) for label in labels])
    for twin in range(_TWIN, size, _TWIN):
        pictures[twin], labels[twin] = pictures[twin - 1], labels[twin - 1]
    ends = np.cumsum([max(1, round(share * size)) for share in _SHARES.values()])[:-1]
    arrays: dict[str, np.ndarray] = {}
    for part, images, told in zip(PARTS, np.split(pictures, ends), np.split(labels, ends), strict=True):
        arrays |= {f"{part}_images": images, f"{part}_labels": told.astype(np.uint8)}
    _save(out / file_name(name, _SIDE), arrays)
    write_marker(out, dataset=name, generator=GENERATOR_VERSION, size=size, seed=seed, difficulty=DIFFICULTY)


def _labels(facts: SetFacts, size: int, rng: np.random.Generator) -> np.ndarray:
    """(size, columns): findings by chance, classes in turn, in a random order."""
    import numpy as np

    if facts.columns > 1:
        return (rng.random((size, facts.columns)) < _PREVALENCE).astype(np.int64)
    return rng.permutation(np.arange(size) % facts.values)[:, None]


def _classes(label: np.ndarray, facts: SetFacts, name: str, rng: np.random.Generator) -> np.ndarray:
    """The texture of a class: waves that depend on the set and the class alone, as a whole moved a little."""
    import numpy as np

    own = generator(int(label[0]), "texture", name)
    x, y = _axes(rng.normal(0, 0.03, 2))
    waves = sum(
        np.cos(2 * np.pi * (own.integers(0, 4) * x + own.integers(-3, 4) * y) + own.uniform(0, 2 * np.pi))
        for _ in range(_WAVES)
    )
    return 0.45 + 0.12 * rng.uniform(*STRENGTH) * waves


def _findings(label: np.ndarray, facts: SetFacts, name: str, rng: np.random.Generator) -> np.ndarray:
    """A striped spot for each finding that is there, at the finding's place, of stripes of its own."""
    import numpy as np

    x, y = _axes(rng.normal(0, 0.02, 2))
    picture = 0.35 + 0.1 * np.cos(2 * np.pi * x) * np.cos(np.pi * y)
    across = int(np.ceil(np.sqrt(len(label))))
    width = 0.5 / max(across, 2)
    for k in np.flatnonzero(label):
        cx, cy = (k % across + 0.5) / across, (k // across + 0.5) / across
        turn, cycles = np.pi * k / len(label), 2 + 3 * (k % 3)
        stripes = 0.5 + 0.5 * np.cos(2 * np.pi * cycles * ((x - cx) * np.cos(turn) + (y - cy) * np.sin(turn)))
        spot = np.exp(-0.5 * (((x - cx) / width) ** 2 + ((y - cy) / width) ** 2))
        picture = picture + 0.6 * rng.uniform(*STRENGTH) * spot * stripes
    return picture


def _levels(label: np.ndarray, facts: SetFacts, name: str, rng: np.random.Generator) -> np.ndarray:
    """A bright disk with more dark spots the higher the level."""
    import numpy as np

    x, y = _axes(rng.normal(0, 0.02, 2))
    picture = 0.1 + 0.6 / (1 + np.exp(12 * (np.hypot(x - 0.5, y - 0.5) - 0.45)))
    for _ in range(int(label[0]) * 3):
        cx, cy = rng.uniform(0.25, 0.75, 2)
        picture = picture - 0.4 * rng.uniform(*STRENGTH) * np.exp(-0.5 * ((x - cx) ** 2 + (y - cy) ** 2) / 0.035**2)
    return picture


def _classes_3d(label: np.ndarray, facts: SetFacts, name: str, rng: np.random.Generator) -> np.ndarray:
    """As :func:`_classes`, of waves that run through a volume."""
    import numpy as np

    own = generator(int(label[0]), "texture", name)
    places = _axes_3d(rng.normal(0, 0.03, 3))
    waves = sum(
        np.cos(2 * np.pi * sum(own.integers(-2, 3) * along for along in places) + own.uniform(0, 2 * np.pi))
        for _ in range(_WAVES)
    )
    return 0.45 + 0.012 * rng.uniform(*STRENGTH) * waves


def _finding_3d(label: np.ndarray, facts: SetFacts, name: str, rng: np.random.Generator) -> np.ndarray:
    """As :func:`_findings`, of one ball, anywhere about the middle, striped along its height."""
    import numpy as np

    z, y, x = _axes_3d(rng.normal(0, 0.02, 3))
    volume = 0.35 + 0.1 * np.cos(2 * np.pi * x) * np.cos(np.pi * y) * np.cos(np.pi * z)
    cz, cy, cx = rng.uniform(0.35, 0.65, 3)
    ball = np.exp(-0.5 * ((x - cx) ** 2 + (y - cy) ** 2 + (z - cz) ** 2) / 0.12**2)
    stripes = 0.5 + 0.5 * np.cos(4 * np.pi * (z - cz))
    found: np.ndarray = volume + 0.45 * rng.uniform(*STRENGTH) * int(label[0]) * ball * stripes
    return found


def _axes_3d(shift: Any) -> tuple[Any, Any, Any]:
    """z, y and x, in the order of the file's axes, 0 to 1, moved by ``shift``."""
    import numpy as np

    axis = (np.arange(_SIDE) + 0.5) / _SIDE
    return axis[:, None, None] + shift[0], axis[None, :, None] + shift[1], axis[None, None, :] + shift[2]


def _axes(shift: Any) -> tuple[Any, Any]:
    """x along, y down, 0 to 1, moved by ``shift``."""
    import numpy as np

    axis = (np.arange(_SIDE) + 0.5) / _SIDE
    return axis[None, :] + shift[0], axis[:, None] + shift[1]


def _exposed(picture: np.ndarray, facts: SetFacts, rng: np.random.Generator) -> np.ndarray:
    """Gain, offset and noise, in one channel or three; uint8."""
    import numpy as np

    gain, offset = rng.normal(1.0, 0.06), rng.normal(0, 0.03)
    noisy = gain * picture + offset + NOISE * rng.standard_normal(picture.shape)
    if facts.channels == 3:
        stain = np.clip(rng.normal((1.0, 0.75, 0.95), 0.04), 0.4, 1.2)
        noisy = noisy[..., None] * stain
    grey: np.ndarray = np.rint(255 * noisy.clip(0, 1)).astype(np.uint8)
    return grey


def _save(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """As numpy saves a compressed .npz, but with one date for all members, so that the bytes depend on nothing else."""
    import numpy as np

    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.save(buffer, np.ascontiguousarray(array), allow_pickle=False)
            archive.writestr(
                zipfile.ZipInfo(f"{name}.npy", (2023, 1, 1, 0, 0, 0)), buffer.getvalue(), zipfile.ZIP_DEFLATED
            )
