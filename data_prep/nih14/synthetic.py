"""A synthetic stand-in for NIH ChestX-ray14 in its raw layout: drawn chests, findings mined from what is drawn.

Six of the fourteen findings follow from signs that are drawn. As labels mined from reports are, they are incomplete:
what is there goes unmentioned now and then, each finding by itself. The other eight occur here and there without any
trace in the picture, so that nothing can be learnt about them.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedmeki_bench.api import FINDINGS as MEANINGS
from fedmeki_bench.api import generator, write_marker

from ..chest_drawing import STRENGTHS, VIEWS, radiograph
from ..sign_sampling import sample_signs
from .layout import AGE, FINDINGS, IMAGE, LABELS, NO_FINDING, PARTS, PATIENT, SEX, TABLES, VIEW

GENERATOR_VERSION = 1
DRAWN = {
    "Atelectasis": MEANINGS["atelectasis"].signs,
    "Cardiomegaly": ("wide",),
    "Consolidation": ("patch",),
    "Effusion": MEANINGS["pleural_effusion"].signs,
    "Infiltration": ("patch",),
    "Pneumonia": ("haze",),
}
"""Finding -> signs of which one suffices; names mean what :mod:`fedmeki_bench.signs` says."""
MENTIONED = 0.95
UNSEEN = 0.03
DIFFICULTY = (
    f"{len(DRAWN)} of the {len(FINDINGS)} findings follow from signs of strength "
    + ", ".join(f"{name} {low} to {high}" for name, (low, high) in STRENGTHS.items())
    + f" ({', '.join(sorted(DRAWN))}), each mentioned in {MENTIONED:.0%} of the pictures that show it; the other "
    f"{len(FINDINGS) - len(DRAWN)} are in {UNSEEN:.0%} of the pictures without any sign: a model can reach 0.5 there"
)
_AP = {"AP": (0.4, 1.15), "PA": (0.6, 0.9)}  # view -> share of the pictures, factor of the prevalence of patches
_PER_PATIENT = (0.55, 0.3, 0.15)  # one picture, two, three
_TEST = 0.23  # of the patients, as in the release
_HEADER = (
    IMAGE, LABELS, "Follow-up #", PATIENT, AGE, SEX[0], VIEW, "OriginalImage[Width", "Height]",
    "OriginalImagePixelSpacing[x", "y]",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Case:
    """What is known of one picture before it is drawn."""

    patient: int
    follow_up: int
    part: str
    view: str
    sex: str
    age: int
    signs: frozenset[str]
    findings: tuple[str, ...]

    @property
    def image(self) -> str:
        """The file's name."""
        return f"{self.patient:08d}_{self.follow_up:03d}.png"


def cases(size: int, seed: int) -> Iterator[Case]:
    """The pictures of a stand-in, in their order."""
    done = patient = 0
    while done < size:
        patient += 1
        rng = generator(seed, "synthesize", "nih14", patient)
        part = "test" if patient > 1 and rng.random() < _TEST else "train"
        sex, age = str(rng.choice(["F", "M"])), int(rng.integers(1, 95))
        pictures = 1 + int(rng.choice(len(_PER_PATIENT), p=_PER_PATIENT))
        for follow_up in range(min(pictures, size - done)):
            view = "AP" if rng.random() < _AP["AP"][0] else "PA"
            signs = sample_signs("image", rng, {"patch": _AP[view][1]})
            seen = [name for name in FINDINGS if _mentioned(name, signs, float(rng.random()))]
            yield Case(patient, follow_up, part, view, sex, age, signs, tuple(seen))
            done += 1


def _mentioned(name: str, signs: frozenset[str], luck: float) -> bool:
    if name not in DRAWN:
        return luck < UNSEEN
    return bool(signs & set(DRAWN[name])) and luck < MENTIONED


def write(out: Path, *, size: int, seed: int, side: int = 128) -> None:
    """Write ``size`` pictures of ``side`` x ``side`` pixels below ``out``; the same seed gives the same bytes.

    Raises:
        ValueError: ``size`` is not positive or ``side`` below 32.
    """
    from PIL import Image

    if size < 1 or side < 32:
        raise ValueError(f"size must be positive and side at least 32, not {size} and {side}")
    rows: list[tuple[Any, ...]] = []
    lists: dict[str, list[str]] = {part: [] for part in PARTS}
    for number, case in enumerate(cases(size, seed)):
        rng = generator(seed, "draw", "nih14", number)
        folder = out / f"images_{1 + 2 * number // size:03d}" / "images"
        folder.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(radiograph(case.signs, side, rng, VIEWS[case.view])[0])
        # as in the release, a few are not plain grey
        picture = picture.convert("RGBA") if rng.random() < 0.02 else picture
        picture.save(folder / case.image)
        lists[case.part].append(case.image)
        labels = "|".join(case.findings) or NO_FINDING
        rows.append((
            case.image, labels, case.follow_up, case.patient, case.age, case.sex, case.view, side, side, 0.143, 0.143,
        ))  # fmt: skip
    with (out / TABLES[0]).open("w", newline="", encoding="utf-8") as stream:
        # the release writes a pair of columns as "OriginalImage[Width,Height]", which makes two of it
        stream.write(",".join(_HEADER) + "\n")
        csv.writer(stream, lineterminator="\n").writerows(rows)
    for part, name in PARTS.items():
        (out / name).write_text("\n".join(lists[part]), encoding="utf-8")
    write_marker(
        out, dataset="nih14", generator=GENERATOR_VERSION, size=size, seed=seed, side=side, difficulty=DIFFICULTY
    )
