"""Norm clipping: no client's change counts for more than one of a certain length.

Sun, Kairouz, Suresh, McMahan, "Can You Really Backdoor Federated Learning?", arXiv:1911.07963, 2019, the norm
thresholding defence: the mean of Delta w_k / max(1, ||Delta w_k||_2 / M). The paper's weak differential privacy adds
noise to it; for noise that is accounted for see ``dpfedavg``.

With several tasks the change is clipped for each group of tasks that share units, so that tasks without anything in
common train as they would alone. The norm is of parameters; batch-norm statistics are averaged as ever.
"""

from __future__ import annotations

from pydantic import Field

from fedmeki_bench.api import Mean, Rule


class NormClippingParams(Rule.Params):
    """Parameters of norm clipping."""

    threshold: float = Field(
        2.5, gt=0, description="M, the longest change that counts whole; set a little above what clients of the "
        "profile demo move by in a round (2.0 to 2.6 on the stand-in of ecg_abnormal), not tuned"
    )  # fmt: skip


class NormClipping(Rule[NormClippingParams]):
    """FedAvg with each client's change cut to a certain length."""

    title = "Norm clipping"
    paper = "Sun et al., arXiv:1911.07963, 2019"
    neutral = {"threshold": 1e9}
    neutral_bitwise = False  # x + mean of (y - x) rounds where FedAvg takes the mean itself

    def aggregate(self, server, updates):
        mean = Mean(server.model.zeros(buffers=False))
        for update in server.changes(updates):
            for group in server.groups:
                change = update.change.restrict(group)
                norm = float(change.flat.norm())
                mean.add(change * (1 / max(1.0, norm / self.params.threshold)), update.share)
        server.apply(mean.value.restrict(mean.clients))
