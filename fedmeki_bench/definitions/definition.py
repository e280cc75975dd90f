"""What defines a task without Python: plain values, checked; and reading them from ``task.yaml``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from fedmeki_bench.bounded import first_problem, regular_text
from fedmeki_bench.errors import InputError, UsageError, nearest
from fedmeki_bench.kinds.kind import LabelSpec, kind
from fedmeki_bench.task import ROLES, TEXT

FILE = "task.yaml"
UNKNOWN = "not stated"

_LARGEST = 1_000_000  # bytes
_Line = Annotated[str, Field(max_length=2000)]
_Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,60}$")]


class Definition(BaseModel):
    """A task over a table of samples; everything but name and kind can stay unsaid, and the card says what does."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: _Name = Field(description="what the task is called on the command line and on boards")
    kind: str = Field(description="what a label is: binary, multiclass, ordinal, multilabel, ...")
    title: _Line = Field("", description="its name for readers; the name if blank")
    role: Literal["training", "zero_shot"] = Field("training", description="whether clients train on it")
    modalities: tuple[str, ...] = Field((), description="what a sample can have, from the table's columns if blank")
    classes: tuple[_Line, ...] = Field((), description="classes, levels from the lowest, or findings")
    unit: _Line = Field("", description="of a number")
    question: _Line = Field("", description="what the foundation model is asked, e.g. 'is there a nodule'")
    shown: _Line = Field("", description="what the prompt says of the sample, e.g. 'a CT of the chest'")
    positive: _Line = Field("", description="what label 1 means")
    who: _Line = Field("", description="the patients")
    when: _Line = Field("", description="the moment of care")
    licence: _Line = Field("", description="of the data")
    access: _Line = Field("", description="how others get the data")
    citation: _Line = Field("", description="of the data")

    @field_validator("kind")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            kind(value)
        except UsageError as error:
            raise ValueError(str(error)) from None
        return value

    @model_validator(mode="after")
    def _whole(self) -> Definition:
        how = self.labels.how
        if self.classes and not how.classed:
            raise ValueError(f"a task of kind {self.kind} has no classes")
        if len(set(self.classes)) < len(self.classes) or not all(name.strip() for name in self.classes):
            raise ValueError("classes have to be different names")
        if self.role == ROLES[0] and not how.labelled:
            raise ValueError(
                f"a task of kind {self.kind} has answers and no labels, so clients can't train on it: role zero_shot"
            )
        return self

    @property
    def labels(self) -> LabelSpec:
        """What its labels are."""
        return LabelSpec(self.kind, self.classes, self.unit)

    @property
    def arrays(self) -> tuple[str, ...]:
        """Its modalities without text."""
        return tuple(modality for modality in self.modalities if modality != TEXT)

    @property
    def unsaid(self) -> tuple[str, ...]:
        """What a reader would like to know and is not told."""
        wanted = ("who", "when", "licence", "access", "citation")
        return tuple(name for name in wanted if not getattr(self, name))

    def as_json(self) -> dict[str, Any]:
        """Plain values, as a card holds them."""
        return self.model_dump(mode="json")


def read_definition(path: Path) -> dict[str, Any]:
    """What a ``task.yaml`` says, checked for what is no field at all.

    Raises:
        InputError: it can't be read, is no mapping, or has an unknown field.
    """
    import yaml

    try:
        said = yaml.safe_load(regular_text(path, _LARGEST, "definition of a task"))
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror or error}") from None
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise InputError(f"{path} is no YAML file: {' '.join(str(error).split())[:200]}") from None
    if not isinstance(said, dict):
        raise InputError(
            f"{path} has to hold 'field: value' lines; the fields are {', '.join(Definition.model_fields)}"
        )
    for name in said:
        if name not in Definition.model_fields:
            raise InputError(f"{path} has the unknown field {name!r}; {nearest(str(name), Definition.model_fields)}")
    return said


def checked(said: dict[str, Any], where: str) -> Definition:
    """A definition from plain values.

    Raises:
        InputError: a value is missing or makes no sense; ``where`` they came from begins the sentence.
    """
    try:
        return Definition.model_validate(said)
    except ValidationError as error:
        raise InputError(f"{where}: {first_problem(error)}") from None
