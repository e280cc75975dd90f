"""QSGD: clients send their changes in 8 bits per weight, rounded up or down at random so that nothing is biased.

Alistarh, Grubic, Li, Tomioka, Vojnovic, "QSGD: Communication-Efficient SGD via Gradient Quantization and Encoding",
NeurIPS 2017, Section 3.1: Q_s(v_i) = ||v|| sgn(v_i) xi_i, where xi_i is one of the two neighbours l/s and (l + 1)/s of
|v_i| / ||v||, the upper one with the probability that makes its mean right.

The norm is that of the largest element, so that all s levels are used, one for each tensor; the paper codes the levels
losslessly (Elias), here each is a byte. Sent are codes (int8), the norms (float32), and batch-norm statistics as they
are. What the server sends is not compressed.
"""

from __future__ import annotations

import torch
from pydantic import Field

from fedmeki_bench.api import Mean, Rule


class QSGDParams(Rule.Params):
    """Parameters of QSGD."""

    levels: int = Field(127, ge=1, le=127, description="s, levels on either side of zero; 127 is what 8 bits hold")


class QSGD(Rule[QSGDParams]):
    """FedAvg with updates of a quarter of the size."""

    title = "QSGD"
    paper = "Alistarh et al., NeurIPS 2017, Section 3.1"

    def client_update(self, ctx, received):
        update = super().client_update(ctx, received)
        change = update.model.restrict(ctx.units, buffers=False) - received.model
        norms = torch.stack([v.abs().max() for v in change.values()])
        codes = []
        for (name, v), norm in zip(change.items(), norms, strict=True):
            level = v.flatten() * (self.params.levels / norm.clamp(min=1e-30))
            up = torch.rand(level.shape, generator=ctx.generator("rounding", name)).to(level)
            codes.append((level + up).floor().clamp(-self.params.levels, self.params.levels).to(torch.int8))
        statistics = update.model.restrict(ctx.units, without=change.keys())
        update.extra |= {"codes": torch.cat(codes), "norms": norms, "statistics": statistics}
        update.model = None
        return update

    def aggregate(self, server, updates):
        mean = Mean(server.model.zeros(buffers=False))
        for update in server.changes(self.unpacked(server, update) for update in updates):
            mean.add(update.change, update.share)
        server.apply(mean.value.restrict(mean.clients))

    def unpacked(self, server, update):
        """The update with its change in 32 bits, and the statistics where the server looks for them."""
        update.change = server.model.restrict(update.samples, buffers=False).zeros()
        sizes = [v.numel() for v in update.change.values()]
        codes = update.extra["codes"].split(sizes)
        for v, code, norm in zip(update.change.values(), codes, update.extra["norms"], strict=True):
            v.copy_((code * (norm / self.params.levels)).view_as(v))
        update.model = update.extra["statistics"]
        return update
