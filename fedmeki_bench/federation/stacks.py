"""Whole updates side by side, for rules that compare clients: medians, distances, votes.

A model of several tasks is no single vector that every client has: clients hold different units, and tasks that share
no unit are federations of their own. A *stack* is as much of it as is one vector: the units of tasks that share units,
as far as the same clients trained them. With one task, which all clients hold, it is the whole model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fedmeki_bench.federation.payload import Update
from fedmeki_bench.models.flat import FlatTensors


@dataclass(frozen=True)
class Stack:
    """What several clients say about the same units.

    Attributes:
        clients: numbers of the clients that trained them, in order.
        models: their values, batch-norm statistics included, (clients, elements).
        shares: the clients' weights in the mean (that over the units, whose shares may differ), (clients,).
        start: the global values of the same units.
    """

    clients: tuple[int, ...]
    models: Tensor
    shares: Tensor
    start: FlatTensors


def connected(tasks: Iterable[Sequence[str]]) -> tuple[frozenset[str], ...]:
    """The units of tasks that share units, directly or through other tasks, as sets without anything in common.

    Args:
        tasks: the units of each task.
    """
    found: list[frozenset[str]] = []
    for units in map(frozenset, tasks):
        joined = units.union(*(group for group in found if group & units))
        found = [*(group for group in found if not group & units), joined]
    return tuple(found)


def stacked(model: FlatTensors, groups: Sequence[frozenset[str]], updates: Iterable[Update]) -> list[Stack]:
    """The stacks of an exchange; all updates are held at once.

    An update without a model, and a unit of share 0, are in none.

    Args:
        model: the global one.
        groups: what may be in one stack, see :func:`connected`.
    """
    senders: dict[str, dict[int, Update]] = {unit: {} for unit in model.units}
    for update in updates:
        for unit in update.model.units if update.model is not None else ():
            if update.share.get(unit, 0.0) != 0.0:
                senders[unit][update.client] = update
    together: dict[tuple[int, tuple[int, ...]], list[str]] = {}
    for number, group in enumerate(groups):
        for unit in model.units:
            if unit in group and senders[unit]:
                together.setdefault((number, tuple(senders[unit])), []).append(unit)
    return [_stack(model, units, senders[units[0]]) for units in together.values()]


def _stack(model: FlatTensors, units: Sequence[str], updates: Mapping[int, Update]) -> Stack:
    found = [update.model.restrict(units) for update in updates.values() if update.model is not None]
    models = torch.stack([one.flat for one in found])
    shares = [sum(update.share[unit] for unit in units) / len(units) for update in updates.values()]
    return Stack(
        tuple(updates), models, torch.tensor(shares, dtype=models.dtype, device=models.device),
        model.restrict(units, without=model.keys() - found[0].keys()),
    )  # fmt: skip
