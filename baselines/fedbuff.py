"""FedBuff: the server makes a step as soon as a few clients have come back, however old the models they started from.

Nguyen, Malik, Zhan, Yousefpour, Rabbat, Malek, Huba, "Federated Learning with Buffered Asynchronous Aggregation",
AISTATS 2022, Algorithm 1 and section 5 (staleness scaling). The paper averages the K changes evenly; here they are
weighted by samples, as the board's other rows are, and evenly under ``weighting=uniform``.
"""

from __future__ import annotations

from pydantic import Field

from fedmeki_bench.api import Mean, Rule


class FedBuffParams(Rule.Params):
    """Parameters of FedBuff."""

    buffer: int = Field(
        2, ge=1, le=100_000, description="K, updates per step of the server; the paper's 10 is of thousands of clients"
    )
    server_lr: float = Field(1.0, gt=0, description="the server's step size eta_g; tuned in the paper")


class FedBuff(Rule[FedBuffParams]):
    """Asynchronous averaging of changes, the old ones scaled down."""

    title = "FedBuff"
    paper = "Nguyen et al., AISTATS 2022, Algorithm 1"
    assumes = {"optimizer": "sgd"}

    @property
    def buffer(self):
        return self.params.buffer

    def aggregate(self, server, updates):
        mean = Mean(server.model.zeros(buffers=False))
        for update in server.changes(updates):
            scale = (1 + update.staleness) ** -0.5  # section 5: s(tau) = 1 / sqrt(1 + tau)
            mean.add(update.change * scale, update.share)
        server.apply(mean.value.restrict(mean.clients), self.params.server_lr)  # line 12
