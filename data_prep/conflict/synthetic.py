"""The pictures of the made-up dataset ``conflict``: 32 x 32 grey values with noise, four signs, each there or not.

Disk, ring, bar and dark cross come independently of each other, at random places and contrasts, so that no sign tells
of another. The pictures of each trained task are its own.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

from fedmeki_bench.api import generator, write_marker

from .layout import PICTURES, SIDE, SIGNS, TABLE

if TYPE_CHECKING:
    import numpy as np

GENERATOR_VERSION = 1
DIFFICULTY = "noise SD 1; contrast of a sign 1.4 times 0.5 to 1.5, uniform; each sign in 45 % of the pictures"
TASKS = (
    "ward_cavity", "ward_shadow", "ward_nodule", "ward_band", "surgery_fracture", "surgery_streak", "surgery_nodule",
    "surgery_band",
)  # fmt: skip
"""The trained tasks, see ``conflict``."""

_THERE = 0.45
_CONTRAST, _LEAST, _MOST = 1.4, 0.5, 1.5
_GREY, _PER_SD = 110, 24.0
_CHUNK = 512


def write(out: Path, *, size: int, seed: int) -> None:
    """Write ``size`` pictures below ``out``; the same seed gives the same bytes.

    Raises:
        ValueError: ``size`` is not positive.
    """
    from PIL import Image

    if size < 1:
        raise ValueError(f"size must be positive, not {size}")
    (out / PICTURES).mkdir(parents=True)
    with (out / TABLE).open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(["picture", "task", *SIGNS])
        for start in range(0, size, _CHUNK):
            there, pictures = draw(min(_CHUNK, size - start), generator(seed, "synthesize", "conflict", start))
            for number, (signs, picture) in enumerate(zip(there, pictures, strict=True), start):
                name = f"{number:06d}"
                Image.fromarray(picture).save(out / PICTURES / f"{name}.png", compress_level=1)
                table.writerow([name, TASKS[number % len(TASKS)], *signs.astype(int)])
    write_marker(out, dataset="conflict", generator=GENERATOR_VERSION, size=size, seed=seed, difficulty=DIFFICULTY)


def draw(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Which signs are there, (n, 4) bool, and the pictures, (n, 32, 32) uint8."""
    import numpy as np

    there = rng.random((n, len(SIGNS))) < _THERE
    pictures = rng.standard_normal((n, SIDE, SIDE), dtype=np.float32)
    place = rng.uniform(6, SIDE - 6, (n, len(SIGNS), 2)).astype(np.float32)
    strength = there * _CONTRAST * rng.uniform(_LEAST, _MOST, there.shape)
    axis = np.arange(SIDE, dtype=np.float32)
    for number, shape in enumerate((_disk, _ring, _bar, _cross)):
        x = axis[None, None, :] - place[:, number, 0, None, None]
        y = axis[None, :, None] - place[:, number, 1, None, None]
        pictures += strength[:, number, None, None].astype(np.float32) * shape(x, y)
    return there, np.rint(_GREY + _PER_SD * pictures).clip(0, 255).astype(np.uint8)


def _disk(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Radius 3."""
    import numpy as np

    return (np.hypot(x, y) < 3).astype(np.float32)


def _ring(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Radius 4.5."""
    import numpy as np

    return (np.abs(np.hypot(x, y) - 4.5) < 1).astype(np.float32)


def _bar(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """14 wide, 2 high."""
    import numpy as np

    return ((np.abs(y) < 1) & (np.abs(x) < 7)).astype(np.float32)


def _cross(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Two diagonals within radius 5, dark."""
    import numpy as np

    return -((np.abs(np.abs(x) - np.abs(y)) < 1) & (np.hypot(x, y) < 5)).astype(np.float32)
