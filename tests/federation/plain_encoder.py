"""An ECG encoder without batch norm, for rules that treat batch norm specially."""

from __future__ import annotations

from torch import nn

from fedmeki_bench.models.encoder import Encoder


class GroupNormEncoder(Encoder):
    """One convolution with group norm and one token per quarter of a second."""

    modality = "signal"

    def __init__(self, shape, params):
        super().__init__()
        self.width = 16
        self.layers = nn.Sequential(nn.Conv1d(shape[0], 16, 9, stride=8), nn.GroupNorm(4, 16), nn.ReLU())

    def forward(self, x):
        return self.layers(x).transpose(1, 2)
