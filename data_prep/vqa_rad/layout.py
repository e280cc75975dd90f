"""Files, columns and names of VQA-RAD as it is released: what the preparer reads and the stand-in writes."""

from __future__ import annotations

DIVIDED = (("train", "trainset.json"), ("test", "testset.json"))
PUBLIC = "VQA_RAD Dataset Public.json"
