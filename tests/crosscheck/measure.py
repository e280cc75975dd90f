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


def gap(start: Weights, project: list[Weights], peer: list[Weights], without: str = " ") -> Gap:
    """Over the tensors that the peer has, less those with ``without`` in their name."""
    assert len(project) == len(peer)
    names = [name for name in peer[0] if without not in name and name in project[0]]
    assert names
    largest = max(float((a[n] - b[n]).abs().max()) for a, b in zip(project, peer, strict=True) for n in names)
    apart = torch.cat([(project[-1][n] - peer[-1][n]).flatten() for n in names]).norm()
    moved = torch.cat([(project[-1][n] - start[n]).flatten() for n in names]).norm()
    assert moved > 1e-2, "nothing was trained, so nothing is compared"
    assert math.isfinite(largest)
    return Gap(largest, float(apart / moved))
