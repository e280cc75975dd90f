"""Image encoders: DeiT-tiny as published, and a small convolutional one for minutes-long budgets."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from pydantic import Field
from torch import Tensor, nn

from fedmeki_bench.errors import InputError
from fedmeki_bench.models.encoder import Encoder, Input, Stored
from fedmeki_bench.models.views import ViewOptions, view_of_grid

if TYPE_CHECKING:
    import numpy as np

    from fedmeki_bench.profiles import Profile


def standardise(x: Tensor) -> Tensor:
    """Grey levels 0..1 -> about -1..1, the range DeiT's published preprocessing gives (mean and SD 0.5)."""
    return (x - 0.5) / 0.5


class ImageEncoder(Encoder):
    """Base of encoders of pictures: (batch, 1, side, side), grey levels 0 to 1, shrunk to the profile's size."""

    modality = "image"
    description = "a chest radiograph or another medical image, as picture patches"

    @classmethod
    def taken(cls, stored: Stored, settings: Profile) -> Input:
        """Pictures may be shrunk to the profile's size, never enlarged."""
        if stored.shape[-1] < settings.image_size:
            raise InputError(
                f"cohort {stored.cohort!r} holds pictures of {stored.shape[-1]} px, the profile wants "
                f"{settings.image_size} px; prepare it again with -o image_size={settings.image_size}"
            )
        return Input((stored.shape[0], settings.image_size, settings.image_size), stored.scale)

    def to_input(self, array: np.ndarray, taken: Input, *, lengths: np.ndarray | None, device: torch.device) -> Tensor:
        """See :class:`Encoder`."""
        return shrink(super().to_input(array, taken, lengths=lengths, device=device), taken.shape[-1])

    def view(self, x: Tensor, how: ViewOptions) -> Tensor:
        """See :class:`Encoder`."""
        return view_of_grid(x, how)

    def shrinks(self, shape: tuple[int, ...], taken: Input) -> bool:
        """See :class:`Encoder`; whoever reads pictures in a way of their own, perhaps at random, says it anew."""
        return type(self).to_input is ImageEncoder.to_input and shape[-1] > taken.shape[-1]


class SmallImageEncoder(ImageEncoder):
    """Four strided convolutions with batch norm; a 64 x 64 picture becomes 16 tokens."""

    class Params(Encoder.Params):
        width: int = Field(64, ge=8, multiple_of=8, description="features per token")

    def __init__(self, shape: tuple[int, ...], params: Params) -> None:
        super().__init__()
        self.width = params.width
        sizes = (shape[0], params.width // 4, params.width // 2, params.width, params.width)
        layers: list[nn.Module] = []
        for before, after in pairwise(sizes):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """See :class:`Encoder`."""
        return self.layers(standardise(x)).flatten(2).transpose(1, 2)


class DeiTTinyEncoder(ImageEncoder):
    """DeiT-tiny distilled: patch 16, width 192, 12 blocks, 3 heads; 198 tokens from 224 x 224.

    Touvron et al., "Training data-efficient image transformers", ICML 2021; the image encoder of FedMEKI.
    """

    class Params(Encoder.Params):
        weights: Path | None = Field(
            None, description="folder with pretrained weights (config.json, model.safetensors); random if not given"
        )

    def __init__(self, shape: tuple[int, ...], params: Params) -> None:
        super().__init__()
        from transformers import DeiTConfig, DeiTModel

        if params.weights is None:
            config = DeiTConfig(
                hidden_size=192, num_hidden_layers=12, num_attention_heads=3, intermediate_size=768,
                image_size=shape[-1], patch_size=16, num_channels=3,
            )  # fmt: skip
            self.deit = DeiTModel(config, add_pooling_layer=False)
        else:
            if not (params.weights / "config.json").is_file():
                raise InputError(f"no config.json in {params.weights}; weights must be a folder saved by transformers")
            self.deit = DeiTModel.from_pretrained(
                str(params.weights), add_pooling_layer=False, local_files_only=True, use_safetensors=True
            )
        if self.deit.config.image_size != shape[-1]:
            raise InputError(
                f"the DeiT weights are for {self.deit.config.image_size} px, the cohort is prepared at {shape[-1]} px; "
                f"prepare it again with -o image_size={self.deit.config.image_size}"
            )
        self.width = int(self.deit.config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """See :class:`Encoder`."""
        pixels = standardise(x).expand(-1, 3, -1, -1)
        return self.deit(pixel_values=pixels).last_hidden_state


def shrink(x: Tensor, size: int) -> Tensor:
    """Area-average pictures (batch, channels, S, S) to ``size`` px; ``size`` may not exceed S."""
    return torch.nn.functional.adaptive_avg_pool2d(x, size) if x.shape[-1] != size else x
