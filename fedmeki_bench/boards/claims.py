"""Claims of a board: what is said of its rows, written so that every point of the board can answer it.

scaffold_m > fedavg_m                                better by mean rank over the board's tasks
fedavg_m_kim >= central - 0.02 on ecg_abnormal       by the main metric of one task, up to so much
best: scaffold_m                                     no other row has a better mean rank
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedmeki_bench.errors import nearest

_ROW = r"[A-Za-z0-9][A-Za-z0-9_-]*"
_CLAIM = re.compile(
    rf"\s*(?P<left>{_ROW})\s*(?P<sign>>=|>)\s*(?P<right>{_ROW})"
    rf"(?:\s*(?P<plus>[+-])\s*(?P<offset>\d*\.?\d+(?:[eE][+-]?\d+)?))?(?:\s+on\s+(?P<task>{_ROW}))?\s*"
)
_EXAMPLES = "as in 'scaffold_m > fedavg_m', 'fedavg_m_kim >= central - 0.02 on ecg_abnormal' or 'best: scaffold_m'"


@dataclass(frozen=True, slots=True)
class Claim:
    """A statement about rows of a board.

    Attributes:
        text: as a person reads it.
        left: the row that is said to be good.
        right: the row it is compared with; empty where it is said to be best.
        offset: in units of the main metric, where higher is better: how much better (positive) than ``right`` it is
            said to be, or how much worse (negative) it may be.
        strict: ``>`` and not ``>=``.
        task: whose main metric decides; empty for all tasks: then the mean rank decides, or, with an offset, the mean
            difference.
    """

    text: str
    left: str
    right: str = ""
    offset: float = 0.0
    strict: bool = True
    task: str = ""

    @property
    def best(self) -> bool:
        """Whether it says that no row is better."""
        return not self.right


def claim_of(entry: Any) -> Claim:
    """A claim as a board writes it.

    Raises:
        ValueError: says what a claim looks like.
    """
    if isinstance(entry, Mapping) and list(entry) == ["best"] and re.fullmatch(_ROW, str(entry["best"])):
        return Claim(f"best: {entry['best']}", str(entry["best"]))
    found = _CLAIM.fullmatch(entry) if isinstance(entry, str) else None
    if found is None:
        raise ValueError(f"{entry!r} is no claim: write one {_EXAMPLES}")
    offset = float((found["plus"] or "") + (found["offset"] or "0"))
    text = " ".join(str(entry).split())
    return Claim(text, found["left"], found["right"], offset, found["sign"] == ">", found["task"] or "")


def check_claim(claim: Claim, rows: Sequence[str], tasks: Sequence[str]) -> None:
    """Refuse a claim about a row or a task that there is not.

    Raises:
        ValueError: names the nearest.
    """
    for row in (claim.left, claim.right):
        if row and row not in rows:
            raise ValueError(f"{row!r} of the claim {claim.text!r} is not among the rows; {nearest(row, rows)}")
    if claim.left == claim.right:
        raise ValueError(f"the claim {claim.text!r} compares a row with itself")
    if claim.task and claim.task not in tasks:
        raise ValueError(f"{claim.task!r} of the claim {claim.text!r} is no task; {nearest(claim.task, tasks)}")
