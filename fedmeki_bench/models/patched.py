"""Encoders that cut a sample into patches and attend over them: what masked pre-training needs, too."""

from __future__ import annotations

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from fedmeki_bench.models.encoder import Encoder


class PatchEncoder(Encoder):
    """Base of transformers over patches; a subclass says how a sample is cut (:meth:`cut`).

    Blocks of attention and a two-layer perceptron, each after a layer norm and around a shortcut, and a layer norm at
    the end (Dosovitskiy et al., "An image is worth 16x16 words", ICLR 2021), without a class token: tokens are patches.
    There is no dropout and no batch norm, so a sample's features depend on that sample alone. Every layer draws its own
    initial weights.

    Attributes:
        patches: how many patches a sample has.
        values: how many numbers a patch has.
    """

    class Params(Encoder.Params):
        width: int = Field(64, ge=8, description="features per token")
        layers: int = Field(4, ge=1, le=48, description="transformer layers")
        heads: int = Field(4, ge=1, description="attention heads; they share the width evenly")

        @model_validator(mode="after")
        def _fitting(self) -> PatchEncoder.Params:
            if self.width % self.heads:
                raise ValueError("the width is a multiple of the heads")
            return self

    patches: int
    values: int

    def build(self, params: Params, patches: int, values: int) -> None:
        """Make the layers; called by a subclass once it knows how samples are cut."""
        self.width, self.patches, self.values = params.width, patches, values
        self.project = nn.Linear(values, params.width)
        self.place = nn.Parameter(torch.randn(patches, params.width) * 0.02)
        self.blocks = nn.ModuleList(block(params.width, params.heads) for _ in range(params.layers))
        self.norm = nn.LayerNorm(params.width)

    def cut(self, x: Tensor) -> Tensor:
        """Physical inputs (n, *shape) -> what its patches hold, about -1 to 1, (n, patches, values)."""
        raise NotImplementedError

    def encoded(self, cut: Tensor, kept: Tensor | None = None) -> Tensor:
        """Patches (n, patches, values) -> tokens of all of them, or of those at ``kept`` (n, k) alone, in that order.

        Patches that are not kept are never seen: He et al., "Masked autoencoders are scalable vision learners",
        CVPR 2022.
        """
        tokens = self.project(cut) + self.place
        if kept is not None:
            tokens = tokens.gather(1, kept.unsqueeze(-1).expand(-1, -1, tokens.shape[-1]))
        for layer in self.blocks:
            tokens = layer(tokens)
        found: Tensor = self.norm(tokens)
        return found

    def forward(self, x: Tensor) -> Tensor:
        """See :class:`Encoder`."""
        return self.encoded(self.cut(x))


def block(width: int, heads: int) -> nn.Module:
    """One layer of a transformer: attention and a perceptron of four times the width, each after a layer norm."""
    return nn.TransformerEncoderLayer(
        width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )
