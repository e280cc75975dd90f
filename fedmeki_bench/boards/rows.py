"""A row of a board: an algorithm by its name, or one with a name, a label and options of its own."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    field_validator,
    model_serializer,
    model_validator,
)

from fedmeki_bench.plain import one_line

Scalar: TypeAlias = bool | int | float | str

RESERVED = ("missing", "failed")
"""What ``sweep --only`` means otherwise: no row may be called so."""

NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,100}$"
"""What boards and rows may be called."""

BY_NAME, IN_DETAIL = "by name", "in detail"
"""The two ways to write a row; they stand in the places of pydantic's errors."""


def _single_or_list(value: Any) -> Any:
    items = value if isinstance(value, list) else [value]
    if not all(isinstance(item, bool | int | float | str) for item in items):
        raise ValueError("an option is a number, a text, true or false, or a list of these")
    return value


OptionValue: TypeAlias = Annotated[Scalar | list[Scalar], BeforeValidator(_single_or_list)]
"""The value of an option of a board or a row."""


class TunedSpec(BaseModel):
    """How some of a row's options were chosen.

    Attributes:
        over: option -> the values that were to be tried.
        trials: how many combinations were.
        split: the one that decided (not ``on``, which YAML reads as true).
        seed: of the trials.
    """

    model_config = ConfigDict(extra="forbid")

    over: dict[str, list[Scalar]] = Field(min_length=1)
    trials: int = Field(ge=1)
    split: Literal["valid"]
    seed: int = Field(default=0, ge=0)

    @property
    def in_words(self) -> str:
        """E.g. ``lr and mu chosen on valid among 6``."""
        names = [key.removeprefix("profile.").removeprefix("rule.") for key in self.over]
        listed = " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
        return f"{listed} chosen on {self.split} among {self.trials}"

    @field_validator("over")
    @classmethod
    def _values(cls, over: dict[str, list[Scalar]]) -> dict[str, list[Scalar]]:
        for key, values in over.items():
            if not values or len(set(values)) < len(values):
                raise ValueError(f"the values of {key} are not one or more different ones")
        return over

    @model_validator(mode="after")
    def _no_more_than_there_are(self) -> TunedSpec:
        if self.trials > (most := math.prod(map(len, self.over.values()))):
            raise ValueError(f"these values make {most} combinations, not {self.trials}")
        return self


class RowSpec(BaseModel):
    """What a board says of a row beyond its algorithm.

    Attributes:
        name: what the row is called in ``reference``, ``questions``, files, ``compare`` and on command lines; by
            default the algorithm's name.
        label: what people read in tables; by default the algorithm's title.
        options: the keys of ``-o``, laid over the board's own.
        tuned: which of them were chosen on `valid`, and among how many, as ``tune --write`` leaves it.
    """

    model_config = ConfigDict(extra="forbid")

    name: str | None = Field(default=None, pattern=NAME)
    label: str | None = Field(default=None, min_length=1, max_length=60)
    options: dict[str, OptionValue] = Field(default_factory=dict)
    tuned: TunedSpec | None = None

    @model_validator(mode="after")
    def _chosen_among_them(self) -> RowSpec:
        for key, values in (self.tuned.over if self.tuned else {}).items():
            if self.options.get(key) not in values:
                raise ValueError(f"{key} is said to be tuned, but options hold none of the values that were tried")
        return self

    @field_validator("name")
    @classmethod
    def _not_reserved(cls, value: str | None) -> str | None:
        if value in RESERVED:
            raise ValueError(f"no row is called {value!r}, which means something else to sweep --only")
        return value

    @field_validator("label")
    @classmethod
    def _one_line(cls, value: str | None) -> str | None:
        if value is not None and (one_line(value) != value or not value.strip()):
            raise ValueError("a label is one line of text")
        return value

    @model_serializer(mode="wrap")
    def _as_written(self, handler: Callable[[RowSpec], dict[str, Any]]) -> dict[str, Any]:
        return {key: value for key, value in handler(self).items() if value not in (None, {})}


@dataclass(frozen=True, slots=True)
class BoardRow:
    """A row as the board gives it.

    Attributes:
        place: of it in ``algorithms``.
        algorithm: the name of what is trained.
        name: what the row is called.
        label: what people read, empty for the algorithm's title.
        options: key of ``-o`` -> value, of this row alone, as the board writes them.
        tuned: how some of them were chosen.
        detailed: whether it is more than a name in the board.
    """

    place: int
    algorithm: str
    name: str
    label: str = ""
    options: tuple[tuple[str, Scalar | list[Scalar]], ...] = ()
    tuned: TunedSpec | None = None
    detailed: bool = False

    @property
    def own(self) -> str:
        """Its own options in words, e.g. ``optimizer sgd, lr 0.05``; those of a stage keep their section."""
        said = ((key, v if isinstance(v, str) else json.dumps(v, ensure_ascii=False)) for key, v in self.options)
        return ", ".join(f"{key.removeprefix('profile.').removeprefix('rule.')} {value}" for key, value in said)


def _either_way(entry: Any) -> Any:
    """Refuse what is neither a name nor one name with a mapping, before its parts are looked at."""
    if isinstance(entry, dict) and (
        len(entry) != 1 or not all(isinstance(value, Mapping | RowSpec) for value in entry.values())
    ):
        raise ValueError("a row is a name, or one name with a mapping, as in `- fedavg_m: {options: {lr: 0.01}}`")
    return entry


def _way(entry: Any) -> str:
    return IN_DETAIL if isinstance(entry, dict) else BY_NAME


Entry: TypeAlias = Annotated[
    Annotated[
        Annotated[str, Tag(BY_NAME)] | Annotated[dict[str, RowSpec], Tag(IN_DETAIL)], Discriminator(_way)
    ],
    BeforeValidator(_either_way),
]  # fmt: skip
"""An entry of a board's ``algorithms``."""


def rows_of(entries: Sequence[str | dict[str, RowSpec]]) -> list[BoardRow]:
    """The rows that the entries of ``algorithms`` mean, in order."""
    found = []
    for place, entry in enumerate(entries):
        if isinstance(entry, str):
            found.append(BoardRow(place, entry, entry))
            continue
        ((algorithm, said),) = entry.items()
        options = tuple(said.options.items())
        name, label = said.name or algorithm, said.label or ""
        found.append(BoardRow(place, algorithm, name, label, options, said.tuned, detailed=True))
    return found
