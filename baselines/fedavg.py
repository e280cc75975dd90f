"""FedAvg: the mean of the clients' models, weighted by sample counts.

McMahan, Moore, Ramage, Hampson, Agüera y Arcas, "Communication-Efficient Learning of Deep Networks from
Decentralized Data", AISTATS 2017, Algorithm 1.
"""

from __future__ import annotations

from fedmeki_bench.api import Rule


class FedAvg(Rule):
    """Federated averaging: local training, then the weighted mean."""

    title = "FedAvg"
    paper = "McMahan et al., AISTATS 2017, Algorithm 1"
