"""SGD and Adam over a flat segment: torch's arithmetic bit for bit, in pieces that stay in the cache.

A client with few samples makes one or two steps, and for a model of 15 MB most of their time is not arithmetic but
pages that are touched for the first time: two moments and two temporaries of the model's size. Here the temporaries
have the size of a piece, and a first step writes the moments without reading them. (Besides, the first optimiser of
``torch.optim`` in a process imports torch's compiler.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

if TYPE_CHECKING:
    from fedmeki_bench.profiles import Profile

_PIECE = 1 << 18
"""Elements that are worked on at a time on a CPU; the arithmetic goes element by element, so it changes no bit."""


class Optimiser(Protocol):
    """Moves values by their gradients, in place."""

    def step(self) -> None:
        """Take one step by the gradients as they are now."""


def optimiser(values: Tensor, grads: Tensor, settings: Profile, lr: float) -> Optimiser:
    """The profile's optimiser over one unit's flat segment, however many layers it has."""
    piece = _PIECE if values.device.type == "cpu" else max(1, values.numel())  # elsewhere each call costs a launch
    values, decay = values.detach(), settings.weight_decay
    if settings.optimizer == "adam":
        return Adam(values, grads, lr=lr, decay=decay, piece=piece)
    return SGD(values, grads, lr=lr, decay=decay, momentum=settings.momentum, piece=piece)


class Adam:
    """Adam (Kingma and Ba, ICLR 2015, Algorithm 1) with betas 0.9 and 0.999 and the L2 penalty in the gradient."""

    def __init__(self, values: Tensor, grads: Tensor, *, lr: float, decay: float, piece: int) -> None:
        self.lr, self.decay, self.count = lr, decay, 0
        self.values, self.grads = values.split(piece), grads.split(piece)
        self.first, self.second = torch.empty_like(values).split(piece), torch.empty_like(values).split(piece)
        self.scratch = torch.empty_like(values[:piece])

    @torch.no_grad()
    def step(self) -> None:
        """Take one step by the gradients as they are now."""
        self.count += 1
        beta1, beta2, eps = 0.9, 0.999, 1e-8
        size, root = self.lr / (1 - beta1**self.count), (1 - beta2**self.count) ** 0.5
        for p, g, m, v in zip(self.values, self.grads, self.first, self.second, strict=True):
            if self.decay:
                g = g.add(p, alpha=self.decay)
            if self.count == 1:
                torch.mul(g, 1 - beta1, out=m)
                torch.mul(g, 1 - beta2, out=v).mul_(g)
            else:
                m.lerp_(g, 1 - beta1)
                v.mul_(beta2).addcmul_(g, g, value=1 - beta2)
            scale = self.scratch[: len(v)]
            torch.sqrt(v, out=scale).div_(root).add_(eps)
            p.addcdiv_(m, scale, value=-size)


class SGD:
    """Stochastic gradient descent with momentum (Polyak's, without dampening) and the L2 penalty in the gradient."""

    def __init__(self, values: Tensor, grads: Tensor, *, lr: float, decay: float, momentum: float, piece: int) -> None:
        self.lr, self.decay, self.momentum, self.begun = lr, decay, momentum, False
        self.values, self.grads = values.split(piece), grads.split(piece)
        self.velocity = torch.empty_like(values).split(piece) if momentum else self.values

    @torch.no_grad()
    def step(self) -> None:
        """Take one step by the gradients as they are now."""
        for p, g, v in zip(self.values, self.grads, self.velocity, strict=True):
            if self.decay:
                g = g.add(p, alpha=self.decay)
            if self.momentum:
                g = v.mul_(self.momentum).add_(g) if self.begun else v.copy_(g)
            p.add_(g, alpha=-self.lr)
        self.begun = True
