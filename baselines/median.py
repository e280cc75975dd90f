"""Coordinate-wise median and trimmed mean: no few clients can move a weight as far as they like.

Yin, Chen, Kannan, Bartlett, "Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates", ICML 2018,
Algorithm 1, Options I and II (Definitions 1 and 2). The paper's workers send gradients; here, as in FedAvg, clients
send models that they have trained. Clients count alike, as in the paper; batch-norm statistics are combined as weights
are. A value that is not a number counts as the largest.
"""

from __future__ import annotations

from pydantic import Field

from fedmeki_bench.api import Rule


class Median(Rule):
    """The median of the clients' models, weight by weight."""

    title = "Median"
    paper = "Yin et al., ICML 2018, Algorithm 1, Option I"
    counts = "clients"

    def aggregate(self, server, updates):
        server.combine(updates, lambda stack: _middle(stack.models, (len(stack.clients) - 1) // 2))


class TrimmedMeanParams(Rule.Params):
    """Parameters of the trimmed mean."""

    trim: float = Field(
        0.2, ge=0, lt=0.5, description="beta, share of the values cut off at each end, rounded down to whole clients; "
        "should be the share of clients that may be faulty; not tuned here"
    )  # fmt: skip


class TrimmedMean(Rule[TrimmedMeanParams]):
    """The mean of the clients' models without the largest and smallest values, weight by weight."""

    title = "Trimmed mean"
    paper = "Yin et al., ICML 2018, Algorithm 1, Option II"
    counts = "clients"

    def aggregate(self, server, updates):
        server.combine(updates, lambda stack: _middle(stack.models, int(self.params.trim * len(stack.clients) + 1e-9)))


def _middle(models, cut):
    """The mean of what is left when the ``cut`` smallest and largest of each column are gone."""
    return models.sort(dim=0).values[cut : len(models) - cut].mean(dim=0)
