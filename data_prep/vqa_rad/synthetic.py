"""A synthetic stand-in for VQA-RAD in its raw layout: drawn slices of three organs, and questions about them.

Nothing is anatomical. A picture tells its organ by its outline and may hold bright or dark spots, left or right; in
chests they are dark, as bright ones there are signs. Chests show the signs of radiographs, and are asked for them by
their names. The machine (noise, exposure) differs between organs. Some answers are numbers and some carry blanks, as
in the real files.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedmeki_bench.api import SIGNS, generator, write_marker

from ..chest_drawing import STRENGTHS, draw_chest, draw_signs, exposed, inside
from ..sign_sampling import sample_signs
from .layout import DIVIDED

if TYPE_CHECKING:
    import numpy as np

GENERATOR_VERSION = 2
DIFFICULTY = (
    "contrast of the spot 0.15 to 0.6, uniform; each organ has its own exposure and noise; signs of chests of strength "
    + ", ".join(f"{name} {low} to {high}" for name, (low, high) in STRENGTHS.items())
)
ORGANS = {"CHEST": (1.0, 0.0, 0.03), "HEAD": (0.95, 0.03, 0.05), "ABD": (1.05, 0.02, 0.07)}  # gain, offset, noise
MODALITY = {"CHEST": "x-ray", "HEAD": "MRI", "ABD": "CT"}
_BEFORE = {
    "consolidation": "a ", "infiltrate": "an ", "glass": "ground ", "level": "a fluid ", "meniscus": "a ",
    "widening": "a mediastinal ", "mediastinum": "a wide ",
}  # fmt: skip
_PER_PICTURE = 8
_TEST = 0.13  # the share of questions in the official test file


@dataclass(frozen=True, slots=True)
class Scene:
    """What a picture shows; ``spot`` is "", "bright" or "dark", ``side`` as seen; only chests have signs."""

    organ: str
    spot: str
    side: str
    count: int
    signs: frozenset[str]


def write(out: Path, *, size: int, seed: int, side: int = 128) -> None:
    """Write ``size`` questions about pictures of ``side`` x ``side`` pixels; the same seed gives the same bytes.

    Raises:
        ValueError: ``size`` is below 2 or ``side`` below 32.
    """
    from PIL import Image

    if size < 2 or side < 32:
        raise ValueError(f"size must be at least 2 and side at least 32, not {size} and {side}")
    (out / "images").mkdir(parents=True)
    files: dict[str, list[dict[str, Any]]] = {part: [] for part, _ in DIVIDED}
    picture = 0
    while (done := sum(map(len, files.values()))) < size:
        picture += 1
        rng = generator(seed, "synthesize", "vqa_rad", picture)
        scene = draw_scene(rng)
        name = f"synpic{10000 + picture}.jpg"
        Image.fromarray(draw(scene, side, rng)).save(out / "images" / name, quality=90)
        for question, answer, kind in questions(scene, rng)[: min(_PER_PICTURE, size - done)]:
            closed = str(answer).lower() in {"yes", "no"}
            part = "test" if rng.random() < _TEST else "train"
            files[part].append({
                "qid": done, "image_name": name, "image_organ": scene.organ, "answer": answer,
                "answer_type": ("CLOSED " if rng.random() < 0.02 else "CLOSED") if closed else "OPEN",
                "question_type": kind, "question": question,
                "phrase_type": "freeform" if rng.random() < 0.6 else "para",
            })  # fmt: skip
            done += 1
    for part, name in DIVIDED:
        (out / name).write_text(json.dumps(files[part]), encoding="utf-8")
    write_marker(out, dataset="vqa_rad", generator=GENERATOR_VERSION, size=size, seed=seed, difficulty=DIFFICULTY)


def draw_scene(rng: np.random.Generator) -> Scene:
    """A random organ, with a spot or without; a chest with signs."""
    organ = str(rng.choice(list(ORGANS)))
    signs = sample_signs("image", rng) if organ == "CHEST" else frozenset()
    spot = str(rng.choice(["", "bright", "dark"], p=[0.4, 0.35, 0.25]))
    spot = "dark" if spot and organ == "CHEST" else spot
    count = int(rng.integers(1, 4)) if spot else 0
    return Scene(organ, spot, str(rng.choice(["left", "right"])), count, signs)


def draw(scene: Scene, side: int, rng: np.random.Generator) -> np.ndarray:
    """The picture of a scene: uint8, (side, side)."""
    import numpy as np

    chest = draw_chest(side, rng)
    draw_signs(chest, scene.signs, rng)
    x, y, picture = chest.x, chest.y, chest.picture
    if scene.organ == "HEAD":
        round_off = ((x - 0.5) / 0.36) ** 2 + ((y - 0.5) / 0.44) ** 2
        picture = 0.05 + 0.75 * inside(round_off, 20) - 0.4 * inside(round_off / 0.84, 20)
    elif scene.organ == "ABD":
        flat = ((x - 0.5) / 0.46) ** 2 + ((y - 0.5) / 0.33) ** 2
        picture = 0.05 + 0.5 * inside(flat, 15) + 0.2 * inside(((x - 0.3) / 0.16) ** 2 + ((y - 0.45) / 0.16) ** 2, 8)
    height = rng.uniform(0.15, 0.6) * {"": 0, "bright": 1, "dark": -0.6}[scene.spot]
    for number in range(scene.count):
        at = (0.32 if scene.side == "left" else 0.68, 0.35 + 0.14 * number + rng.normal(0, 0.02))
        far = ((x - at[0]) / 0.05) ** 2 + ((y - at[1]) / 0.05) ** 2
        picture = picture + height * np.exp(-0.5 * far)
    gain, offset, noise = ORGANS[scene.organ]
    return exposed(picture, rng, gain=rng.normal(gain, 0.03), offset=offset, noise=noise)


def questions(scene: Scene, rng: np.random.Generator) -> list[tuple[str, str | int, str]]:
    """(question, answer, question type), in random order; a number may be an integer, as in the real files."""
    organ = {"CHEST": "chest", "HEAD": "head", "ABD": "abdomen"}
    yes = "yes" if rng.random() < 0.7 else "Yes"
    found: list[tuple[str, str | int, str]] = [
        ("Is there a lesion?", yes if scene.spot else "no", "PRES"),
        ("Is a bright spot visible?", yes if scene.spot == "bright" else "No ", "PRES"),
        ("Is the lesion on the left side of the picture?", yes if scene.spot and scene.side == "left" else "no", "POS"),
        ("Which part of the body is shown?", organ[scene.organ], "ORGAN"),
        ("What kind of imaging is this?", MODALITY[scene.organ], "MODALITY"),
    ]
    if scene.spot:
        found += [
            ("On which side of the picture is the lesion?", f"{scene.side} side", "POS"),
            ("How many lesions are there?", scene.count, "COUNT"),
            ("Is the lesion brighter or darker than its surroundings?", f"{scene.spot}er", "ATTRIB"),
        ]
    if scene.organ == "CHEST":
        found += [(question, yes if there else "no", "PRES") for question, there in sign_questions(scene.signs, rng)]
    order = rng.permutation(len(found)).tolist()
    return [found[number] for number in order]


def sign_questions(signs: frozenset[str], rng: np.random.Generator) -> list[tuple[str, bool]]:
    """Is there each sign of radiographs, asked by one of its names as the last word; and whether it is there."""
    asked = {name: str(rng.choice(sign.names)) for name, sign in SIGNS.items() if sign.modality == "image"}
    return [(f"Is there {_BEFORE.get(word, '')}{word}?", name in signs) for name, word in asked.items()]
