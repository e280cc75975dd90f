"""A synthetic stand-in for CheXpert's validation part in its raw layout: drawn chests; findings follow from the signs.

The views of one study show the same signs. AP views are exposed differently and have a few more patches.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedmeki_bench.api import FINDINGS, generator, write_marker

from ..chest_drawing import STRENGTHS, VIEWS, radiograph
from ..sign_sampling import sample_signs
from .layout import FINDINGS as COLUMNS
from .layout import IMAGES, TABLE

GENERATOR_VERSION = 2
DIFFICULTY = (
    f"patch of strength {STRENGTHS['patch'][0]} to {STRENGTHS['patch'][1]}, level {STRENGTHS['level'][0]} to "
    f"{STRENGTHS['level'][1]}, wide {STRENGTHS['wide'][0]} to {STRENGTHS['wide'][1]}, uniform; 5 % more patches in AP "
    "than on average, 20 % fewer in PA"
)
LABELS = {
    "Atelectasis": "atelectasis",
    "Lung Opacity": "lung_opacity",
    "Pleural Effusion": "pleural_effusion",
    "Enlarged Cardiomediastinum": "enlarged_cardiomediastinum",
}
"""Column -> the finding of :mod:`fedmeki_bench.signs` that it tells; "No Finding" where none of these holds."""
_PREFIX = "CheXpert-v1.0-small/"
_DIRECTIONS = {"AP": (0.8, 1.05), "PA": (0.2, 0.80)}  # share of the studies, factor of the prevalence of patches


@dataclass(frozen=True, slots=True)
class Case:
    """What is known of one image before it is drawn; ``direction`` is blank in lateral views."""

    patient: int
    view: int
    direction: str
    sex: str
    age: int
    signs: frozenset[str]


def cases(size: int, seed: int) -> Iterator[Case]:
    """The images of a stand-in, in their order: one study per patient, of one view or two."""
    done = patient = 0
    while done < size:
        patient += 1
        rng = generator(seed, "synthesize", "chexpert", patient)
        sex, age = str(rng.choice(["Female", "Male"])), int(rng.integers(18, 91))
        direction = "AP" if rng.random() < _DIRECTIONS["AP"][0] else "PA"
        signs = sample_signs("image", rng, {"patch": _DIRECTIONS[direction][1]})
        views = [direction, ""] if rng.random() < 0.15 else [direction if rng.random() < 0.92 else ""]
        for view, seen in enumerate(views[: size - done], start=1):
            yield Case(patient, view, seen, sex, age, signs)
            done += 1


def write(out: Path, *, size: int, seed: int, width: int = 144, height: int = 120) -> None:
    """Write ``size`` pictures below ``out``; the same seed gives the same bytes.

    Raises:
        ValueError: ``size`` is not positive or a side is below 32.
    """
    from PIL import Image

    if size < 1 or min(width, height) < 32:
        raise ValueError(f"size must be positive and sides at least 32, not {size}, {width} and {height}")
    (out / IMAGES).mkdir(parents=True)
    rows: list[dict[str, Any]] = []
    for case in cases(size, seed):
        rng = generator(seed, "draw", "chexpert", case.patient, case.view)
        view = "Frontal" if case.direction else "Lateral"
        path = f"{IMAGES}/patient{64540 + case.patient:05d}/study1/view{case.view}_{view.lower()}.jpg"
        machine = VIEWS[case.direction or "LATERAL"]
        picture, _ = radiograph(case.signs, width, rng, machine, lateral=not case.direction)
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).resize((width, height)).save(out / path, quality=90)
        found = {column: FINDINGS[finding].holds(case.signs) for column, finding in LABELS.items()}
        values = dict.fromkeys(COLUMNS, 0.0) | {column: float(there) for column, there in found.items()}
        values["No Finding"] = float(not any(found.values()))
        rows.append(
            {"Path": _PREFIX + path, "Sex": case.sex, "Age": case.age, "Frontal/Lateral": view, "AP/PA": case.direction}
            | values
        )
    with (out / TABLE).open("w", newline="", encoding="utf-8") as stream:
        table = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    write_marker(out, dataset="chexpert", generator=GENERATOR_VERSION, size=size, seed=seed, difficulty=DIFFICULTY)
