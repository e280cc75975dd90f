"""Pure functions on plain numbers: what may be said about scores, differences and orders, and how surely."""

from fedmeki_bench.statistics.delong import DeLong, delong
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
from fedmeki_bench.statistics.holm import holm
from fedmeki_bench.statistics.normalised import normalised
from fedmeki_bench.statistics.paired import Difference, Paired, paired_difference
from fedmeki_bench.statistics.pareto import pareto
from fedmeki_bench.statistics.ranks import RankInterval, mean_ranks, rank_intervals, task_ranks, tied_for_first
from fedmeki_bench.statistics.resolution import Resolution, resolution
from fedmeki_bench.statistics.seeds import SeedSummary, over_seeds, summarise_seeds
from fedmeki_bench.statistics.swap import swap_test
from fedmeki_bench.statistics.table import ScoreTable
from fedmeki_bench.statistics.targets import Reached, to_target

__all__ = [
    "ChanceGap",
    "DeLong",
    "Difference",
    "FlipTest",
    "GroupValue",
    "Paired",
    "RankInterval",
    "Reached",
    "Resolution",
    "ScoreTable",
    "SeedSummary",
    "Spread",
    "age_band_names",
    "age_bands",
    "by_group",
    "chance_gap",
    "delong",
    "holm",
    "mean_ranks",
    "normalised",
    "over_seeds",
    "paired_difference",
    "pareto",
    "rank_intervals",
    "resolution",
    "sign_flip",
    "spread",
    "summarise_seeds",
    "swap_test",
    "task_ranks",
    "tied_for_first",
    "to_target",
]
