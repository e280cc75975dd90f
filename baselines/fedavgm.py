"""FedAvgM: the clients' mean change is a gradient for SGD with momentum on the server.

Hsu, Qi, Brown, "Measuring the Effects of Non-Identical Data Distribution for Federated Visual Classification",
arXiv:1909.06335, 2019: v <- beta v + Delta w, w <- w - v, where Delta w points from the new mean to w. The
paper has no step size of the server's; ``server_lr`` scales the step, as later work does.
"""

from __future__ import annotations

from pydantic import Field

from fedmeki_bench.api import Rule


class FedAvgMParams(Rule.Params):
    """Parameters of FedAvgM."""

    beta: float = Field(0.9, ge=0, lt=1, description="momentum of the server; the paper's, which also tries 0 to 0.997")
    server_lr: float = Field(1.0, gt=0, description="scale of the server's step; 1 is the paper")


class FedAvgM(Rule[FedAvgMParams]):
    """FedAvg's local training, then a step of the server with momentum."""

    title = "FedAvgM"
    paper = "Hsu et al., arXiv:1909.06335, 2019"
    assumes = {"optimizer": "sgd"}
    neutral = {"beta": 0.0, "server_lr": 1.0}
    neutral_bitwise = False  # x + (mean - x) rounds where FedAvg takes the mean itself

    def aggregate(self, server, updates):
        velocity = server.memory.setdefault("velocity", server.model.zeros(buffers=False))
        step = server.mean_change(updates)
        for unit in step.units:  # units that nobody trained keep their velocity
            change, v = step.segment(unit), velocity.segment(unit)
            change.copy_(v.mul_(self.params.beta).add_(change))
        server.apply(step, self.params.server_lr)
