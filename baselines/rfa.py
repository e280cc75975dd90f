"""RFA: the geometric median of the clients' models in place of their mean.

Pillutla, Kakade, Harchaoui, "Robust Aggregation for Federated Learning", IEEE Transactions on Signal Processing 70,
2022, Algorithm 2 (the smoothed Weiszfeld algorithm), begun from the weighted mean.

The paper's median is of whole models. With several tasks there is one for each group of tasks that share units, as far
as the same clients trained them. Batch-norm statistics belong to the vectors: a mean with other weights keeps variances
positive. A model that is not finite is infinitely far from all others and has no weight.
"""

from __future__ import annotations

from pydantic import Field

from fedmeki_bench.api import Rule


class RFAParams(Rule.Params):
    """Parameters of RFA."""

    iterations: int = Field(3, ge=1, le=10_000, description="passes of the Weiszfeld algorithm; the paper's")
    nu: float = Field(1e-6, gt=0, description="smoothing: no distance counts as smaller; the paper's; large is FedAvg")


class RFA(Rule[RFAParams]):
    """The geometric median of the clients' models, weighted by samples."""

    title = "RFA"
    paper = "Pillutla et al., IEEE TSP 2022, Algorithm 2"
    neutral = {"nu": 1e6}
    neutral_bitwise = False  # weights are normalised once more

    def aggregate(self, server, updates):
        server.combine(updates, self.median)

    def median(self, stack):
        """z that minimises the weighted sum of distances to the models."""
        finite = stack.models.isfinite().all(dim=1)
        models, alpha = stack.models.where(finite.unsqueeze(1), 0.0), stack.shares * finite
        z = (alpha / alpha.sum()) @ models
        for _ in range(self.params.iterations):
            beta = alpha / (models - z).norm(dim=1).clamp(min=self.params.nu)
            z = (beta / beta.sum()) @ models
        return z
