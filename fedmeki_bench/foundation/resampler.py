"""A fixed number of tokens from however many an encoder gives: the Perceiver resampler of Flamingo.

Alayrac et al., "Flamingo: a Visual Language Model for Few-Shot Learning", NeurIPS 2022 (arXiv 2204.14198);
RadFM has it with 32 latents. Learned queries x read the encoder's tokens e, layer by layer:

    x <- x + attention(queries of x, keys and values of [e; x])
    x <- x + feed_forward(x)

Here with two layers instead of six, heads as wide as the encoder's features allow, and no embedding of time: encoders
say themselves where their tokens come from, or don't, as with the plain projector.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from fedmeki_bench import seeds

LAYERS = 2
HEADS = 8
"""At most: a width that eight does not divide has as many heads as divide both."""


class Resampler(nn.Module):
    """Tokens (batch, S, width) -> (batch, latents, width).

    Args:
        width: features per token.
        latents: number of queries, and of tokens that come out.
        seed: initial weights, together with ``name``.
        name: the modality.
    """

    def __init__(self, width: int, latents: int, *, seed: int, name: str) -> None:
        super().__init__()
        stream = torch.Generator().manual_seed(seeds.derive(seed, "resampler", name))
        self.latents = nn.Parameter(torch.randn(latents, width, generator=stream))
        self.layers = nn.ModuleList(_Layer(width, stream) for _ in range(LAYERS))
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """``mask`` (batch, S) says which tokens may be read, None all; the others have no influence."""
        x = self.latents.expand(len(tokens), -1, -1)
        there = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device) if mask is None else mask
        tokens = tokens.masked_fill(~there.unsqueeze(-1), 0)
        readable = torch.cat([there, there.new_ones(x.shape[:2])], dim=1)
        for layer in self.layers:
            x = layer(x, tokens, readable)
        out: Tensor = self.norm(x)
        return out


class _Layer(nn.Module):
    """Cross-attention and feed-forward, each behind a layer norm and added to what came in."""

    def __init__(self, width: int, stream: torch.Generator) -> None:
        super().__init__()
        self.heads = math.gcd(width, HEADS)
        self.norm_tokens, self.norm_latents, self.norm = (nn.LayerNorm(width) for _ in range(3))
        self.queries, self.keys, self.values, self.out = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.wide, self.narrow = nn.Linear(width, 4 * width, bias=False), nn.Linear(4 * width, width, bias=False)
        for layer in (self.queries, self.keys, self.values, self.out, self.wide, self.narrow):
            spread(layer, layer.in_features, stream)

    def forward(self, x: Tensor, tokens: Tensor, readable: Tensor) -> Tensor:
        """Latents (batch, n, width) after reading tokens (batch, S, width) and themselves."""
        own = self.norm_latents(x)
        read = torch.cat([self.norm_tokens(tokens), own], dim=1)
        q, k, v = (
            y.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (batch, heads, length, width / heads)
            for y in (self.queries(own), self.keys(read), self.values(read))
        )
        # written out: fused kernels need not give the same bits twice
        weights = (q @ k.transpose(-1, -2)) / math.sqrt(q.shape[-1])
        weights = weights.masked_fill(~readable[:, None, None, :], -math.inf).softmax(dim=-1)
        x = x + self.out((weights @ v).transpose(1, 2).flatten(2))
        changed: Tensor = x + self.narrow(nn.functional.gelu(self.wide(self.norm(x))))
        return changed


def spread(layer: nn.Linear, inputs: int, stream: torch.Generator) -> None:
    """Draw a layer's weights, and its bias if it has one, uniformly within 1 / sqrt(inputs)."""
    bound = 1 / math.sqrt(inputs)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.uniform_(-bound, bound, generator=stream)
