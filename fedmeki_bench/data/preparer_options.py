"""The options that every dataset preparer has."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Split = Literal["patient", "published"]
ZeroShot = Literal["unseen", "all"]


class PreparerOptions(BaseModel):
    """Options every dataset preparer has.

    ``split`` is ``patient`` (the grouping unit never crosses splits) or ``published`` (rows are drawn as in
    the papers, which leaks; every table it reaches is marked). ``join_duplicates`` (with ``split=patient``) keeps
    groups together that hold near-identical samples. ``zero_shot`` concerns zero-shot tasks only:
    ``unseen`` leaves out the groups that training on the same source has seen, ``all`` keeps them and marks the
    card.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    split: Split = Field("patient", description="split by whole patients, or by rows as the papers did")
    split_seed: int = Field(42, ge=0, description="seed of the split")
    join_duplicates: bool = Field(
        True, description="split=patient: groups that hold near-identical samples go to one side"
    )
    zero_shot: ZeroShot = Field(
        "unseen", description="zero-shot tasks: only groups that no training split holds, or all (marked)"
    )


def plain(options: BaseModel) -> dict[str, Any]:
    """Options as JSON values; a path by its file name only, so that no card names one machine's folders."""
    dumped = options.model_dump(mode="json")
    for key in dumped:
        value = getattr(options, key)
        if isinstance(value, Path):
            dumped[key] = value.name
    return dumped
