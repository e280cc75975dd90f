"""The options that every dataset preparer has."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from typing_extensions import Self

from fedmeki_bench.options import later

Split = Literal["patient", "published"]
ZeroShot = Literal["unseen", "all"]


class PreparerOptions(BaseModel):
    """Options every dataset preparer has.

    ``split`` is ``patient`` (the grouping unit never crosses splits) or ``published`` (rows are drawn as in
    the papers, which leaks; every table it reaches is marked). ``join_duplicates`` (with ``split=patient``) keeps
    groups together that hold near-identical samples. ``zero_shot`` concerns zero-shot tasks only:
    ``unseen`` leaves out the groups that training on the same source has seen, ``all`` keeps them and marks the
    card. ``hold_out`` names a site: whoever has a sample there is in the split ``external``, which stands beside the
    test split in every evaluation of a training task.
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
    hold_out: str = later(
        "",
        since="0.2",
        coerce_numbers_to_str=True,
        description="a site whose patients nobody trains or selects on, scored beside the test split",
    )

    @model_validator(mode="after")
    def _whole_patients(self) -> Self:
        if self.hold_out and self.split == "published":
            raise ValueError("hold_out needs split=patient: rows drawn one by one leave a site's patients everywhere")
        return self


def plain(options: BaseModel) -> dict[str, Any]:
    """Options as JSON values; a path by its file name only, so that no card names one machine's folders."""
    dumped = options.model_dump(mode="json")
    for key in dumped:
        value = getattr(options, key)
        if isinstance(value, Path):
            dumped[key] = value.name
    return dumped
