"""Random views of a sample, as contrastive pre-training compares them; drawn from torch's global stream.

That stream begins anew at every training step (:mod:`~fedmeki_bench.models.training`), so views, like dropout masks,
depend on seed, task, client, round and step alone.
"""

from __future__ import annotations

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample


class ViewOptions(BaseModel):
    """How far a view may be from the sample; a modality leaves out what it does not know, such as flips of a signal."""

    model_config = ConfigDict(extra="forbid")

    crop: float = Field(0.6, gt=0, le=1, description="smallest part of each side, or of the time, that a view shows")
    flip: bool = Field(True, description="turn half of the views of pictures around, left for right")
    contrast: float = Field(0.4, ge=0, lt=1, description="contrast, or amplitude, is multiplied by 1 -+ this at most")
    noise: float = Field(0.05, ge=0, description="standard deviation of added noise, in those of the sample")
    drop: float = Field(0.1, ge=0, lt=1, description="chance that a lead of a signal is silent in a view")


def view_of_grid(x: Tensor, how: ViewOptions) -> Tensor:
    """A view of pictures (n, channels, H, W) or volumes (n, channels, D, H, W) with grey levels 0 to 1; as large.

    A part of it, at one scale along all sides, enlarged again and perhaps turned around; then other contrast and noise.
    """
    n, sides = len(x), x.dim() - 2
    part = how.crop + (1 - how.crop) * _uniform(x, n, 1)
    shift = (2 * _uniform(x, n, sides) - 1) * (1 - part)
    turned = torch.where(_uniform(x, n) < 0.5, -1.0, 1.0) if how.flip else torch.ones(n, device=x.device)
    where = torch.zeros(n, sides, sides + 1, device=x.device)
    for side in range(sides):
        where[:, side, side] = part[:, 0] * (turned if side == 0 else 1.0)
    where[:, :, sides] = shift
    grid = affine_grid(where, list(x.shape), align_corners=False)
    found = grid_sample(x, grid, padding_mode="border", align_corners=False)
    centre = found.flatten(1).mean(dim=1).view(n, *[1] * (x.dim() - 1))
    return _noisy(centre + (found - centre) * _factor(x, n, how), how).clamp(0, 1)


def view_of_signal(x: Tensor, how: ViewOptions) -> Tensor:
    """A view of signals (n, channels, samples): a stretch of time drawn out, other amplitude, noise, silent leads.

    One lead is left at least.
    """
    n, leads, samples = x.shape
    part = how.crop + (1 - how.crop) * _uniform(x, n, 1)
    shift = (2 * _uniform(x, n, 1) - 1) * (1 - part)
    time = torch.linspace(-1, 1, samples, device=x.device) * part + shift
    grid = torch.stack([time, torch.zeros_like(time)], dim=-1).unsqueeze(1)
    found = grid_sample(x.unsqueeze(2), grid, padding_mode="border", align_corners=True).squeeze(2)
    chance = _uniform(x, n, leads)
    heard = (chance >= how.drop) | (chance == chance.amax(dim=1, keepdim=True))
    return _noisy(found * _factor(x, n, how), how) * heard.unsqueeze(-1)


def _uniform(x: Tensor, *shape: int) -> Tensor:
    return torch.rand(*shape, device=x.device)


def _factor(x: Tensor, n: int, how: ViewOptions) -> Tensor:
    return (1 + how.contrast * (2 * _uniform(x, n) - 1)).view(n, *[1] * (x.dim() - 1))


def _noisy(x: Tensor, how: ViewOptions) -> Tensor:
    deviation = x.flatten(1).std(dim=1).view(len(x), *[1] * (x.dim() - 1)) if len(x) else x
    return x + how.noise * deviation * torch.randn_like(x)
