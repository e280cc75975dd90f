"""A synthetic stand-in for PMC-CaseReport in its raw layout: articles with drawn figures, and questions about them.

An article is a chest with one to four figures; the signs are dealt out to the figures, so that a sign is seen in one or
more of them and mostly not in all. Each of its questions refers to some figures and asks what they show, with an answer
that names what is there in these figures, in the manner of a rationale.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedmeki_bench.api import generator, write_marker

from ..chest_drawing import STRENGTHS, VIEWS, radiograph
from ..sign_sampling import sample_signs
from .layout import COLUMNS, FIGURES, PARTS, figure_file

if TYPE_CHECKING:
    import numpy as np

GENERATOR_VERSION = 1
DIFFICULTY = (
    "signs of strength "
    + ", ".join(f"{name} {low} to {high}" for name, (low, high) in STRENGTHS.items())
    + "; each sign of a case in six of ten of its figures"
)
_SEEN, _TEST = 0.6, 0.2
_CASES = ("A patient had a cough.", "A patient came with fever.", "A patient had chest pain.")
_SENTENCES = ("The history was usual.", "Laboratory values were normal.", "Figures were taken on admission.")
_ASKED = ("Which findings are there", "What do the figures show", "Which findings explain the case")


def write(out: Path, *, size: int, seed: int, side: int = 128) -> None:
    """Write ``size`` questions with their figures below ``out``; the same seed gives the same bytes.

    Raises:
        ValueError: ``size`` is below 8 or ``side`` below 32.
    """
    if size < 8 or side < 32:
        raise ValueError(f"size must be at least 8 and side at least 32, not {size} and {side}")
    (out / FIGURES).mkdir(parents=True)
    rows: dict[str, list[dict[str, str]]] = {part: [] for part in PARTS}
    article = done = 0
    while done < size:
        article += 1
        rng = generator(seed, "synthesize", "pmc_casereport", article)
        part = "train" if article == 1 or rng.random() >= _TEST else "test"
        asked = _article(out, f"PMC{1_000_000 + article}", side, rng)[: size - done]
        rows["test" if article == 2 else part] += asked
        done += len(asked)
    for part, names in PARTS.items():
        with (out / names[0]).open("w", encoding="utf-8", newline="") as stream:
            table = csv.DictWriter(stream, list(COLUMNS), lineterminator="\n")
            table.writeheader()
            table.writerows(rows[part])
    write_marker(
        out, dataset="pmc_casereport", generator=GENERATOR_VERSION, size=size, seed=seed, difficulty=DIFFICULTY
    )


def answer_of(signs: frozenset[str]) -> str:
    """What is to be said of figures that show these signs; in small letters, which cost ``tiny`` fewer tokens."""
    patch, haze, level, wide = (sign in signs for sign in ("patch", "haze", "level", "wide"))
    said = ["consolidation"] * patch + ["haze"] * haze + ["effusion"] * level + ["wide mediastinum"] * wide
    why = ["pneumonia"] * (patch and haze) + ["atelectasis"] * (patch and level)
    if not said:
        return "no finding"
    return f"{', '.join(said)}" + (f", so {', '.join(why)}" if why else "")


def _article(out: Path, name: str, side: int, rng: np.random.Generator) -> list[dict[str, str]]:
    """Draw the figures of an article; its questions."""
    from PIL import Image

    signs = sample_signs("image", rng)
    shown: dict[str, frozenset[str]] = {}
    for k in range(int(rng.choice([1, 2, 3, 4], p=[0.3, 0.3, 0.25, 0.15]))):
        figure = f"Fig{k + 1}"
        shown[figure] = frozenset(sign for sign in sorted(signs) if rng.random() < _SEEN)
        picture, _ = radiograph(shown[figure], side, rng, VIEWS["PA" if rng.random() < 0.5 else "AP"])
        Image.fromarray(picture).save(out / FIGURES / figure_file(name, figure), quality=90)
    rows = []
    for _ in range(int(rng.integers(1, 3))):
        figures = sorted(rng.choice(sorted(shown), int(rng.integers(1, len(shown) + 1)), replace=False).tolist())
        seen = frozenset[str]().union(*(shown[figure] for figure in figures))
        case = [str(rng.choice(_CASES)), *_SENTENCES, *_SENTENCES]
        values: tuple[Any, ...] = (name, figures, " ".join(case), f"Q: {rng.choice(_ASKED)}?", f"A: {answer_of(seen)}")
        rows.append({column: str(value) for column, value in zip(COLUMNS, values, strict=True)})
    return rows
