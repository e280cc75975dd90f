"""A stand-in: skin with or without a dark mole on one side, and two questions about each picture."""

from __future__ import annotations

import json

from fedmeki_bench.api import generator

SIDE = 64


def write(out, *, size, seed):
    """Write ``size`` questions and their pictures below ``out``."""
    (out / "pictures").mkdir(parents=True, exist_ok=True)
    items = []
    picture = 0
    while len(items) < size:
        picture += 1
        rng = generator(seed, "synthesize", "skinqa", picture)
        clinic, patient = int(rng.integers(3)), f"patient {picture * 2 // 3}"
        side = ("left", "right", "nowhere")[int(rng.integers(3))]
        _drawn(side, clinic, rng).save(out / "pictures" / f"{picture}.png")
        asked = [
            ("Is there a mole?", "no" if side == "nowhere" else "yes"),
            ("Where is the mole?", side),
        ]
        for question, answer in asked[: size - len(items)]:
            facts = {
                "id": f"q{len(items)}",
                "picture": f"{picture}.png",
                "patient": patient,
                "clinic": f"clinic {clinic}",
            }
            items.append(facts | {"question": question, "answer": answer})
    (out / "questions.json").write_text(json.dumps(items, indent=1), encoding="utf-8")


def _drawn(side, clinic, rng):
    import numpy as np
    from PIL import Image

    skin = rng.normal(150 + 5 * clinic, 12, (SIDE, SIDE))
    if side != "nowhere":
        x, y = rng.integers(10, 22) + (0 if side == "left" else SIDE // 2), rng.integers(14, 50)
        rows, columns = np.mgrid[0:SIDE, 0:SIDE]
        skin[(rows - y) ** 2 + (columns - x) ** 2 < rng.integers(30, 60)] -= 50
    return Image.fromarray(skin.clip(0, 255).astype(np.uint8))
