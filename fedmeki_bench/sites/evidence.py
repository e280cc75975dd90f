"""Whether the statistics of series on a card are those of the samples at sites, from sums and counts of each site.

The card's mean, standard deviation and median of every variable standardise series and fill gaps. They were computed
where the data were prepared. No site can see whether they hold, since its samples are only some of them; together they
can, without a row that moves: each tells how many values it has charted, their sum, the sum of their squared distances
from the card's mean, and how many lie below the card's median and how many do not lie above it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fedmeki_bench.data.holdings import spread

if TYPE_CHECKING:
    from fedmeki_bench.data.cohort import Cohort

_NAMES = {"median", "mean", "sd"}
_TOLERANCE = 1e-9
"""Relative difference that two orders of one sum, in float64, may have."""

Evidence = Mapping[str, Sequence[float]]
"""``n``, ``total``, ``squares``, ``below`` and ``within``, a number per variable."""


def evidence_of(cohort: Cohort) -> dict[str, dict[str, list[float]]]:
    """Modality -> what this site's private samples say of the card's statistics of series."""
    found = {}
    rows = cohort.part("client").rows
    for modality, facts in _series(cohort).items():
        first, count = (column[rows] for column in cohort.rows(modality))
        values = np.asarray(cohort.array(modality)[spread(first, count)], dtype=np.float64)
        values = values.reshape(-1, values.shape[-1])
        mean, median = np.asarray(facts["mean"]), np.asarray(facts["median"])
        charted = ~np.isnan(values)
        found[modality] = {
            "n": charted.sum(0).tolist(),
            "total": np.nansum(values, 0).tolist(),
            "squares": np.nansum((values - mean) ** 2, 0).tolist(),
            "below": (values < median).sum(0).tolist(),
            "within": (values <= median).sum(0).tolist(),
        }
    return found


def contradiction(cohort: Cohort, sites: Sequence[Mapping[str, Evidence]]) -> str:
    """In what the card contradicts what the sites say together, in words; empty if in nothing.

    Args:
        cohort: of the server, which has the card and no private sample.
        sites: what :func:`evidence_of` gave at each.
    """
    for modality, facts in _series(cohort).items():
        n, total, squares, below, within = (
            np.sum([np.asarray(site[modality][name]) for site in sites], axis=0)
            for name in ("n", "total", "squares", "below", "within")
        )
        there = n > 0
        mean, sd = np.asarray(facts["mean"]), np.asarray(facts["sd"])
        count = np.maximum(n, 1)
        scale = np.maximum(np.abs(mean), sd)
        found = np.sqrt(squares / count)
        wrong = {
            "mean": there & (np.abs(total / count - mean) > _TOLERANCE * scale),
            "standard deviation": there & (found > 1e-12) & (np.abs(found - sd) > _TOLERANCE * scale),
            "median": there & ~((2 * below <= n) & (2 * within >= n)),
        }
        for what, where in wrong.items():
            if where.any():
                return f"the {what} of variable {int(np.flatnonzero(where)[0])} of {modality}"
    return ""


def _series(cohort: Cohort) -> dict[str, Mapping[str, Any]]:
    """Modality -> statistics on the card, of series."""
    return {
        modality: facts for modality, facts in cohort.card.get("statistics", {}).items()
        if isinstance(facts, dict) and facts.keys() >= _NAMES
    }  # fmt: skip
