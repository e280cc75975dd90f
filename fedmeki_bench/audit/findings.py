"""What a check says, and the pairs of samples it depends on."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import pandas as pd

Level = Literal["ok", "note", "leak"]
_EXAMPLES = 6


@dataclass(frozen=True)
class Example:
    """A pair of samples that a finding depends on: (cohort, sample id, array row) twice, and how alike they are."""

    left: tuple[str, str, int]
    right: tuple[str, str, int]
    correlation: float | None = None


@dataclass(frozen=True)
class Finding:
    """One thing the audit looked at.

    Attributes:
        check: which check.
        cohorts: what it concerns.
        level: ok, note (a reader should know) or leak (a number would be too good).
        text: one sentence.
        facts: the numbers behind it.
        examples: pairs to look at.
    """

    check: str
    cohorts: tuple[str, ...]
    level: Level
    text: str
    facts: dict[str, Any] = field(default_factory=dict)
    examples: tuple[Example, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def examples_of(rows: pd.DataFrame) -> tuple[Example, ...]:
    """The first few pairs of a table with ``cohort``, ``sample_id`` and ``array_row``, each ``_l`` and ``_r``."""
    found = []
    for row in rows.head(_EXAMPLES).to_dict("records"):
        sides = [(str(row[f"cohort{s}"]), str(row[f"sample_id{s}"]), int(row[f"array_row{s}"])) for s in ("_l", "_r")]
        alike = row.get("correlation")
        found.append(Example(sides[0], sides[1], None if alike is None else round(float(alike), 5)))
    return tuple(found)
