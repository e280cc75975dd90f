"""Clients that tune the foundation model with LoRA of unequal ranks: large hospitals more, small ones less.

A client of rank r gets, trains and sends the first r rows of A and columns of B; the rest is zero for it, and stays so,
because the gradient of either factor is zero where the other one is. LoRA's factor alpha / rank is that of the largest
rank for all.
"""

from __future__ import annotations

import torch
from pydantic import Field

from fedmeki_bench.api import Mean, Rule

_A, _B = "adapter.A.", "adapter.B."


class RanksParams(Rule.Params):
    """Parameters of rules with unequal ranks."""

    ranks: tuple[int, ...] = Field(
        (8, 4, 2), description="rank of each client in turn, none above the stage's; empty gives every client that"
    )


class UnequalRanks(Rule[RanksParams]):
    """The part that rules of unequal ranks share: what of the LoRA a client gets, trains and sends."""

    needs_stage = "tuned"

    def broadcast(self, server, client, units):
        payload = super().broadcast(server, client, [u for u in units if not u.startswith("adapter.")])
        for layer, a, b in _layers(server.model):
            rank = self._rank(client, len(a))
            payload.extra |= {_A + layer: a[:rank].clone(), _B + layer: b[:, :rank].clone()}
        return payload

    def client_update(self, ctx, received):
        ctx.load(received)
        for layer, a, b in _layers(ctx.model.values):
            for whole, part in ((a, received.extra[_A + layer]), (b.t(), received.extra[_B + layer].t())):
                with torch.no_grad():
                    whole.zero_()[: len(part)] = part
        ctx.train(self, received)
        update = ctx.update()
        for layer, a, b in _layers(update.model):
            rank = len(received.extra[_A + layer])
            update.extra |= {_A + layer: a[:rank].clone(), _B + layer: b[:, :rank].clone()}
        update.model = update.model.restrict([u for u in update.model.units if not u.startswith("adapter.")])
        return update

    def _rank(self, client, whole):
        return min(whole, self.params.ranks[client % len(self.params.ranks)]) if self.params.ranks else whole


class FlexLora(UnequalRanks):
    """The mean of the clients' products B A, cut by SVD to each client's rank.

    Bai, Chen, Qian, Yao, Li, "Federated Fine-tuning of Large Language Models under Heterogeneous Tasks and Client
    Resources", NeurIPS 2024 (FlexLoRA). The SVD is that of the stacked factors, which is exact and never larger than
    the sum of ranks; the singular values go into B.
    """

    title = "FlexLoRA"
    paper = "Bai et al., NeurIPS 2024"

    def aggregate(self, server, updates):
        mean, stacks = Mean(server.model), {}
        for update in updates:
            mean.add(update.model, update.share)
            for layer, a, b in _sent(update) if update.share.get("adapter.B") else ():
                left, right = stacks.setdefault(layer, ([], []))
                left.append(update.share["adapter.B"] * b)
                right.append(a)
        server.model.load(mean.value)
        for layer, a, b in _layers(server.model):
            if layer in stacks:
                left = torch.cat(stacks[layer][0], dim=1).double()  # small singular values decide directions of A
                right = torch.cat(stacks[layer][1]).double()
                (q_b, r_b), (q_a, r_a) = torch.linalg.qr(left), torch.linalg.qr(right.t())
                u, s, v = torch.linalg.svd(r_b @ r_a.t(), full_matrices=False)  # left @ right = q_b u s v q_a^T
                rank = min(len(a), int((s > 1e-6 * s[0]).sum()))  # beyond it A stays as it was, and B is zero
                v = v[:rank] @ q_a.t()
                sign = v.gather(1, v.abs().argmax(dim=1, keepdim=True)).sign()  # else it is the SVD's to choose
                a[:rank] = v * sign
                b.zero_()[:, :rank] = q_b @ (u * s)[:, :rank] * sign.t()


class HetLora(UnequalRanks):
    """Zero-padded factors, averaged by the size of the clients' products, cut to each client's rank.

    Cho, Liu, Xu, Fahrezi, Joshi, "Heterogeneous LoRA for Federated Fine-tuning of On-Device Foundation Models", EMNLP
    2024, Equation 3 (HetLoRA); without its pruning of ranks. The paper's weights are the sizes alone, as they are here
    under weighting=uniform; else they are multiplied by the clients' weights.
    """

    title = "HetLoRA"
    paper = "Cho et al., EMNLP 2024, Eq. 3"

    def aggregate(self, server, updates):
        mean, sums = Mean(server.model), {}
        for update in updates:
            mean.add(update.model, update.share)
            sent = list(_sent(update))
            size = float(sum((b @ a).square().sum() for _, a, b in sent)) ** 0.5  # ||Delta W_k||_F
            weight = update.share.get("adapter.B", 0.0) * size
            for layer, a, b in sent:
                total, of_a, of_b = sums.get(layer, (0.0, 0.0, 0.0))
                shape_a, shape_b = server.model[_A + layer].shape, server.model[_B + layer].shape
                padded_a, padded_b = a.new_zeros(shape_a), b.new_zeros(shape_b)
                padded_a[: len(a)], padded_b[:, : b.shape[1]] = a, b
                sums[layer] = total + weight, of_a + weight * padded_a, of_b + weight * padded_b
        server.model.load(mean.value)
        for layer, a, b in _layers(server.model):
            total, of_a, of_b = sums.get(layer, (0.0, None, None))
            if total:
                a.copy_(of_a / total)
                b.copy_(of_b / total)


def _layers(values):
    """Name, A (rank, in) and B (out, rank) of every adapted layer, as views."""
    return [(n.removeprefix(_A), values[n], values[_B + n.removeprefix(_A)]) for n in values if n.startswith(_A)]


def _sent(update):
    """Name, A (r, in) and B (out, r) of every layer that a client sent."""
    return [
        (n.removeprefix(_A), a, update.extra[_B + n.removeprefix(_A)])
        for n, a in update.extra.items()
        if n.startswith(_A)
    ]
