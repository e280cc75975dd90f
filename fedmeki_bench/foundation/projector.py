"""From an encoder's tokens to the foundation model's soft tokens: g in FedKIM's h = [g(e); p]."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from fedmeki_bench import seeds


class Projector(nn.Module):
    """A linear layer, one per modality: tokens (batch, S, width) -> soft tokens (batch, S, hidden_size).

    With ``rms`` the output is divided by its own root mean square (a learned factor follows, ``rms`` at the start), so
    that soft tokens begin at the size of the embeddings the model knows: pass ``language.embedding_rms``. Embedding
    tables of large models have rows of about 0.02 and encoders give features of about 1: without it a small model's
    first layers see soft tokens fifty times too large, and the prompt drowns. The price: a token's own length is lost,
    its direction kept. FedMEKI and FedKIM have the bare linear layer: leave ``rms`` out for that.

    Args:
        width: features per encoder token.
        hidden_size: width of the foundation model.
        seed: initial weights, together with ``name``.
        name: the modality.
        rms: size of soft tokens at the start, or None for the bare linear layer.
    """

    def __init__(self, width: int, hidden_size: int, *, seed: int, name: str, rms: float | None = None) -> None:
        super().__init__()
        self.linear = nn.Linear(width, hidden_size)
        stream = torch.Generator().manual_seed(seeds.derive(seed, "projector", name))
        bound = 1 / math.sqrt(width)
        with torch.no_grad():
            for parameter in self.linear.parameters():
                parameter.uniform_(-bound, bound, generator=stream)
        self.size = None if rms is None else nn.Parameter(torch.tensor(float(rms)))

    def forward(self, tokens: Tensor) -> Tensor:
        """See the class."""
        soft: Tensor = self.linear(tokens)
        if self.size is None:
            return soft
        return soft * torch.rsqrt(soft.square().mean(dim=-1, keepdim=True) + 1e-12) * self.size
