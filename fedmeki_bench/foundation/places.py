"""Where a prompt wants the soft tokens of a sample: ``<image>`` in its text, or ``<image 2>`` for the second one.

Any modality can be placed by its name, anywhere, and the same one more than once. What a prompt does not place comes
first. A mark that names no modality (``<b>``) is text like any other.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from fedmeki_bench.errors import InputError
from fedmeki_bench.task import Task


@dataclass(frozen=True, slots=True)
class Place:
    """The soft tokens of one array of a sample: its modality, and which one of that modality, from 1."""

    modality: str
    number: int = 1

    def __str__(self) -> str:
        return f"<{self.modality}>" if self.number == 1 else f"<{self.modality} {self.number}>"


Laid = tuple[str | Place, ...]
"""A prompt cut at its marks, in order; empty texts are left out."""


def places_of(modalities: Iterable[str], many: Mapping[str, int]) -> tuple[Place, ...]:
    """What samples with these modalities have to place: up to ``many`` arrays of each, or one."""
    return tuple(Place(modality, k) for modality in modalities for k in range(1, many.get(modality, 1) + 1))


def laid(prompt: str, there: Collection[Place], known: Iterable[str], task: str) -> Laid:
    """A prompt cut at its marks; of one without marks the prompt alone.

    Args:
        prompt: what the task asks, marks included.
        there: what a sample of the task can have.
        known: names of further modalities, whose marks would be mistakes here and no text.
        task: what to call the task in an error.

    Raises:
        InputError: a mark names a modality that the task does not have, or a number beyond what a sample has.
    """
    if "<" not in prompt:
        return (prompt,)
    found: list[str | Place] = []
    end = 0
    for mark in _marks(frozenset({place.modality for place in there}.union(known))).finditer(prompt):
        place = Place(mark["modality"], int(mark["number"] or 1))
        if place not in there:
            raise InputError(_not_there(mark.group(), place, there, task))
        found += [prompt[end : mark.start()], place]
        end = mark.end()
    return tuple(part for part in (*found, prompt[end:]) if part != "") if found else (prompt,)


def check_marks(task: Task, questions: Iterable[str], known: Iterable[str], many: Mapping[str, int]) -> None:
    """Refuse marks that the task can't fill before anything is trained.

    Args:
        task: whose prompts are looked at.
        questions: what is asked.
        known: see :func:`laid`.
        many: modality -> how many arrays of it a sample may have.

    Raises:
        InputError: see :func:`laid`.
    """
    there, known = places_of(task.meta.arrays, many), frozenset(known)
    for question in dict.fromkeys(questions):
        laid(task.ask(question), there, known, task.meta.name)


def _not_there(mark: str, place: Place, there: Collection[Place], task: str) -> str:
    has = ", ".join(str(place) for place in there) or "none"
    of_it = sum(place.modality == other.modality for other in there)
    why = f"a sample has at most {of_it} of that modality" if of_it else f"the task has no modality {place.modality!r}"
    return f"the prompt of task {task!r} places {mark}, but {why}; what it can place: {has}"


@lru_cache(maxsize=64)
def _marks(modalities: frozenset[str]) -> re.Pattern[str]:
    names = "|".join(re.escape(name) for name in sorted(modalities, key=len, reverse=True))
    return re.compile(rf"<(?P<modality>{names})(?: (?P<number>[0-9]{{1,6}}))?>" if names else r"(?!)")
