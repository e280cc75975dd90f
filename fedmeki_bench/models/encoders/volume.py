"""Encoders of volumes: a small convolutional one, and a vision transformer over blocks of voxels."""

from __future__ import annotations

from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from fedmeki_bench.models.encoder import Encoder, Input, Stored
from fedmeki_bench.models.views import ViewOptions, view_of_grid

if TYPE_CHECKING:
    import numpy as np

    from fedmeki_bench.profiles import Profile


class VolumeEncoder(Encoder):
    """Base of encoders of volumes: (batch, channels, D, H, W), grey levels 0 to 1, shrunk to the profile's size.

    A stored picture (channels, H, W) is a volume of depth 1.
    """

    modality = "volume"
    description = "a scan of the body in three dimensions, such as a CT or MRI, as blocks of voxels"

    @classmethod
    def taken(cls, stored: Stored, settings: Profile) -> Input:
        """Volumes may be shrunk to the profile's size along each axis, never enlarged."""
        channels, *sides = stored.shape
        sides = [1, *sides] if len(sides) == 2 else sides
        shrunk = [min(side, wanted) for side, wanted in zip(sides, settings.volume_size, strict=True)]
        return Input((channels, *shrunk), stored.scale)

    def to_input(self, array: np.ndarray, taken: Input, *, lengths: np.ndarray | None, device: torch.device) -> Tensor:
        """See :class:`Encoder`."""
        x = super().to_input(array, taken, lengths=lengths, device=device)
        x = x.unsqueeze(2) if x.dim() == 4 else x
        _, depth, height, width = taken.shape
        same = x.shape[2:] == (depth, height, width)
        return x if same else nn.functional.adaptive_avg_pool3d(x, (depth, height, width))

    def view(self, x: Tensor, how: ViewOptions) -> Tensor:
        """See :class:`Encoder`."""
        return view_of_grid(x, how)

    def shrinks(self, shape: tuple[int, ...], taken: Input) -> bool:
        """See :class:`Encoder`; whoever reads volumes in a way of their own says it anew."""
        return type(self).to_input is VolumeEncoder.to_input and prod(shape) > prod(taken.shape)


class SmallVolumeEncoder(VolumeEncoder):
    """Four strided convolutions with batch norm, the first one within slices; 16 x 32 x 32 voxels become 8 tokens."""

    class Params(Encoder.Params):
        width: int = Field(64, ge=8, multiple_of=8, description="features per token")

    def __init__(self, shape: tuple[int, ...], params: Params) -> None:
        super().__init__()
        self.width = params.width
        sizes = (shape[0], params.width // 4, params.width // 2, params.width, params.width)
        layers: list[nn.Module] = []
        for before, after in pairwise(sizes):
            stride = (2, 2, 2) if layers else (1, 2, 2)
            layers += [nn.Conv3d(before, after, 3, stride=stride, padding=1), nn.BatchNorm3d(after), nn.ReLU()]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """See :class:`Encoder`."""
        return self.layers((x - 0.5) / 0.5).flatten(2).transpose(1, 2)


class Vit3dEncoder(VolumeEncoder):
    """A vision transformer over blocks of 4 x 32 x 32 voxels, a token each, as RadFM cuts its scans.

    Blocks after Wu et al., "Towards generalist foundation model for radiology", arXiv 2308.02463, which has 12 layers
    of width 768; here they are of DeiT-tiny's size by default. A side is cut into at least four, so that
    small volumes have several blocks, too; what a volume lacks to whole blocks is dark.
    """

    class Params(Encoder.Params):
        patch: tuple[int, int, int] = Field((4, 32, 32), description="largest depth, height and width of a block")
        width: int = Field(192, ge=8, description="features per token")
        layers: int = Field(12, ge=1, le=48, description="transformer layers")
        heads: int = Field(3, ge=1, description="attention heads; they share the width evenly")

        @model_validator(mode="after")
        def _fitting(self) -> Vit3dEncoder.Params:
            if self.width % self.heads or min(self.patch) < 1:
                raise ValueError("a block has a voxel or more, and the width is a multiple of the heads")
            return self

    def __init__(self, shape: tuple[int, ...], params: Params) -> None:
        super().__init__()
        self.width = params.width
        channels, *sides = shape
        deep, high, wide = patch = [min(k, max(1, side // 4)) for k, side in zip(params.patch, sides, strict=True)]
        counts = [-(-side // k) for side, k in zip(sides, patch, strict=True)]
        self.margin = [n * k - side for n, k, side in zip(counts, patch, sides, strict=True)]
        self.blocks = nn.Conv3d(channels, params.width, (deep, high, wide), stride=(deep, high, wide))
        self.place = nn.Parameter(torch.randn(prod(counts), params.width) * 0.02)
        layer = nn.TransformerEncoderLayer(
            params.width, params.heads, 4 * params.width, dropout=0.0, activation="gelu", batch_first=True,
            norm_first=True,
        )  # fmt: skip
        self.layers = nn.TransformerEncoder(
            layer, params.layers, norm=nn.LayerNorm(params.width), enable_nested_tensor=False
        )

    def forward(self, x: Tensor) -> Tensor:
        """See :class:`Encoder`."""
        depth, height, width = self.margin
        x = nn.functional.pad((x - 0.5) / 0.5, (0, width, 0, height, 0, depth), value=-1.0)
        return self.layers(self.blocks(x).flatten(2).transpose(1, 2) + self.place)
