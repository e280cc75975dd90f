"""FedAdagrad, FedAdam and FedYogi: the clients' mean change is a gradient for an adaptive optimiser on the server.

Reddi, Charles, Zaheer, Garrett, Rush, Konečný, Kumar, McMahan, "Adaptive Federated Optimization", ICLR 2021,
Algorithm 2; the three differ in line 14 alone.

The paper tunes the server's step and tau with clients that train with SGD; here the step is set for Adam, whose local
steps are of the size of its lr. beta1, beta2 and tau are the paper's.
"""

from __future__ import annotations

from pydantic import Field

from fedmeki_bench.api import Rule


class AdaptiveParams(Rule.Params):
    """Parameters of the family."""

    server_lr: float = Field(
        0.01, gt=0, description="the server's step size eta, about the most a weight moves in a round; tuned in "
        "the paper for clients that train with SGD, set here for Adam, whose local steps are of the size of its lr"
    )  # fmt: skip
    beta1: float = Field(0.9, ge=0, lt=1, description="decay of the mean change m")
    tau: float = Field(1e-3, gt=0, description="degree of adaptivity: smaller adapts more")


class FedAdamParams(AdaptiveParams):
    """Parameters of FedAdam and FedYogi."""

    beta2: float = Field(0.99, ge=0, le=1, description="decay of its square v; 1 holds v at tau squared")


class FedAdagradParams(AdaptiveParams):
    """Parameters of FedAdagrad."""

    server_lr: float = Field(
        0.03, gt=0, description="the server's step size eta, of which round t makes at most eta / sqrt(t); tuned in "
        "the paper, not here"
    )  # fmt: skip
    beta1: float = Field(0.0, ge=0, lt=1, description="decay of the mean change m; the paper's Adagrad has none")


class Adaptive(Rule):
    """Algorithm 2 but for line 14."""

    assumes = {"optimizer": "sgd"}
    neutral_bitwise = False  # x + (mean - x) rounds where FedAvg takes the mean itself

    def second_moment(self, v, square):
        """Line 14: the next v, from v and Delta_t squared."""
        raise NotImplementedError

    def aggregate(self, server, updates):
        eta, beta1, tau = self.params.server_lr, self.params.beta1, self.params.tau
        if "m" not in server.memory:  # v_{-1} = tau^2
            server.memory |= {n: server.model.zeros(buffers=False) for n in "mv"}
            server.memory["v"].flat.fill_(tau**2)
        step = server.mean_change(updates)
        for unit in step.units:  # units that nobody trained keep their state, too
            delta, m, v = (t.segment(unit) for t in (step, server.memory["m"], server.memory["v"]))  # line 10: Delta_t
            m.copy_(beta1 * m + (1 - beta1) * delta)  # line 11
            v.copy_(self.second_moment(v, delta**2))  # line 14
            delta.copy_(eta * m / (v.sqrt() + tau))  # line 15
        server.apply(step)


class FedAdagrad(Adaptive, Rule[FedAdagradParams]):
    """An adaptive server whose steps shrink as squares add up."""

    title = "FedAdagrad"
    paper = "Reddi et al., ICLR 2021, Algorithm 2"
    neutral = {
        "server_lr": 2000.0,
        "tau": 1000.0,
    }  # v stays at tau^2: the step is server_lr / (2 tau) of the mean change

    def second_moment(self, v, square):
        return v + square


class FedAdam(Adaptive, Rule[FedAdamParams]):
    """FedAvg's local training, then an adaptive step of the server on the mean change."""

    title = "FedAdam"
    paper = "Reddi et al., ICLR 2021, Algorithm 2"
    version = 1
    # beta2 = 1 holds v at tau^2, so the step is server_lr / (2 tau) of the mean change
    neutral = {"server_lr": 1.0, "beta1": 0.0, "beta2": 1.0, "tau": 0.5}

    def second_moment(self, v, square):
        return self.params.beta2 * v + (1 - self.params.beta2) * square


class FedYogi(Adaptive, Rule[FedAdamParams]):
    """An adaptive server whose v moves by the size of a square at most, however far off it is."""

    title = "FedYogi"
    paper = "Reddi et al., ICLR 2021, Algorithm 2"
    neutral = FedAdam.neutral

    def second_moment(self, v, square):
        return v - (1 - self.params.beta2) * square * (v - square).sign()
