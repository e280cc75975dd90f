"""FLoRA: the clients' LoRA factors are stacked, not averaged, and become part of the foundation model.

Wang, Shen, He, Sun, Wang, Lyu, Li, "FLoRA: Federated Fine-Tuning Large Language Models with Heterogeneous Low-Rank
Adaptations", NeurIPS 2024 (arXiv 2409.05976), Equations 3 to 5: the product of the stacked factors is the mean of the
clients' products, without the cross terms of averaged factors. Each round begins with new factors. A client that was
not selected for some rounds receives their stacks when it is.
"""

from __future__ import annotations

import torch

from fedmeki_bench.api import Mean, Rule

_A, _B, _W = "adapter.A.", "adapter.B.", "adapter.W."


class Flora(Rule):
    """FedAvg for encoders and projectors; of the adapters the stacks travel, down those of all clients."""

    title = "FLoRA"
    paper = "Wang et al., NeurIPS 2024, Eq. 3-5"
    needs_stage = "absorbed"

    def freezes(self, unit):
        return unit == "adapter.W"  # every client holds its own, from the stacks that it received

    def broadcast(self, server, client, units):
        payload = super().broadcast(server, client, [u for u in units if not u.startswith("adapter.")])
        seen = server.memory.get("seen", {}).get(str(client), 0)
        for number, stack in enumerate(server.memory.get("stacks", [])[seen:]):
            payload.extra |= {f"{number} {name}": factor for name, factor in stack.items()}
        return payload

    def client_update(self, ctx, received):
        ctx.load(received)
        w = ctx.memory.setdefault("W", ctx.model.values.restrict(["adapter.W"]) * 0.0)
        for name, a in received.extra.items():
            number, _, layer = name.partition(f" {_A}")
            if layer:
                w[_W + layer].add_(received.extra[f"{number} {_B}{layer}"] @ a)  # the client merges what it received
        values = ctx.model.values
        with torch.no_grad():
            values.load(w)
            for name in (n for n in values if n.startswith(_A)):  # new factors: A as LoRA begins, B zero
                bound = values[name].shape[1] ** -0.5
                values[name].copy_(
                    torch.empty(values[name].shape).uniform_(-bound, bound, generator=ctx.generator(name))
                )
                values[_B + name.removeprefix(_A)].zero_()
        ctx.train(self, received)
        update = ctx.update()
        update.extra |= {n: v.clone() for n, v in update.model.items() if n.startswith((_A, _B))}
        update.model = update.model.restrict([u for u in update.model.units if not u.startswith("adapter.")])
        return update

    def aggregate(self, server, updates):
        mean, stacks, seen = Mean(server.model), {}, server.memory.setdefault("seen", {})
        known = server.memory.setdefault("stacks", [])
        for update in updates:
            mean.add(update.model, update.share)
            seen[str(update.client)] = len(known)
            for name, factor in update.extra.items():
                p = update.share["adapter.B"] if name.startswith(_B) else 1.0
                stacks.setdefault(name, []).append(p * factor)  # Eq. 4: the weight goes into one of the factors
        server.model.load(mean.value)
        stack = {n: torch.cat(factors, dim=1 if n.startswith(_B) else 0) for n, factors in stacks.items()}
        if stack:
            known.append(stack)
        for name in (n for n in stack if n.startswith(_A)):
            layer = name.removeprefix(_A)
            server.model[_W + layer].add_(stack[_B + layer] @ stack[name])  # Eq. 5
