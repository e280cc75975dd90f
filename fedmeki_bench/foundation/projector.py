"""From an encoder's tokens to the foundation model's soft tokens: g in FedKIM's h = [g(e); p]."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fedmeki_bench import seeds
from fedmeki_bench.foundation.resampler import Resampler, spread


class Projector(nn.Module):
    """A linear layer, one per modality: tokens (batch, S, width) -> soft tokens (batch, S, hidden_size).

    With ``rms`` the output is divided by its own root mean square (a learned factor follows, ``rms`` at the start), so
    that soft tokens begin at the size of the embeddings the model knows: pass ``language.embedding_rms``. Embedding
    tables of large models have rows of about 0.02 and encoders give features of about 1: without it a small model's
    first layers see soft tokens fifty times too large, and the prompt drowns. The price: a token's own length is lost,
    its direction kept. FedMEKI and FedKIM have the bare linear layer: leave ``rms`` out for that.

    With ``latents`` a :class:`~fedmeki_bench.foundation.resampler.Resampler` stands before the linear layer, and there
    are that many soft tokens, however many the encoder gives.

    Args:
        width: features per encoder token.
        hidden_size: width of the foundation model.
        seed: initial weights, together with ``name``.
        name: the modality.
        rms: size of soft tokens at the start, or None for the bare linear layer.
        latents: number of soft tokens; 0 is one for each token of the encoder.
    """

    def __init__(
        self, width: int, hidden_size: int, *, seed: int, name: str, rms: float | None = None, latents: int = 0
    ) -> None:
        super().__init__()
        self.resampler = Resampler(width, latents, seed=seed, name=name) if latents else None
        self.linear = nn.Linear(width, hidden_size)
        spread(self.linear, width, torch.Generator().manual_seed(seeds.derive(seed, "projector", name)))
        self.size = None if rms is None else nn.Parameter(torch.tensor(float(rms)))

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Soft tokens (batch, S, hidden_size), or (batch, latents, hidden_size) with a resampler.

        Args:
            tokens: of the encoder, (batch, S, width).
            mask: which of them are there, (batch, S); None means all.
        """
        soft: Tensor = self.linear(tokens if self.resampler is None else self.resampler(tokens, mask))
        if self.size is None:
            return soft
        return soft * torch.rsqrt(soft.square().mean(dim=-1, keepdim=True) + 1e-12) * self.size

    def mask(self, mask: Tensor) -> Tensor:
        """Which soft tokens are there, from which of the encoder's are: a resampler's all, if there is any to read."""
        if self.resampler is None:
            return mask
        return mask.any(dim=1, keepdim=True).expand(-1, len(self.resampler.latents))
