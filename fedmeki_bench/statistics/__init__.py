"""Pure functions on plain numbers: what may be said about scores, differences and orders, and how surely."""

from fedmeki_bench.statistics.flips import FlipTest, sign_flip
from fedmeki_bench.statistics.groups import (
    ChanceGap,
    GroupValue,
    Spread,
    age_band_names,
    age_bands,
    by_group,
    chance_gap,
    spread,
)
from fedmeki_bench.statistics.pareto import pareto
from fedmeki_bench.statistics.ranks import RankInterval, mean_ranks, rank_intervals, task_ranks, tied_for_first
from fedmeki_bench.statistics.seeds import SeedSummary, over_seeds, summarise_seeds
from fedmeki_bench.statistics.table import ScoreTable
from fedmeki_bench.statistics.targets import Reached, to_target

__all__ = [
    "ChanceGap",
    "FlipTest",
    "GroupValue",
    "RankInterval",
    "Reached",
    "ScoreTable",
    "SeedSummary",
    "Spread",
    "age_band_names",
    "age_bands",
    "by_group",
    "chance_gap",
    "mean_ranks",
    "over_seeds",
    "pareto",
    "rank_intervals",
    "sign_flip",
    "spread",
    "summarise_seeds",
    "task_ranks",
    "tied_for_first",
    "to_target",
]
