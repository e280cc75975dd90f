"""Places on these tasks that hold together, and which rows may be the best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row stands, and where it may stand.

    Attributes:
        place: 1 + number of rows with a strictly better mean.
        low: best place that is possible: 1 + number of rows that are certainly better.
        high: worst place that is possible: rows - number of rows that are certainly worse.
    """

    place: int
    low: int
    high: int


def places(
    means: Mapping[str, float], certain: Sequence[tuple[str, str]], twins: Mapping[str, str] | None = None
) -> dict[str, Place]:
    """Places of all rows from their means and from the pairs of which one is certainly better.

    If the pairs come from intervals of all differences that hold together with probability 1 - alpha, all places hold
    together with at least that probability (Mogstad, Romano, Shaikh and Wilhelm 2024, section 3), and the rows that may
    be first are a confidence set of the best (Hsu 1981): no row of it is certainly worse than another.

    Args:
        means: row -> the one statistic that orders the table, higher is better.
        certain: (better, worse) pairs of rows.
        twins: row -> the row it is identical with, whose place it shares.
    """
    same = {row: (twins or {}).get(row, row) for row in means}
    better = set(certain)
    found = {}
    for row in means:
        above = sum((same[other], same[row]) in better for other in means)
        below = sum((same[row], same[other]) in better for other in means)
        place = 1 + sum(mean > means[row] for mean in means.values())
        found[row] = Place(place, 1 + above, len(means) - below)
    return found


def may_be_best(found: Mapping[str, Place]) -> tuple[str, ...]:
    """Rows than which none is certainly better, in the order given."""
    return tuple(row for row, place in found.items() if place.low == 1)
