"""A synthetic stand-in for COVQU in its raw layout: drawn chests, several soft peripheral shadows in COVID.

As in the real data, the source tells much of the class: Normal comes from one hospital, COVID from three, of
which one exposes like that hospital. A few files hold the pixels of another one.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from data_prep.chest_drawing import blob, draw_chest, exposed
from fedmeki_bench.cohort.dataset import write_marker
from fedmeki_bench.seeds import generator

if TYPE_CHECKING:
    import numpy as np

GENERATOR_VERSION = 1
DIFFICULTY = "shadow strength 0.15 to 0.7, uniform; two thirds of COVID come from sources that expose differently"
_COVID = 0.26  # the share of the release
_TWIN = 25  # every 25th file holds the pixels of the one before it
# gain, offset, noise
_NORMAL = (1.0, 0.0, 0.03)
_SOURCES = (_NORMAL, (0.9, 0.05, 0.05), (1.1, 0.02, 0.04))


def write(out: Path, *, size: int, seed: int, side: int = 224) -> None:
    """Write ``size`` pictures of ``side`` x ``side`` pixels below ``out``; the same seed gives the same bytes.

    Raises:
        ValueError: ``size`` is below 2 or ``side`` below 32.
    """
    from PIL import Image

    if size < 2 or side < 32:
        raise ValueError(f"size must be at least 2 and side at least 32, not {size} and {side}")
    covid = min(max(round(size * _COVID), 1), size - 1)
    for name, count in (("COVID", covid), ("Normal", size - covid)):
        images, masks = out / name / "images", out / name / "masks"
        images.mkdir(parents=True)
        masks.mkdir()
        picture = _draw(name, side, generator(seed, "synthesize", "covqu", name, 0))
        for number in range(1, count + 1):
            twin = number % _TWIN == 0
            if not twin:
                picture = _draw(name, side, generator(seed, "synthesize", "covqu", name, number))
            # a twin's file differs though its pixels don't
            Image.fromarray(picture).save(images / f"{name}-{number}.png", compress_level=6 if twin else 1)
            Image.new("L", (8, 8), 255).save(masks / f"{name}-{number}.png")
    write_marker(
        out, dataset="covqu", generator=GENERATOR_VERSION, size=size, seed=seed, side=side, difficulty=DIFFICULTY
    )


def _draw(name: str, side: int, rng: np.random.Generator) -> np.ndarray:
    """A picture of uint8, (side, side)."""
    chest = draw_chest(side, rng, heart=rng.normal(1.0, 0.1))
    picture = chest.picture
    gain, offset, noise = _NORMAL
    if name == "COVID":
        gain, offset, noise = _SOURCES[int(rng.integers(len(_SOURCES)))]
        strength = rng.uniform(0.15, 0.7)
        for number in range(int(rng.integers(3, 7))):
            cx, cy = chest.centres[number % 2]
            outwards = -1 if number % 2 == 0 else 1
            at = (cx + outwards * rng.uniform(0.03, 0.10), cy + rng.uniform(-0.05, 0.22))
            spread = (rng.uniform(0.03, 0.06), rng.uniform(0.04, 0.09))
            picture = picture + 0.4 * strength * blob(chest, at, spread) * (0.3 + 0.7 * chest.lungs)
    return exposed(picture, rng, gain=rng.normal(gain, 0.04), offset=rng.normal(offset, 0.02), noise=noise)
