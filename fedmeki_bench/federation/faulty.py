"""Clients that fail or cheat, around whatever rule they run: their data, their pace, and what of theirs arrives.

Dropped and slow clients as in Li et al., "Federated Optimization in Heterogeneous Networks", MLSys 2020; label flips,
sign flips and noise as in Blanchard et al., NeurIPS 2017, and Fang et al., "Local Model Poisoning Attacks to
Byzantine-Robust Federated Learning", USENIX Security 2020; model replacement as in Bagdasaryan et al., "How To Backdoor
Federated Learning", AISTATS 2020.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fedmeki_bench import seeds
from fedmeki_bench.data.mislabelled import Mislabelled
from fedmeki_bench.federation.exchange import Execute, Send, Work
from fedmeki_bench.federation.faults import Faults
from fedmeki_bench.federation.payload import Payload, Update
from fedmeki_bench.models.flat import FlatTensors

if TYPE_CHECKING:
    from fedmeki_bench.data.cohort import CohortPart
    from fedmeki_bench.federation.client import ClientContext
    from fedmeki_bench.federation.rule import Rule

Change = Callable[[str, Tensor], Tensor]
"""The name of a tensor and a client's change of it -> the change that is sent."""


class Faulty:
    """The faults of a run: who has which in which round follows from the seed alone, so every algorithm meets the same.

    Args:
        faults: what is asked for.
        clients: how many there are.
        seed: the run's.
    """

    def __init__(self, faults: Faults, clients: int, seed: int) -> None:
        self.faults, self.seed = faults, seed
        order = [int(client) for client in seeds.generator(seed, "faults", clients).permutation(clients)]
        self._lasting = {
            fault: frozenset(order[: max(1, round(share * clients))]) for fault, share in faults.lasting.items()
        }

    def of(self, client: int, round: int) -> tuple[str, ...]:
        """The faults that a client has in a round."""
        drawn = {"dropout": self.faults.dropout, "straggle": self.faults.straggle}
        passing = (
            fault for fault, chance in drawn.items()
            if chance and seeds.generator(self.seed, "faults", fault, round, client).random() < chance
        )  # fmt: skip
        return (*passing, *(fault for fault, clients in self._lasting.items() if client in clients))

    def data(self, client: int, parts: Mapping[str, CohortPart]) -> dict[str, CohortPart]:
        """A client's samples as it sees them: with turned labels, if it has that fault."""
        if client not in self._lasting.get("flip_labels", ()):
            return dict(parts)
        rate = self.faults.flip_labels_rate
        draws = {task: seeds.generator(self.seed, "faults", "flip_labels", task, client) for task in parts}
        return {task: Mislabelled.of(part, draws[task].random(len(part)) < rate) for task, part in parts.items()}

    def around(self, execute: Execute) -> Execute:
        """The same way of running clients, with their faults. A lost update comes back, too: the loop leaves it out."""

        def faulty(rule: Rule, contexts: Iterable[ClientContext], send: Send, work: Work) -> Iterator[Update]:
            every = {ctx.client: ctx for ctx in contexts}
            received: dict[int, Payload] = {}

            def sent(ctx: ClientContext) -> Payload:
                ctx.pace = self.faults.straggle_work if "straggle" in self.of(ctx.client, ctx.round) else 1.0
                received[ctx.client] = send(ctx)
                return received[ctx.client]

            for update in execute(rule, every.values(), sent, work):
                start = received.pop(update.client).model
                if work == "client_update":
                    self._spoil(update, start, every[update.client])
                yield update

        return faulty

    def _spoil(self, update: Update, start: FlatTensors | None, ctx: ClientContext) -> None:
        """Put what a client sends in the place of what its rule would have sent."""
        given = self.faults

        def drowned(name: str, change: Tensor) -> Tensor:
            noise = torch.randn(change.shape, generator=ctx.generator("fault", name)).to(change)
            return change + noise * (given.noise_scale * change.square().mean().sqrt())

        ways: dict[str, Change] = {
            "flip_signs": lambda _, change: change * -given.flip_signs_scale,
            "replace": lambda _, change: change * given.replace_boost,
            "noise": drowned,
        }
        for fault in self.of(ctx.client, ctx.round):
            if fault in ways:
                if update.model is not None:
                    update.model = _changed(update.model, start, ways[fault])
                update.extra = {name: _sent(name, value, ways[fault]) for name, value in update.extra.items()}
        if "nan" in self.of(ctx.client, ctx.round):
            update.model = None if update.model is None else update.model * float("nan")
            update.extra = {name: _broken(value) for name, value in update.extra.items()}


def _changed(values: FlatTensors, start: FlatTensors | None, how: Change) -> FlatTensors:
    """Other parameters, changed from where they started. Statistics stay: a variance below zero would give it away."""
    found = values.clone()
    for name, entry in values.layout.entries.items():
        if entry.trained:
            origin = start[name] if start is not None and name in start else torch.zeros_like(values[name])
            found[name].copy_(origin + how(name, values[name] - origin))
    return found


def _sent(name: str, value: FlatTensors | Tensor, how: Change) -> FlatTensors | Tensor:
    """What is sent beside the model, or in place of it, is a change already; codes and places are left alone."""
    if isinstance(value, FlatTensors):
        return _changed(value, None, how)
    return how(name, value) if value.is_floating_point() else value


def _broken(value: FlatTensors | Tensor) -> FlatTensors | Tensor:
    return value * float("nan") if isinstance(value, FlatTensors) or value.is_floating_point() else value
