"""A synthetic stand-in for CheXpert's validation part in its raw layout: drawn chests with three drawn findings.

A wide mediastinum, a dense band (atelectasis) and a filled base of one lung (effusion) come independently of each
other, but oftener in AP views, which are also exposed differently.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.chest_drawing import draw_chest, exposed, inside
from data_prep.chexpert import FINDINGS, IMAGES, TABLE
from fedmeki_bench.cohort.dataset import write_marker
from fedmeki_bench.seeds import generator

if TYPE_CHECKING:
    import numpy as np

GENERATOR_VERSION = 1
DIFFICULTY = "strength of each finding 0.2 to 1, uniform; AP views have half again as many findings as the others"
_PREFIX = "CheXpert-v1.0-small/"
_DRAWN = {"Enlarged Cardiomediastinum": 0.40, "Atelectasis": 0.28, "Pleural Effusion": 0.24}
_VIEWS = {("Frontal", "AP"): 0.72, ("Frontal", "PA"): 0.14, ("Lateral", ""): 0.14}
# gain, offset, noise
_MACHINES = {"AP": (0.9, 0.06, 0.05), "PA": (1.0, 0.0, 0.03), "": (1.05, 0.02, 0.03)}


def write(out: Path, *, size: int, seed: int, width: int = 240, height: int = 200) -> None:
    """Write ``size`` pictures below ``out``; the same seed gives the same bytes.

    Raises:
        ValueError: ``size`` is not positive or a side is below 32.
    """
    from PIL import Image

    if size < 1 or min(width, height) < 32:
        raise ValueError(f"size must be positive and sides at least 32, not {size}, {width} and {height}")
    (out / IMAGES).mkdir(parents=True)
    rows: list[dict[str, Any]] = []
    patient = 0
    while len(rows) < size:
        patient += 1
        rng = generator(seed, "synthesize", "chexpert", patient)
        person = {"Sex": str(rng.choice(["Female", "Male"])), "Age": int(rng.integers(18, 91))}
        study = f"{IMAGES}/patient{64540 + patient:05d}/study1"
        (out / study).mkdir(parents=True)
        for number in range(1, min(1 + int(rng.random() < 0.15), size - len(rows)) + 1):
            view, direction = list(_VIEWS)[int(rng.choice(len(_VIEWS), p=list(_VIEWS.values())))]
            found = {n: rng.random() < p * (1.15 if direction == "AP" else 0.75) for n, p in _DRAWN.items()}
            path = f"{study}/view{number}_{view.lower()}.jpg"
            picture = Image.fromarray(_draw(found, direction, width, rng)).resize((width, height))
            picture.save(out / path, quality=90)
            values = dict.fromkeys(FINDINGS, 0.0) | {n: float(is_there) for n, is_there in found.items()}
            values["No Finding"] = float(not any(found.values()))
            rows.append({"Path": _PREFIX + path, **person, "Frontal/Lateral": view, "AP/PA": direction, **values})
    with (out / TABLE).open("w", newline="", encoding="utf-8") as stream:
        table = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    write_marker(out, dataset="chexpert", generator=GENERATOR_VERSION, size=size, seed=seed, difficulty=DIFFICULTY)


def _draw(found: dict[str, bool], direction: str, side: int, rng: np.random.Generator) -> np.ndarray:
    """A picture of uint8, (side, side)."""
    import numpy as np

    strength = {name: rng.uniform(0.2, 1.0) * is_there for name, is_there in found.items()}
    wide = strength["Enlarged Cardiomediastinum"]
    chest = draw_chest(side, rng, heart=rng.normal(1.0, 0.08) * (1 + 0.5 * wide), lateral=not direction)
    x, y, picture = chest.x, chest.y, chest.picture
    picture = picture + 0.25 * wide * inside(((x - 0.5) / 0.11) ** 2 + ((y - 0.38) / 0.25) ** 4, 6)
    cx, cy = chest.centres[int(rng.integers(2))]
    tilt = rng.normal(0, 0.15)
    band = np.exp(-0.5 * ((y - cy - rng.uniform(0.02, 0.14) - tilt * (x - cx)) / 0.018) ** 2)
    picture = picture + 0.45 * strength["Atelectasis"] * band * inside(((x - cx) / 0.14) ** 2 + 0 * y, 8)
    cx, cy = chest.centres[int(rng.integers(2))]
    level = cy + 0.28 - 0.20 * strength["Pleural Effusion"] + 1.2 * (x - cx) ** 2  # the fluid's surface is curved
    fluid = (0.5 + 0.5 * np.tanh((y - level) * 30)) * inside(((x - cx) / 0.16) ** 2 + 0 * y, 8) * chest.lungs
    picture = picture + 0.42 * fluid * (strength["Pleural Effusion"] > 0)
    gain, offset, noise = _MACHINES[direction]
    return exposed(picture, rng, gain=rng.normal(gain, 0.04), offset=rng.normal(offset, 0.02), noise=noise)
