"""Top-k sparsification with error feedback: clients send the largest parts of a change, keep the rest for later.

Stich, Cordonnier, Jaggi, "Sparsified SGD with Memory", NeurIPS 2018, Algorithm 1 (Mem-SGD) with the operator top_k.

The paper compresses a gradient step; here what is compressed is a client's change in a round, as FedAvg needs. k is a
share of each unit, so that every task sends something. Sent are places (int32) and values (float32), 8 bytes for each
weight, and batch-norm statistics, which are no sums of steps, as they are. What the server sends is not compressed.
"""

from __future__ import annotations

from pydantic import Field

from fedmeki_bench.api import Mean, Rule


class TopKParams(Rule.Params):
    """Parameters of top-k sparsification."""

    share: float = Field(
        0.2, gt=0, le=1, description="k, as a share of each unit's weights, one at least; 1 is FedAvg up to rounding; "
        "the paper's is far smaller, for far more rounds; not tuned here"
    )  # fmt: skip
    feedback: bool = Field(True, description="whether what was not sent is added to the next change (the memory m)")


class TopK(Rule[TopKParams]):
    """FedAvg with sparse updates; sends two fifths of a model up at k = 20 %."""

    title = "Top-k"
    paper = "Stich et al., NeurIPS 2018, Algorithm 1"
    neutral = {"share": 1.0}
    neutral_bitwise = False  # x + mean of (y - x) rounds where FedAvg takes the mean itself

    def client_update(self, ctx, received):
        update = super().client_update(ctx, received)
        memory = ctx.memory.setdefault("m", ctx.model.values.zeros(buffers=False))
        change = update.model.restrict(ctx.units, buffers=False) - received.model
        for unit in change.units:
            v, m = change.segment(unit), memory.segment(unit)
            v.add_(m)  # line 4: m_t + eta grad f
            places = v.abs().topk(max(1, round(self.params.share * len(v)))).indices
            update.extra |= {f"places {unit}": places.int(), f"values {unit}": v[places]}  # g_t
            if self.params.feedback:
                m.copy_(v).index_fill_(0, places, 0.0)  # line 6: m_{t+1} = m_t + eta grad f - g_t
        update.extra["statistics"] = update.model.restrict(ctx.units, without=change.keys())
        update.model = None
        return update

    def aggregate(self, server, updates):
        mean = Mean(server.model.zeros(buffers=False))
        for update in server.changes(self.unpacked(server, update) for update in updates):
            mean.add(update.change, update.share)
        server.apply(mean.value.restrict(mean.clients))  # line 5

    def unpacked(self, server, update):
        """The update with a change as long as the model, and the statistics where the server looks for them."""
        update.change = server.model.restrict(update.samples, buffers=False).zeros()
        for unit in update.change.units:
            places, values = update.extra[f"places {unit}"], update.extra[f"values {unit}"]
            update.change.segment(unit).index_copy_(0, places.long(), values)
        update.model = update.extra["statistics"]
        return update
