"""Joining what a sample has: the mean over several arrays of a modality, and a learned vector where it has none."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from fedmeki_bench.models.encoder import Encoder


class Fusing(nn.Module):
    """A decoder with a learned feature vector for each modality that a sample of its task may lack.

    The vectors belong to ``decoder.<task>``, so they are federated like the rest of it. They start at zero.

    Args:
        head: the decoder itself.
        absent: modality -> width of its encoder's features.
    """

    def __init__(self, head: nn.Module, absent: Mapping[str, int]) -> None:
        super().__init__()
        self.head = head
        self.absent = nn.ParameterDict({modality: torch.zeros(width) for modality, width in absent.items()})

    def absent_of(self, modality: str) -> Tensor | None:
        """What stands in the place of an absent modality, (width,); None if it is always there."""
        found: Tensor | None = self.absent.get(modality)
        return found

    def forward(self, features: Tensor) -> Tensor:
        """Features (batch, width) -> outputs (batch, outputs)."""
        outputs: Tensor = self.head(features)
        return outputs


def pooled_over(encoder: Encoder, x: Tensor, present: Tensor, absent: Tensor | None) -> Tensor:
    """The features of each sample, (batch, width): their mean over its arrays, or ``absent`` where it has none.

    The order of a sample's arrays changes no bit: their features are sorted before they are summed.

    Args:
        encoder: of the modality.
        x: the arrays that are there, one after another, (arrays, *shape).
        present: (batch, K) which of its up to K arrays a sample has.
        absent: (width,) for samples without any; None if there are none.
    """
    if not len(x):
        assert absent is not None
        return absent.expand(len(present), -1)
    pooled = encoder.pooled(x)
    placed = pooled.new_zeros(*present.shape, encoder.width).index_put((present,), pooled)
    count = present.sum(dim=1, keepdim=True)
    mean = placed.sort(dim=1).values.sum(dim=1) / count.clamp(min=1)
    return mean if absent is None else torch.where(count > 0, mean, absent.to(mean.dtype))
