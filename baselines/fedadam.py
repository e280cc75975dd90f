"""FedAdam: the clients' mean change is a gradient for Adam on the server.

Reddi, Charles, Zaheer, Garrett, Rush, Konečný, Kumar, McMahan, "Adaptive Federated Optimization", ICLR 2021,
Algorithm 2 (the FedAdam lines).
"""

from __future__ import annotations

from pydantic import Field

from fedmeki_bench.api import Rule


class FedAdamParams(Rule.Params):
    """Parameters of FedAdam."""

    server_lr: float = Field(
        0.01, gt=0, description="the server's step size eta, about the most a weight moves in a round; tuned in "
        "the paper for clients that train with SGD, set here for Adam, whose local steps are of the size of its lr"
    )  # fmt: skip
    beta1: float = Field(0.9, ge=0, lt=1, description="decay of the mean change m")
    beta2: float = Field(0.99, ge=0, le=1, description="decay of its square v; 1 holds v at tau squared")
    tau: float = Field(1e-3, gt=0, description="degree of adaptivity: smaller adapts more")


class FedAdam(Rule[FedAdamParams]):
    """FedAvg's local training, then an adaptive step of the server on the mean change."""

    title = "FedAdam"
    paper = "Reddi et al., ICLR 2021, Algorithm 2"
    assumes = {"optimizer": "sgd"}
    version = 1
    # beta2 = 1 holds v at tau^2, so the step is server_lr / (2 tau) of the mean change
    neutral = {"server_lr": 1.0, "beta1": 0.0, "beta2": 1.0, "tau": 0.5}
    neutral_bitwise = False  # x + (mean - x) rounds where FedAvg takes the mean itself

    def aggregate(self, server, updates):
        eta, beta1, beta2, tau = (getattr(self.params, n) for n in ("server_lr", "beta1", "beta2", "tau"))
        if "m" not in server.memory:  # v_{-1} = tau^2
            server.memory |= {n: server.model.zeros(buffers=False) for n in "mv"}
            server.memory["v"].flat.fill_(tau**2)
        step = server.mean_change(updates)
        for unit in step.units:  # units that nobody trained keep their state, too
            delta, m, v = (t.segment(unit) for t in (step, server.memory["m"], server.memory["v"]))  # line 10: Delta_t
            m.copy_(beta1 * m + (1 - beta1) * delta)  # line 11
            v.copy_(beta2 * v + (1 - beta2) * delta**2)  # line 14, FedAdam
            delta.copy_(eta * m / (v.sqrt() + tau))  # line 15
        server.apply(step)
