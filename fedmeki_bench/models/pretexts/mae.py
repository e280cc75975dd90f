"""Masked autoencoding: from a few patches of a sample, what the others hold."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from fedmeki_bench.data.holdings import there
from fedmeki_bench.errors import InputError
from fedmeki_bench.models.encoder import Encoder
from fedmeki_bench.models.patched import PatchEncoder, block
from fedmeki_bench.models.pretext import Pooled, Pretext

_LEAST_SPREAD = 1e-6


class MaskedAutoencoder(Pretext):
    """Pre-training by masked patches: the encoder sees a quarter of them, a small decoder predicts the others.

    He et al., "Masked autoencoders are scalable vision learners", CVPR 2022: the mean squared error over hidden patches
    alone, each patch of the sample brought to mean 0 and variance 1. The decoder has two blocks and is thrown away.
    """

    paper = "arXiv 2111.06377"

    class Params(BaseModel):
        model_config = ConfigDict(extra="forbid")

        masked: float = Field(0.75, gt=0, lt=1, description="share of the patches that are hidden")
        width: int = Field(64, ge=8, multiple_of=4, description="width of the decoder")

    def check(self, encoders: Mapping[str, type[Encoder]]) -> None:
        """See :class:`Pretext`: encoders over patches."""
        for modality, encoder in encoders.items():
            if not issubclass(encoder, PatchEncoder):
                raise InputError(
                    f"mae needs an encoder over patches for the modality {modality!r}, and {encoder.__name__} is none: "
                    "take vit_nano, vit_tiny or vit_small for pictures (-o encoders.image=vit_nano), vit_signal_nano "
                    "and its larger ones for signals"
                )

    def head(self, encoders: Mapping[str, Encoder]) -> nn.Module:
        """A decoder for each modality."""
        return nn.ModuleDict({m: _Decoder(_patched(e), self.params.width) for m, e in encoders.items()})

    def losses(
        self, head: nn.Module, encoders: Mapping[str, Encoder], inputs: Mapping[str, Tensor], pooled: Pooled
    ) -> tuple[Tensor, Tensor]:
        """See :class:`Pretext`."""
        assert isinstance(head, nn.ModuleDict)
        found, features = [], []
        for modality, encoder in encoders.items():
            losses, tokens = self._of(_patched(encoder), head[modality], inputs[modality])
            present = inputs.get(there(modality))
            found.append(_per_sample(losses, present))
            features.append(_per_sample(tokens, present))
        return torch.stack(found).mean(dim=0), torch.cat(features, dim=-1)

    def _of(self, encoder: PatchEncoder, decoder: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
        """Losses (n,) and the mean visible token (n, width) of n arrays."""
        cut = encoder.cut(x)
        visible = max(1, round(encoder.patches * (1 - self.params.masked)))
        order = torch.rand(len(x), encoder.patches, device=x.device).argsort(dim=1)
        kept, hidden = order[:, :visible], order[:, visible:]
        tokens = encoder.encoded(cut, kept)
        wanted = _standardised(cut).gather(1, _wide(hidden, encoder.values))
        given = decoder(tokens, kept).gather(1, _wide(hidden, encoder.values))
        return (given.float() - wanted).square().mean(dim=(1, 2)), tokens.mean(dim=1)


class _Decoder(nn.Module):
    """Visible tokens and, in the places of the others, one learned token -> what every patch holds."""

    def __init__(self, encoder: PatchEncoder, width: int) -> None:
        super().__init__()
        self.enter = nn.Linear(encoder.width, width)
        self.hidden = nn.Parameter(torch.randn(width) * 0.02)
        self.place = nn.Parameter(torch.randn(encoder.patches, width) * 0.02)
        self.blocks = nn.ModuleList(block(width, 4) for _ in range(2))
        self.leave = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, encoder.values))

    def forward(self, tokens: Tensor, kept: Tensor) -> Tensor:
        """Tokens (n, k, width) of the patches at ``kept`` (n, k) -> all patches, (n, patches, values)."""
        seen = self.enter(tokens)
        x = self.hidden.to(seen.dtype).expand(len(seen), *self.place.shape)
        x = x.scatter(1, _wide(kept, seen.shape[-1]), seen) + self.place
        for layer in self.blocks:
            x = layer(x)
        found: Tensor = self.leave(x)
        return found


def _patched(encoder: Encoder) -> PatchEncoder:
    assert isinstance(encoder, PatchEncoder)
    return encoder


def _wide(index: Tensor, width: int) -> Tensor:
    return index.unsqueeze(-1).expand(-1, -1, width)


def _standardised(cut: Tensor) -> Tensor:
    centre, spread = cut.mean(dim=-1, keepdim=True), cut.var(dim=-1, keepdim=True)
    return (cut - centre) / (spread + _LEAST_SPREAD).sqrt()


def _per_sample(values: Tensor, present: Tensor | None) -> Tensor:
    """The mean over each sample's arrays, from (arrays, ...) and (batch, K); 0 where it has none."""
    if present is None:
        return values
    placed = values.new_zeros(*present.shape, *values.shape[1:]).index_put((present,), values)
    count = present.sum(dim=1).clamp(min=1).view(-1, *[1] * (values.dim() - 1))
    return placed.sum(dim=1) / count
