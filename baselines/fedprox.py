"""FedProx: FedAvg with a proximal term that ties local weights to the received ones.

Li, Sahu, Zaheer, Sanjabi, Talwalkar, Smith, "Federated Optimization in Heterogeneous Networks", MLSys 2020,
Equation 2. FedMEKI uses mu = 1e-6, on the parameters that the current task uses; that is numerically close to FedAvg.
"""

from __future__ import annotations

from pydantic import Field

from fedmeki_bench.api import Rule


class FedProxParams(Rule.Params):
    """Parameters of FedProx."""

    mu: float = Field(
        1e-6, ge=0, description="strength of the proximal term; 0 is FedAvg, FedMEKI's 1e-6 nearly; 0.01 was "
        "chosen on `valid` for the rows fedprox_mu_s and fedprox_mu_m"
    )  # fmt: skip


class FedProx(Rule[FedProxParams]):
    """FedAvg with a proximal term on the parameters the current task uses."""

    title = "FedProx"
    paper = "Li et al., MLSys 2020, Eq. 2"
    neutral = {"mu": 0.0}

    def local_loss(self, loss, outputs, params, received, ctx):
        if self.params.mu == 0:
            return loss
        distance = sum((w - received[name]).square().sum() for name, w in params.items())  # ||w - w_t||^2
        return loss + self.params.mu / 2 * distance
