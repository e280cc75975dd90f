"""Drawn chests for synthetic stand-ins: lungs, a heart, ribs, and the four signs of radiographs. No anatomy.

All stand-ins with radiographs draw their signs here, so that a sign looks the same in every release.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

Box = tuple[float, float, float, float]

STRENGTHS = {"patch": (0.3, 0.95), "haze": (0.1, 0.5), "level": (0.3, 1.0), "wide": (0.2, 1.0)}
"""Sign -> between which strengths it is drawn, uniformly; 1 is plain to see."""
VIEWS = {"AP": (0.92, 0.04, 0.045), "PA": (1.0, 0.0, 0.03), "LATERAL": (1.05, 0.02, 0.03)}
"""View -> gain, offset and noise of the machine that takes it."""


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

    return 0.5 - 0.5 * np.tanh((distance - 1) * (sharpness / 2))


def draw_chest(side: int, rng: np.random.Generator, *, lateral: bool = False) -> Chest:
    """A chest without any sign, with small random differences.

    Args:
        side: pixels of the square picture.
        rng: decides shifts, widths, ribs and the size of the heart.
        lateral: seen from the side: the lungs lie closer.
    """
    import numpy as np

    axis = (np.arange(side, dtype=np.float32) + np.float32(0.5)) / side
    x, y = axis[None, :], axis[:, None]
    shift = rng.normal(0, 0.015, 2).tolist()  # plain floats keep the arrays float32
    wide, heart = rng.normal(1.0, 0.07), rng.normal(1.0, 0.1)
    left, right = (0.33, 0.67) if lateral else (0.31, 0.69)
    centres = ((left + shift[0], 0.48 + shift[1]), (right + shift[0], 0.48 + shift[1]))
    # the nearer lung's distance: the larger of both shadows, for half the arithmetic
    across = np.minimum(*(((x - cx) / (0.15 * wide)) ** 2 for cx, _ in centres))
    lungs = inside(across + ((y - centres[0][1]) / 0.30) ** 2, 9)
    body = inside(((x - 0.5) / 0.47) ** 4 + ((y - 0.6) / 0.62) ** 4, 6)
    ribs = 0.06 * np.sin(2 * np.pi * (y * rng.uniform(7, 9) + 0.8 * (x - 0.5) ** 2 + rng.random())) * lungs
    shadow = inside(((x - 0.55) / (0.13 * heart)) ** 2 + ((y - 0.62) / 0.17) ** 2, 6)
    picture = (0.08 + 0.62 * body - 0.42 * lungs + ribs + 0.25 * shadow).astype(np.float32)
    return Chest(picture, lungs, x, y, centres)


def draw_signs(chest: Chest, signs: Collection[str], rng: np.random.Generator) -> list[Box]:
    """Draw the signs into ``chest.picture``, each at a random place with a random size and strength.

    Signs of other modalities are ignored.

    Returns:
        left, top, width and height of each patch, as fractions of the picture.
    """
    boxes: list[Box] = []
    for name, draw in _LOOKS.items():
        if name in signs:
            boxes += draw(chest, float(rng.uniform(*STRENGTHS[name])), rng)
    return boxes


def _patch(chest: Chest, strength: float, rng: np.random.Generator) -> list[Box]:
    """One to three compact bright spots in the lungs."""
    boxes: list[Box] = []
    for _ in range(int(rng.choice([1, 2, 3], p=[0.5, 0.35, 0.15]))):
        cx, cy = chest.centres[int(rng.integers(2))]
        cx, cy = cx + rng.normal(0, 0.04), cy + rng.normal(0, 0.1)
        sx, sy = rng.uniform(0.035, 0.065, 2).tolist()
        spot = _bell(chest.x, cx, sx) * _bell(chest.y, cy, sy)
        chest.picture[...] += 0.5 * strength * spot * (0.3 + 0.7 * chest.lungs)
        left, top = max(cx - 2 * sx, 0.0), max(cy - 2 * sy, 0.0)
        boxes.append((left, top, min(4 * sx, 1 - left), min(4 * sy, 1 - top)))
    return boxes


def _haze(chest: Chest, strength: float, rng: np.random.Generator) -> list[Box]:
    """A wide grainy veil over a lung or both."""
    import numpy as np

    both = rng.random() < 0.5
    chosen = chest.centres if both else (chest.centres[int(rng.integers(2))],)
    cells = 21
    grains = rng.standard_normal((cells, cells), dtype=np.float32)
    size = -(-chest.picture.shape[0] // cells)
    side = chest.picture.shape[0]
    grain = grains.repeat(size, 0).repeat(size, 1)[:side, :side]
    for cx, cy in chosen:
        spread = rng.uniform(0.10, 0.18, 2).tolist()
        veil = _bell(chest.x, cx, spread[0]) * _bell(chest.y, cy + rng.normal(0.02, 0.08), 1.3 * spread[1])
        chest.picture[...] += strength * veil * chest.lungs * (0.16 + 0.22 * grain)
    return []


def _level(chest: Chest, strength: float, rng: np.random.Generator) -> list[Box]:
    """The base of one lung filled up to a curved surface."""
    import numpy as np

    cx, cy = chest.centres[int(rng.integers(2))]
    surface = cy + 0.28 - rng.uniform(0.10, 0.20) * strength + 1.2 * (chest.x - cx) ** 2
    fluid = 0.5 + 0.5 * np.tanh((chest.y - surface) * 30)
    chest.picture[...] += 0.42 * fluid * inside(((chest.x - cx) / 0.16) ** 2, 8) * chest.lungs
    return []


def _wide(chest: Chest, strength: float, rng: np.random.Generator) -> list[Box]:
    """A dense band between the lungs, broader than the heart's shadow lets it be."""
    broad = 0.09 + 0.05 * strength * rng.uniform(0.6, 1.0)
    band = inside(((chest.x - 0.5 - rng.normal(0, 0.01)) / broad) ** 2 + ((chest.y - 0.38) / 0.25) ** 4, 6)
    chest.picture[...] += 0.28 * strength * band
    return []


_LOOKS: dict[str, Callable[[Chest, float, np.random.Generator], list[Box]]] = {
    "patch": _patch, "haze": _haze, "level": _level, "wide": _wide,
}  # fmt: skip


def _bell(axis: np.ndarray, centre: float, spread: float) -> np.ndarray:
    import numpy as np

    return np.exp(-0.5 * ((axis - centre) / spread) ** 2)


def exposed(picture: np.ndarray, rng: np.random.Generator, *, gain: float, offset: float, noise: float) -> np.ndarray:
    """What a machine makes of it: coarse and fine noise, gain and offset; uint8."""
    import numpy as np

    side = picture.shape[0]
    cell = max(side // 16, 1)
    coarse = 0.04 * rng.standard_normal((side // cell + 1, side // cell + 1), dtype=np.float32)
    picture = picture + coarse.repeat(cell, 0).repeat(cell, 1)[:side, :side]
    picture += np.float32(noise) * rng.standard_normal((side, side), dtype=np.float32)
    grey: np.ndarray = np.rint((255 * (gain * picture + offset)).clip(0, 255)).astype(np.uint8)
    return grey


def radiograph(
    signs: Collection[str],
    side: int,
    rng: np.random.Generator,
    machine: tuple[float, float, float],
    *,
    lateral: bool = False,
) -> tuple[np.ndarray, list[Box]]:
    """A chest with these signs as a machine shows it: uint8 (side, side), and the boxes of :func:`draw_signs`.

    Args:
        machine: gain, offset and noise.
    """
    chest = draw_chest(side, rng, lateral=lateral)
    boxes = draw_signs(chest, signs, rng)
    gain, offset, noise = machine
    return exposed(
        chest.picture, rng, gain=rng.normal(gain, 0.03), offset=rng.normal(offset, 0.015), noise=noise
    ), boxes
