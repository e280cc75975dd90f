"""Files, columns and names of SLAKE as it is released: what the preparer reads and the stand-in writes."""

from __future__ import annotations

IMAGES = "imgs"
# official part -> names of its file in the wild
PARTS = {"train": ("train.json",), "valid": ("validate.json", "validation.json"), "test": ("test.json",)}
