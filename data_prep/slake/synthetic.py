"""A synthetic stand-in for SLAKE in its raw layout: the pictures of the VQA-RAD stand-in, asked in two languages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fedmeki_bench.api import generator, write_marker

from ..vqa_rad.synthetic import DIFFICULTY, MODALITY, draw, draw_scene, sign_questions
from .layout import IMAGES, PARTS

GENERATOR_VERSION = 2
_SHARES = {"train": 0.5, "valid": 0.1, "test": 0.4}  # of the pictures; more test than in the release, to be of use
_NAMES = {"x-ray": "X-Ray", "MRI": "MRI", "CT": "CT"}
_PLACES = {"CHEST": ("Lung", "胸部"), "HEAD": ("Brain_Tissue", "头部"), "ABD": ("Abdomen", "腹部")}


def write(out: Path, *, size: int, seed: int, side: int = 128) -> None:
    """Write ``size`` questions, almost half of them Chinese, below ``out``; the same seed gives the same bytes.

    Raises:
        ValueError: ``size`` is below 8 or ``side`` below 32.
    """
    from PIL import Image

    if size < 8 or side < 32:
        raise ValueError(f"size must be at least 8 and side at least 32, not {size} and {side}")
    files: dict[str, list[dict[str, Any]]] = {part: [] for part in PARTS}
    picture = done = 0
    while done < size:
        rng = generator(seed, "synthesize", "slake", picture)
        scene = draw_scene(rng)
        # the first picture is a test picture: even a tiny stand-in has a sample
        # and each language is divided by itself, so that only one language alone keeps images apart
        parts = {
            language: "test" if picture == 0 else str(rng.choice(list(_SHARES), p=list(_SHARES.values())))
            for language in ("en", "zh")
        }
        folder = out / IMAGES / f"xmlab{picture}"
        folder.mkdir(parents=True)
        Image.fromarray(draw(scene, side, rng)).save(folder / "source.jpg", quality=90)
        modality, (place, chinese) = MODALITY[scene.organ], _PLACES[scene.organ]
        abnormal = bool(scene.spot or scene.signs)
        asked = [
            ("en", "What modality is used to take this image?", _NAMES[modality], "Modality"),
            ("zh", "这是什么部位?", chinese, "Position"),
            ("en", "Is the organ in this image abnormal?", "Yes" if abnormal else "No", "Abnormality"),
            ("zh", "图像中有异常吗?", "有" if abnormal else "没有", "Abnormality"),
            ("en", "Which part of the body does this image show?", place.replace("_Tissue", ""), "Position"),
            ("zh", "病变在哪一侧?", ("左" if scene.side == "left" else "右") if scene.spot else "无", "Position"),
            ("en", "How many lesions does the image show?", str(scene.count), "Quantity"),
            ("zh", "图像的模态是什么?", _NAMES[modality], "Modality"),
        ]
        if scene.organ == "CHEST":
            signs = sign_questions(scene.signs, rng)
            asked += [("en", text, "Yes" if there else "No", "Abnormality") for text, there in signs]
        for language, question, answer, content in asked[: size - done]:
            files[parts[language]].append({
                "img_id": picture, "img_name": f"xmlab{picture}/source.jpg", "question": question, "answer": answer,
                "q_lang": language, "location": place, "modality": _NAMES[modality],
                "answer_type": "CLOSED" if answer in {"Yes", "No", "有", "没有"} else "OPEN",
                "base_type": "vqa", "content_type": content, "triple": ["vhead", "_", "_"], "qid": done,
            })  # fmt: skip
            done += 1
        picture += 1
    for part, names in PARTS.items():
        (out / names[0]).write_text(json.dumps(files[part], ensure_ascii=False, indent=2), encoding="utf-8")
    write_marker(out, dataset="slake", generator=GENERATOR_VERSION, size=size, seed=seed, difficulty=DIFFICULTY)
