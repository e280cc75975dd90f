"""How far apart two trajectories are."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from .problem import Problem, Weights, held


@dataclass(frozen=True)
class Gap:
    """Two trajectories apart.

    Attributes:
        largest: the largest absolute difference of any weight in any round.
        relative: the length of the difference at the end over the length of the way that the project's went.
    """

    largest: float
    relative: float


def ours(problem: Problem, rule, prepare=None):
    """The project's trajectory: the global weights after each round, and the federation that went it."""
    loop = problem.federation(rule)
    if prepare is not None:
        prepare(loop)
    return [held(loop.server.model) for _ in loop.run()], loop


def gap(start: Weights, project: list[Weights], peer: list[Weights], without: str = "(none)") -> Gap:
    """Over the tensors that the peer has, less those with ``without`` in their name."""
    assert len(project) == len(peer)
    names = [name for name in peer[0] if without not in str(name) and name in project[0]]
    assert names
    largest = max(float((a[n] - b[n]).abs().max()) for a, b in zip(project, peer, strict=True) for n in names)
    apart = torch.cat([(project[-1][n] - peer[-1][n]).flatten() for n in names]).norm()
    moved = torch.cat([(project[-1][n] - start[n]).flatten() for n in names]).norm()
    assert moved > 1e-2, "nothing was trained, so nothing is compared"
    assert math.isfinite(largest)
    return Gap(largest, float(apart / moved))


def personal_gap(start: Weights, project: dict[int, Weights], peer: dict[int, Weights]) -> Gap:
    """Of models of the clients' own, at the end: over the tensors and clients that the project has."""
    assert project
    one, other, began = ({(k, n): values[k][n] if whose else start[n] for k in project for n in project[k]}
                         for whose, values in ((1, project), (1, peer), (0, {})))  # fmt: skip
    return gap(began, [one], [other])


def personal(loop, name="personal") -> dict[int, Weights]:
    """Client -> the copy that a rule keeps of its model, for clients that have trained."""
    kept = {c.number: c.personal[name] for c in loop.clients if name in c.personal}
    return {k: {n: v for unit in units.values() for n, v in held(unit).items()} for k, units in kept.items()}


def stayed(loop) -> dict[int, Weights]:
    """Client -> the tensors that never leave it, for clients that have trained."""
    return {c.number: held(c.local) for c in loop.clients if c.local is not None}
