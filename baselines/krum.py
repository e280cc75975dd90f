"""Krum and multi-Krum: the clients' models that lie closest to most of the others.

Blanchard, El Mhamdi, Guerraoui, Stainer, "Machine Learning with Adversaries: Byzantine Tolerant Gradient Descent",
NeurIPS 2017: the Krum function, and multi-Krum, which averages the m models of best score.

The paper's workers send gradients; here clients send models that they have trained, whose distances are those of their
changes. f is a share of the clients, since fewer may take part or hold a task; it is cut down to what the paper's
2 f + 2 < n allows. With several tasks a choice is made for each group of tasks that share units. Batch-norm statistics
belong to the vectors: they come from the chosen models, too.
"""

from __future__ import annotations

from pydantic import Field
from torch import cdist

from fedmeki_bench.api import Rule


class KrumParams(Rule.Params):
    """Parameters of Krum."""

    byzantine: float = Field(
        0.2, ge=0, lt=0.5, description="share of the clients that may be faulty; f is that many of those taking part, "
        "rounded down, with 2 f + 2 < n; not tuned here"
    )  # fmt: skip


class Krum(Rule[KrumParams]):
    """The one model closest to most others."""

    title = "Krum"
    paper = "Blanchard et al., NeurIPS 2017, Krum"
    counts = "clients"

    def aggregate(self, server, updates):
        server.combine(updates, lambda stack: stack.models[self.scores(stack.models).argmin()])

    def scores(self, models):
        """s(i): the sum of squared distances to the n - f - 2 closest others."""
        n = len(models)
        squares = cdist(models, models, compute_mode="donot_use_mm_for_euclid_dist").square()
        squares = squares.where(squares.isfinite(), float("inf"))  # a faulty model may hold anything
        squares.fill_diagonal_(0.0)
        return squares.sort(dim=1).values[:, 1 : 1 + max(n - self.faulty(n) - 2, 1)].sum(dim=1)

    def faulty(self, n):
        """f of n clients."""
        return max(min(int(self.params.byzantine * n + 1e-9), (n - 3) // 2), 0)


class MultiKrumParams(KrumParams):
    """Parameters of multi-Krum."""

    chosen: int | None = Field(None, ge=1, le=100_000, description="m, models that are averaged; n - f if not given")


class MultiKrum(Krum, Rule[MultiKrumParams]):
    """The mean of the models closest to most others."""

    title = "Multi-Krum"
    paper = "Blanchard et al., NeurIPS 2017, multi-Krum"

    def aggregate(self, server, updates):
        server.combine(updates, lambda stack: stack.models[self.best(stack.models)].mean(dim=0))

    def best(self, models):
        """Which models are averaged, in the clients' order."""
        m = self.params.chosen or len(models) - self.faulty(len(models))
        return self.scores(models).sort(stable=True).indices[:m].sort().values
