"""The encoder of hourly clinical series: labs, vitals, inputs and outputs in one table of hours by variables."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

from fedmeki_bench.models.encoder import Encoder


class ClinicalEncoder(Encoder):
    """FedMEKI's: linear -> ReLU -> one transformer layer -> layer norm -> ReLU -> linear, one token per hour.

    It takes (batch, hours, variables + 1) as :func:`fedmeki_bench.data.series.model_input` gives it, the last column
    being 1 where the hour is padding; padded hours are neither attended to nor averaged.
    """

    modality: ClassVar[str] = "clinical"

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
