"""MedVQA as training tasks: the questions and answers of VQA-RAD and SLAKE, by picture."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from fedmeki_bench.api import Exclude, Row, TaskMeta

from .medvqa import MedVqa
from .medvqa_slake import MedVqaSlake

_ORGANS = {"head": "head", "chest": "chest", "abd": "abdomen"}
_MODALITIES = {"x-ray": "x-ray", "ct": "CT", "mri": "MRI"}


class MedVqaTrained(MedVqa):
    """The questions of VQA-RAD, whose pictures training then sees; clients learn which organ a picture shows.

    The official division shares all test pictures with training, so the harness's own division is used, by picture.
    """

    meta: ClassVar[TaskMeta] = replace(
        MedVqa.meta, name="medvqa_trained", version=1, title="Medical visual question answering (VQA-RAD), trained",
        role="training", trained_by="", needs="trained", concepts=tuple(_ORGANS.values()),
    )  # fmt: skip

    def concepts(self, row: Row) -> frozenset[str]:
        """The organ, which whoever took the picture knows."""
        organ = _ORGANS.get(str(row["site"]).lower())
        return frozenset() if organ is None else frozenset({organ})


class MedVqaSlakeTrained(MedVqaSlake):
    """The questions about SLAKE's pictures outside its official test part; clients learn modality and organ.

    The test part's pictures are those that ``medvqa_slake`` asks about without having been trained on them.
    """

    meta: ClassVar[TaskMeta] = replace(
        MedVqaSlake.meta, name="medvqa_slake_trained", version=1,
        title="Medical visual question answering (SLAKE), trained", role="training", trained_by="",
        concepts=("x-ray", "CT", "MRI", "abdomen", "chest"),
    )  # fmt: skip

    def answer(self, row: Row) -> str | Exclude:
        """The data set's own answer."""
        if row["picture_split"] == "test":
            return Exclude("the picture is of the official test part, about which medvqa_slake asks")
        return str(row["answer"])

    def concepts(self, row: Row) -> frozenset[str]:
        """The modality, and the part of the body: abdomen, chest, or neither."""
        place = str(row["location"]).lower()
        shown = {_MODALITIES.get(str(row["site"]).lower(), ""), "abdomen" * ("abdomen" in place)}
        shown.add("chest" * any(word in place for word in ("lung", "chest")))
        return frozenset(shown - {""})
