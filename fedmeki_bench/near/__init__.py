"""Near-duplicates: samples that are one recording or picture under two names, changed a little on the way.

One search per modality (:data:`SEARCHES`), each in two steps: a fingerprint that survives the changes is compared with
all others by matrix products, in blocks; the few pairs that remain are laid over each other and correlated. Thresholds
stand between what changed copies keep and what different patients reach; both are measured in ``docs/audit.md``.
"""

from __future__ import annotations

from fedmeki_bench.near.pictures import PictureSearch
from fedmeki_bench.near.prints import Pairs, Prints, Search, joined_groups
from fedmeki_bench.near.series import SeriesSearch
from fedmeki_bench.near.signals import SignalSearch

__all__ = ["SEARCHES", "SEARCH_VERSION", "Pairs", "Prints", "Search", "joined_groups"]

SEARCHES: dict[str, Search] = {"image": PictureSearch(), "signal": SignalSearch(), "clinical": SeriesSearch()}
"""Modality -> how to find its near-duplicates."""

SEARCH_VERSION = 1
"""Raised whenever a search finds other pairs: ``prepare`` then looks again where it had looked before."""
