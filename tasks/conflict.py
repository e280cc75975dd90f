"""The made-up tasks of the board ``conflict``: one question, two contexts, opposite answers.

In the ward yes means that a picture shows the sign that is asked for, before surgery that it is clear of it. Picture
and prompt do not tell the context: only the task's description does, which a gate alone reads. So a model without
routing can answer the two tasks of a conflicting pair no better than a coin: same score, opposite label, and on
the same pictures their AUROCs add up to 1.

Of the eight tasks trained on, two are *single* (a name asked in one context only), two have a *new word* (shadow: disk
or ring; streak: bar or cross; words that ``tiny`` has never read), four are two *conflicting* pairs. Ten zero-shot
tasks ask by the other name that ``tiny`` knows for the sign, or by a name in the context in which it was never trained.
"""

from __future__ import annotations

from typing import ClassVar

from fedmeki_bench.api import Clinical, Exclude, Row, Task, TaskMeta

WARD, SURGERY = "ward", "surgery"
_CONTEXTS = {
    WARD: "In the ward yes means that a picture shows it",
    SURGERY: "Before surgery yes means that a picture is clear of it",
}
SIGNS = {
    "nodule": ("disk",), "tumor": ("disk",), "cavity": ("ring",), "abscess": ("ring",), "band": ("bar",),
    "collapse": ("bar",), "cross": ("cross",), "fracture": ("cross",), "shadow": ("disk", "ring"),
    "streak": ("bar", "cross"),
}  # fmt: skip
"""Name -> signs of which one suffices."""

_TESTED = "ward_cavity"
"""Zero-shot tasks are asked about the pictures of this task's test split."""


class Conflict(Task):
    """Is a sign there (ward), or is a picture clear of it (surgery)? A subclass names context and sign."""

    asked: ClassVar[str]

    def label(self, row: Row) -> int | Exclude:
        """1 where one of the signs is there in the ward, or none is before surgery."""
        if row["task"] != (self.meta.name if self.meta.role == "training" else _TESTED):
            return Exclude("a picture for another task")
        if row["surplus"]:
            return Exclude("more than the options public and private allow")
        there = any(row[sign] for sign in SIGNS[self.asked])
        return int(there == (self.meta.context == WARD))

    def prompt(self, question: str) -> str:
        """The same in both contexts."""
        return f"Above is a radiological picture. Yes or no, {question}"


def _meta(context: str, name: str, trained_by: str = "") -> TaskMeta:
    return TaskMeta(
        name=f"{context}_{name}",
        version=1,
        title=f"{_CONTEXTS[context]}: {name}",
        dataset="conflict",
        modalities=("image",),
        kind="binary",
        role="zero_shot" if trained_by else "training",
        clinical=Clinical(
            what=f"{_CONTEXTS[context]}: {name}",
            who="nobody: the pictures are made up",
            when="never",
        ),
        licence="CC0 1.0",
        access="made up: fedmeki-bench synth conflict",
        citation="none: made up for this benchmark",
        grouping="picture",
        positive="the sign is there" if context == WARD else "the picture is clear of the sign",
        asks=f"is there {name}",
        trained_by=trained_by,
        context=context,
        metrics=("auroc",),
    )


class WardCavity(Conflict):
    """Trained: cavity, in the ward."""

    asked = "cavity"
    meta = _meta(WARD, "cavity")


class WardShadow(Conflict):
    """Trained: shadow, in the ward."""

    asked = "shadow"
    meta = _meta(WARD, "shadow")


class WardNodule(Conflict):
    """Trained: nodule, in the ward."""

    asked = "nodule"
    meta = _meta(WARD, "nodule")


class WardBand(Conflict):
    """Trained: band, in the ward."""

    asked = "band"
    meta = _meta(WARD, "band")


class SurgeryFracture(Conflict):
    """Trained: fracture, before surgery."""

    asked = "fracture"
    meta = _meta(SURGERY, "fracture")


class SurgeryStreak(Conflict):
    """Trained: streak, before surgery."""

    asked = "streak"
    meta = _meta(SURGERY, "streak")


class SurgeryNodule(Conflict):
    """Trained: nodule, before surgery."""

    asked = "nodule"
    meta = _meta(SURGERY, "nodule")


class SurgeryBand(Conflict):
    """Trained: band, before surgery."""

    asked = "band"
    meta = _meta(SURGERY, "band")


class WardAbscess(Conflict):
    """Zero-shot: abscess, in the ward."""

    asked = "abscess"
    meta = _meta(WARD, "abscess", "ward_cavity")


class SurgeryCross(Conflict):
    """Zero-shot: cross, before surgery."""

    asked = "cross"
    meta = _meta(SURGERY, "cross", "surgery_fracture")


class WardTumor(Conflict):
    """Zero-shot: tumor, in the ward."""

    asked = "tumor"
    meta = _meta(WARD, "tumor", "ward_nodule")


class WardCollapse(Conflict):
    """Zero-shot: collapse, in the ward."""

    asked = "collapse"
    meta = _meta(WARD, "collapse", "ward_band")


class SurgeryTumor(Conflict):
    """Zero-shot: tumor, before surgery."""

    asked = "tumor"
    meta = _meta(SURGERY, "tumor", "surgery_nodule")


class SurgeryCollapse(Conflict):
    """Zero-shot: collapse, before surgery."""

    asked = "collapse"
    meta = _meta(SURGERY, "collapse", "surgery_band")


class SurgeryCavity(Conflict):
    """Zero-shot: cavity, before surgery."""

    asked = "cavity"
    meta = _meta(SURGERY, "cavity", "ward_cavity")


class SurgeryAbscess(Conflict):
    """Zero-shot: abscess, before surgery."""

    asked = "abscess"
    meta = _meta(SURGERY, "abscess", "ward_cavity")


class WardFracture(Conflict):
    """Zero-shot: fracture, in the ward."""

    asked = "fracture"
    meta = _meta(WARD, "fracture", "surgery_fracture")


class WardCross(Conflict):
    """Zero-shot: cross, in the ward."""

    asked = "cross"
    meta = _meta(WARD, "cross", "surgery_fracture")
