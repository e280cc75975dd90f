"""A stand-in for a hospital's own folder: drawn chests as PNG files, a table, and a definition of the task."""

from __future__ import annotations

import csv
from pathlib import Path

from fedmeki_bench.api import FINDINGS, generator, write_marker

from ..chest_drawing import VIEWS, radiograph
from ..sign_sampling import sample_signs

GENERATOR_VERSION = 1
_SITES = ("north", "south")
_DEFINITION = """name: own_opacity
title: Lung opacity in a folder of your own
kind: binary
question: is there a lung opacity
shown: a chest radiograph
positive: a lung opacity
"""


def write(out: Path, *, size: int, seed: int, side: int = 96) -> None:
    """Write ``size`` samples below ``out``; the same seed gives the same bytes.

    Raises:
        ValueError: ``size`` is not positive.
    """
    from PIL import Image

    if size < 1:
        raise ValueError(f"size must be positive, not {size}")
    (out / "images").mkdir(parents=True)
    rows = []
    for number in range(1, size + 1):
        rng = generator(seed, "synthesize", "csv", number)
        signs = sample_signs("image", rng)
        picture, _ = radiograph(signs, side, rng, VIEWS["AP"])
        name = f"images/{number:04d}.png"
        Image.fromarray(picture).save(out / name)
        rows.append({
            "sample": f"x{number:04d}", "patient": f"p{(number + 1) // 2:04d}", "site": str(rng.choice(_SITES)),
            "label": "yes" if FINDINGS["lung_opacity"].holds(signs) else "no", "image": name,
        })  # fmt: skip
    with (out / "table.csv").open("w", newline="", encoding="utf-8") as stream:
        table = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    (out / "task.yaml").write_text(_DEFINITION, encoding="utf-8")
    write_marker(
        out, dataset="csv", generator=GENERATOR_VERSION, size=size, seed=seed,
        difficulty="drawn chests; an opacity is a patch, as in the other stand-ins",
    )  # fmt: skip
