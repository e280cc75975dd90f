"""FedBN: batch norm stays with the client, everything else is averaged.

Li, Jiang, Zhang, Kamp, Dou, "FedBN: Federated Learning on Non-IID Features via Local Batch Normalization", ICLR 2021,
Algorithm 1: w^l is averaged if layer l is not batch norm. Layer and group norm are averaged, as in the paper's model.
"""

from __future__ import annotations

from fedmeki_bench.api import Rule


class FedBN(Rule):
    """FedAvg without batch norm: its weights and statistics are never sent, and each client is scored with its own."""

    title = "FedBN"
    paper = "Li et al., ICLR 2021, Algorithm 1"
    version = 1
    views = ("personal",)

    def keeps(self, tensor):
        return tensor.batch_norm
