"""The encoder of hourly clinical series: labs, vitals, inputs and outputs in one table of hours by variables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from fedmeki_bench.data.series import SeriesStatistics, model_input
from fedmeki_bench.errors import InputError
from fedmeki_bench.models.encoder import Encoder, Input, Stored

if TYPE_CHECKING:
    import numpy as np

    from fedmeki_bench.profiles import Profile


class SeriesEncoder(Encoder):
    """Base of encoders of hourly series: (batch, hours, features + 1), the last column 1 where the hour is padding.

    Stored series keep their gaps. They are filled and standardised by figures of the private training samples (see
    :mod:`fedmeki_bench.data.series`), as the cohort's options say; a second column per variable says what was charted
    if the cohort was prepared with ``mask``.
    """

    modality = "clinical"
    description = "laboratory results, vital signs, inputs and outputs of an intensive care stay, hour by hour"

    @classmethod
    def taken(cls, stored: Stored, settings: Profile) -> Input:
        """The statistics and options of the cohort say how gaps are filled."""
        if not stored.statistics:
            raise InputError(f"the card of cohort {stored.cohort!r} has no statistics of its series; prepare it again")
        hours, variables = stored.shape
        facts = {
            "statistics": dict(stored.statistics),
            "imputation": stored.options.get("imputation", "forward_median"),
            "mask": stored.options.get("mask", False),
        }
        return Input((hours, variables * (1 + facts["mask"]) + 1), stored.scale, facts)

    def to_input(self, array: np.ndarray, taken: Input, *, lengths: np.ndarray | None, device: torch.device) -> Tensor:
        """See :class:`Encoder`."""
        features, padding = model_input(
            array, SeriesStatistics.from_json(taken.facts["statistics"]), lengths=lengths,
            imputation=taken.facts["imputation"], mask=taken.facts["mask"],
        )  # fmt: skip
        padded = torch.from_numpy(padding).float().unsqueeze(-1)
        return torch.cat([torch.from_numpy(features), padded], dim=-1).to(device)

    def mask(self, x: Tensor) -> Tensor | None:
        """Padded hours say nothing."""
        return x[..., -1] < 0.5


class ClinicalEncoder(SeriesEncoder):
    """FedMEKI's: linear -> ReLU -> one transformer layer -> layer norm -> ReLU -> linear, one token per hour.

    Padded hours are neither attended to nor averaged.
    """

    class Params(Encoder.Params):
        width: int = Field(4096, ge=1, description="features per token")
        hidden: int = Field(512, ge=8, description="width of the transformer layer and of its feed-forward part")
        heads: int = Field(8, ge=1, description="attention heads; must divide hidden")
        dropout: float = Field(0.1, ge=0, lt=1, description="dropout of the transformer layer")
        attention: Literal["time", "batch"] = Field(
            "time",
            description="attend over a stay's hours, or over the batch as the published code does (then a prediction "
            "depends on its batch mates)",
        )

    def __init__(self, shape: tuple[int, ...], params: Params) -> None:
        super().__init__()
        self.width = params.width
        self._over_time = params.attention == "time"
        self.enter = nn.Linear(shape[-1] - 1, params.hidden)
        self.layer = nn.TransformerEncoderLayer(
            params.hidden, params.heads, params.hidden, params.dropout, batch_first=self._over_time
        )
        self.norm = nn.LayerNorm(params.hidden)
        self.project = nn.Linear(params.hidden, params.width)

    def _hours(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features per hour before the last linear layer (batch, hours, hidden), and which hours are padding."""
        padding = x[..., -1] > 0.5
        entered = self.enter(x[..., :-1]).relu()
        attended = self.layer(entered, src_key_padding_mask=padding if self._over_time else None)
        return self.norm(attended).relu(), padding

    def forward(self, x: Tensor) -> Tensor:
        """See :class:`Encoder`."""
        return self.project(self._hours(x)[0])

    def pooled(self, x: Tensor) -> Tensor:
        """The mean over real hours first, then the linear layer: the same result for 25 times less arithmetic."""
        hours, padding = self._hours(x)
        real = (~padding).unsqueeze(-1).to(hours.dtype)
        return self.project((hours * real).sum(dim=1) / real.sum(dim=1).clamp(min=1.0))


class LabsEncoder(ClinicalEncoder):
    """The same network for laboratory results outside intensive care, which are other variables."""

    modality = "labs"
    description = "laboratory results of the days before, hour by hour"
