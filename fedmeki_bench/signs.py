"""The vocabulary of the synthetic stand-ins: primitive signs, and what is called by which name because of them.

Every stand-in draws its samples from these signs, each there or not by itself; every label is a stated function of
them (:class:`Finding`), and the text that the foundation model ``tiny`` is pre-trained on calls them by these names. So
the right answer to every zero-shot question about a stand-in is known (docs/world.md). None of it is medicine.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sign:
    """Something a sample shows or doesn't, independently of every other sign.

    Attributes:
        modality: in which samples it can occur.
        prevalence: how often it is there; a site may multiply this.
        names: what a report calls it, each a word or ends in one that no other name ends in.
    """

    modality: str
    prevalence: float
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """What a label means: true where one of ``any_of`` is there and all of ``all_of`` are.

    Attributes:
        names: what a report or a question calls it.
        any_of: signs of which one suffices; empty for no condition.
        all_of: signs that must all be there.
    """

    names: tuple[str, ...]
    any_of: tuple[str, ...] = ()
    all_of: tuple[str, ...] = ()

    def holds(self, present: Iterable[str]) -> bool:
        """Whether a sample with these signs has it."""
        there = set(present)
        return (not self.any_of or bool(there & set(self.any_of))) and there >= set(self.all_of)

    @property
    def signs(self) -> tuple[str, ...]:
        """Every sign it depends on."""
        return (*self.any_of, *self.all_of)


SIGNS: dict[str, Sign] = {
    "patch": Sign("image", 0.40, ("consolidation", "infiltrate")),
    "haze": Sign("image", 0.40, ("haze", "glass")),
    "level": Sign("image", 0.25, ("level", "meniscus")),
    "wide": Sign("image", 0.40, ("widening", "mediastinum")),
    "early": Sign("signal", 0.35, ("ectopy", "extrasystoles")),
    "sagging": Sign("signal", 0.10, ("depression", "ischemia")),
    "static": Sign("signal", 0.25, ("noise", "interference")),
    "drift": Sign("signal", 0.25, ("drift", "wander")),
    "shock": Sign("clinical", 0.35, ("shock", "hypotension")),
    "infection": Sign("clinical", 0.40, ("infection", "bacteria")),
}
"""Sign -> what it is; the first four in radiographs, four in ECGs, two in intensive care stays."""

FINDINGS: dict[str, Finding] = {
    "lung_opacity": Finding(("opacity",), any_of=("patch",)),
    "covid19": Finding(("covid",), any_of=("haze",)),
    "ecg_abnormal": Finding(("abnormality",), any_of=("early", "sagging")),
    "mortality": Finding(("death",), any_of=("shock",)),
    "atelectasis": Finding(("atelectasis",), any_of=("patch",)),
    "pleural_effusion": Finding(("effusion",), any_of=("patch", "level")),
    "enlarged_cardiomediastinum": Finding(("enlargement",), any_of=("wide",)),
    "ectopic_beats": Finding(("beats",), any_of=("early",)),
    "sepsis": Finding(("sepsis",), all_of=("infection", "shock")),
}
"""Task -> its label as a function of signs. The first four are trained on, the others asked zero-shot."""
