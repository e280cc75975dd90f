"""ECG encoders: the published two-layer net, and a small one that learns from few records."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor, nn

from fedmeki_bench.models.encoder import Encoder
from fedmeki_bench.models.views import ViewOptions, view_of_signal


class SignalEncoder(Encoder):
    """Base of encoders of signals: (batch, channels, samples) in physical units, such as an ECG in mV."""

    modality = "signal"
    description = "a twelve-lead electrocardiogram of ten seconds, as a signal over time"

    def view(self, x: Tensor, how: ViewOptions) -> Tensor:
        """See :class:`Encoder`."""
        return view_of_signal(x, how)


class PublishedSignalEncoder(SignalEncoder):
    """FedMEKI's ECG net: 2 x [conv1d 12 -> 12, kernel 3, batch norm, ReLU], then linear 1000 -> 4096 per lead.

    Gives one token per lead: (batch, 12, 4096) from (batch, 12, 1000) in mV.
    """

    class Params(Encoder.Params):
        width: int = Field(4096, ge=1, description="features per token")

    def __init__(self, shape: tuple[int, ...], params: Params) -> None:
        super().__init__()
        leads, samples = shape
        self.width = params.width
        self.layers = nn.Sequential(
            nn.Conv1d(leads, leads, 3, padding=1), nn.BatchNorm1d(leads), nn.ReLU(),
            nn.Conv1d(leads, leads, 3, padding=1), nn.BatchNorm1d(leads), nn.ReLU(),
        )  # fmt: skip
        self.project = nn.Linear(samples, params.width)

    def forward(self, x: Tensor) -> Tensor:
        """See :class:`Encoder`."""
        return self.project(self.layers(x))

    def pooled(self, x: Tensor) -> Tensor:
        """The mean over leads first, then the linear layer: 12 times less arithmetic, the same result."""
        return self.project(self.layers(x).mean(dim=1))


class SmallSignalEncoder(SignalEncoder):
    """Three convolutions over time with batch norm and max pooling; 10 s of 12-lead ECG become 31 tokens.

    It learns from a few hundred records, where the published net, whose linear layer has a weight per time
    step, memorises them.
    """

    class Params(Encoder.Params):
        width: int = Field(64, ge=8, description="features per token")

    def __init__(self, shape: tuple[int, ...], params: Params) -> None:
        super().__init__()
        self.width = width = params.width
        self.layers = nn.Sequential(
            nn.Conv1d(shape[0], width, 15, stride=4, padding=7), nn.BatchNorm1d(width), nn.ReLU(), nn.MaxPool1d(2),
            nn.Conv1d(width, width, 9, padding=4), nn.BatchNorm1d(width), nn.ReLU(), nn.MaxPool1d(2),
            nn.Conv1d(width, width, 9, padding=4), nn.BatchNorm1d(width), nn.ReLU(), nn.MaxPool1d(2),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """See :class:`Encoder`."""
        return self.layers(x).transpose(1, 2)
