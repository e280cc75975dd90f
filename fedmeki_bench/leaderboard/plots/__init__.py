"""Pictures of a board's page, drawn by matplotlib in the page's own colours."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fedmeki_bench.leaderboard.plots import (
    before_after,
    convergence,
    differences,
    overview,
    places,
    routing,
    sites,
    traffic,
)
from fedmeki_bench.leaderboard.plots.theme import Picture

if TYPE_CHECKING:
    from fedmeki_bench.leaderboard.page import Page
    from fedmeki_bench.leaderboard.section import Section

PLOTS: tuple[Callable[[Page, Section], list[Picture]], ...] = (
    places.draw, differences.draw, convergence.draw, traffic.draw, sites.draw, before_after.draw, routing.draw,
)  # fmt: skip
"""In the order of the page; each gives no picture where its section has nothing to show."""

__all__ = ["PLOTS", "Picture", "overview"]
