"""Pure functions on plain numbers: what may be said about a handful of seeds."""

from fedmeki_bench.statistics.seeds import SeedSummary, summarise_seeds

__all__ = ["SeedSummary", "summarise_seeds"]
