"""Turning ``-o key=value`` pairs into checked options, with one clear sentence when they do not fit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fedmeki_bench.errors import InputError, nearest

Split = Literal["patient", "published"]
Model = TypeVar("Model", bound=BaseModel)


class PreparerOptions(BaseModel):
    """Options every dataset preparer has.

    ``split`` is ``patient`` (the grouping unit never crosses splits) or ``published`` (rows are dealt as in
    the papers, which leaks; every table it reaches is marked).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    split: Split = Field("patient", description="deal whole patients, or rows as the papers did")
    split_seed: int = Field(42, ge=0, description="seed of the split")


def parse_options(model: type[Model], values: Mapping[str, Any], *, of: str = "option") -> Model:
    """Check ``values`` (texts are converted) against ``model``.

    Raises:
        InputError: one sentence naming the first unknown key, with the nearest known ones, or the bad value.
    """
    unknown = [key for key in values if key not in model.model_fields]
    if unknown:
        raise InputError(f"unknown {of} {unknown[0]!r}: {nearest(unknown[0], model.model_fields)}")
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        if not where:
            raise InputError(f"bad {of}s: {first['msg']}") from None
        raise InputError(
            f"{of} {where!r} cannot be {values.get(where)!r}: {_lower_first(first['msg'])}"
        ) from None


def plain(options: BaseModel) -> dict[str, Any]:
    """Options as JSON values; a path by its file name only, so that no card names one machine's folders."""
    dumped = options.model_dump(mode="json")
    for key in dumped:
        value = getattr(options, key)
        if isinstance(value, Path):
            dumped[key] = value.name
    return dumped


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]
