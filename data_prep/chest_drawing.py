"""Drawn chests for synthetic stand-ins: two lungs, a heart, ribs. No anatomy, only something to learn from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True)
class Chest:
    """A picture under construction; ``x`` and ``y`` run from 0 to 1, ``picture`` is about 0 to 1, (side, side)."""

    picture: np.ndarray
    lungs: np.ndarray
    x: np.ndarray
    y: np.ndarray
    centres: tuple[tuple[float, float], tuple[float, float]]


def inside(distance: np.ndarray, sharpness: float) -> np.ndarray:
    """1 where ``distance`` < 1, 0 where it is larger, with a soft edge."""
    import numpy as np

    return 0.5 - 0.5 * np.tanh((distance - 1) * sharpness / 2)


def blob(chest: Chest, at: tuple[float, float], spread: tuple[float, float]) -> np.ndarray:
    """A soft round shadow of height 1."""
    import numpy as np

    far = ((chest.x - at[0]) / spread[0]) ** 2 + ((chest.y - at[1]) / spread[1]) ** 2
    return np.exp(-0.5 * far)


def draw_chest(side: int, rng: np.random.Generator, *, heart: float = 1.0, lateral: bool = False) -> Chest:
    """A healthy chest with small random differences.

    Args:
        side: pixels of the square picture.
        rng: decides shifts, widths and ribs.
        heart: width of the heart's shadow, 1 is usual.
        lateral: seen from the side: the lungs lie over each other.
    """
    import numpy as np

    axis = (np.arange(side, dtype=np.float32) + np.float32(0.5)) / side
    x, y = axis[None, :], axis[:, None]
    shift = rng.normal(0, 0.015, 2).tolist()  # plain floats keep the arrays float32
    wide = rng.normal(1.0, 0.07)
    left, right = (0.42, 0.58) if lateral else (0.31, 0.69)
    centres = ((left + shift[0], 0.48 + shift[1]), (right + shift[0], 0.48 + shift[1]))
    lungs = np.zeros((side, side), dtype=np.float32)
    for cx, cy in centres:
        lungs = np.maximum(lungs, inside(((x - cx) / (0.15 * wide)) ** 2 + ((y - cy) / 0.30) ** 2, 9))
    body = inside(((x - 0.5) / 0.47) ** 4 + ((y - 0.6) / 0.62) ** 4, 6)
    ribs = 0.06 * np.sin(2 * np.pi * (y * rng.uniform(7, 9) + 0.8 * (x - 0.5) ** 2 + rng.random())) * lungs
    shadow = inside(((x - 0.55) / (0.13 * heart)) ** 2 + ((y - 0.62) / 0.17) ** 2, 6)
    picture = (0.08 + 0.62 * body - 0.42 * lungs + ribs + 0.25 * shadow).astype(np.float32)
    return Chest(picture, lungs, x, y, centres)


def exposed(picture: np.ndarray, rng: np.random.Generator, *, gain: float, offset: float, noise: float) -> np.ndarray:
    """What a machine makes of it: coarse and fine noise, gain and offset; uint8."""
    import numpy as np

    side = picture.shape[0]
    cell = max(side // 16, 1)
    coarse = rng.normal(0, 0.04, (side // cell + 1, side // cell + 1)).astype(np.float32)
    picture = picture + coarse.repeat(cell, 0).repeat(cell, 1)[:side, :side]
    picture = picture + np.float32(noise) * rng.standard_normal((side, side), dtype=np.float32)
    grey: np.ndarray = np.rint((255 * (gain * picture + offset)).clip(0, 255)).astype(np.uint8)
    return grey
