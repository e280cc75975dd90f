"""Two small encoders that keep every clause, and others with one deliberate mistake each."""

from __future__ import annotations

import numpy as np
import torch
from pydantic import Field
from torch import nn

from fedmeki_bench.api import Encoder, ImageEncoder, Input, SeriesEncoder


class Patches(ImageEncoder):
    """Patches of eight by eight pixels, each with its place, through two layers."""

    class Params(Encoder.Params):
        width: int = Field(8, ge=1, description="features per token")

    def __init__(self, shape, params):
        super().__init__()
        self.width = params.width
        self.layers = nn.Conv2d(shape[0], 16, 8, stride=8)
        self.place = nn.Parameter(torch.randn((shape[1] // 8) * (shape[2] // 8), 16))
        self.last = nn.Linear(16, params.width)

    def hidden(self, x):
        return (self.layers(x - 0.5).flatten(2).transpose(1, 2) + self.place).tanh()

    def forward(self, x):
        return self.last(self.hidden(x))


class Hours(SeriesEncoder):
    """Every hour by itself."""

    def __init__(self, shape, params):
        super().__init__()
        self.width = 8
        self.layers = nn.Sequential(nn.Linear(shape[-1] - 1, 16), nn.Tanh(), nn.Linear(16, 8))

    def forward(self, x):
        return self.layers(x[..., :-1])


class NoModality(Encoder):
    """Does not say what it reads."""


class WidthUnset(Patches):
    """Has no width."""

    def __init__(self, shape, params):
        super().__init__(shape, params)
        del self.width


class FactsForget(Patches):
    """Keeps a tuple where JSON has lists."""

    @classmethod
    def taken(cls, stored, settings):
        plain = super().taken(stored, settings)
        return Input(plain.shape, plain.scale, {"sides": (1, 2)})


class ByTheBatch(Patches):
    """Standardises pictures by what happens to be beside them."""

    def to_input(self, array, taken, *, lengths, device):
        x = super().to_input(array, taken, lengths=lengths, device=device)
        return x - x.mean() + 0.5


class Homebody(Patches):
    """Leaves its inputs where they are."""

    def to_input(self, array, taken, *, lengths, device):
        return super().to_input(array, taken, lengths=lengths, device=torch.device("cpu"))


class OtherWidth(Patches):
    """Says another width than its tokens have."""

    def __init__(self, shape, params):
        super().__init__(shape, params)
        self.width = 9


class PooledByMaximum(Patches):
    """The largest token in the place of the mean."""

    def pooled(self, x):
        return self(x).max(dim=1).values


class DrawsElsewhere(Patches):
    """Draws its first weights from NumPy's global stream."""

    def __init__(self, shape, params):
        super().__init__(shape, params)
        drawn = np.random.normal(0, 0.3, self.last.weight.shape)  # noqa: NPY002 - the mistake
        self.last.weight.data.copy_(torch.from_numpy(drawn))


class Neighbours(Patches):
    """Normalises by the batch in evaluation mode, too."""

    def forward(self, x):
        hidden = self.hidden(x)
        return self.last(hidden - 0.5 * hidden.mean(dim=(0, 1), keepdim=True))


class Counts(Patches):
    """Counts its passes in a buffer, in evaluation mode, too."""

    def __init__(self, shape, params):
        super().__init__(shape, params)
        self.register_buffer("passes", torch.zeros((), dtype=torch.int64))

    def forward(self, x):
        self.passes += 1
        return super().forward(x)


class ReadsPadding(Hours):
    """Adds the mean over all hours, padded ones too, to each."""

    def forward(self, x):
        tokens = super().forward(x)
        return tokens + tokens.mean(dim=1, keepdim=True)


class NoMask(Hours):
    """Says that every hour is real."""

    def mask(self, x):
        return None


class Unused(Patches):
    """Has a layer that it never asks."""

    def __init__(self, shape, params):
        super().__init__(shape, params)
        self.spare = nn.Linear(4, 4)


class Detached(Patches):
    """Cuts the gradient of the places."""

    def hidden(self, x):
        return (self.layers(x - 0.5).flatten(2).transpose(1, 2) + self.place.detach()).tanh()


class Remembers(Patches):
    """Computes with the weight it had at first, by a reference of its own."""

    def __init__(self, shape, params):
        super().__init__(shape, params)
        self.known = (self.last.weight, self.last.bias)

    def forward(self, x):
        return nn.functional.linear(self.hidden(x), *self.known)


class KeepsToItself(Patches):
    """A running mean that is no buffer."""

    def __init__(self, shape, params):
        super().__init__(shape, params)
        self.mean = torch.zeros(16)

    def forward(self, x):
        hidden = self.hidden(x)
        if self.training:
            self.mean = 0.5 * self.mean + 0.5 * hidden.detach().mean(dim=(0, 1))
        return self.last(hidden - self.mean)


class ReplacesABuffer(KeepsToItself):
    """A running mean in a buffer, which is replaced and not changed."""

    def __init__(self, shape, params):
        super().__init__(shape, params)
        del self.mean
        self.register_buffer("mean", torch.zeros(16))


class Blind(Patches):
    """Has weights that learn, and looks at nothing."""

    def hidden(self, x):
        return super().hidden(torch.full_like(x, 0.8))


GOOD = (Patches, Hours)
WRONG = [
    (NoModality, "loads", "its modality is None"),
    (WidthUnset, "loads", "its width is None once it is built"),
    (FactsForget, "input", "do not come back from JSON"),
    (ByTheBatch, "input", "another input of a sample when it comes alone"),
    (Homebody, "input", "on another device"),
    (OtherWidth, "shape", "float32 (batch, tokens, 9) is expected"),
    (PooledByMaximum, "pooled", "is not the mean of the real tokens"),
    (DrawsElsewhere, "deterministic", "'last.weight' is another one in a second encoder of the same seed"),
    (Neighbours, "alone", "depend on the other samples of its batch"),
    (Counts, "alone", "change what the encoder holds"),
    (ReadsPadding, "padding", "other values in padded hours of the input"),
    (NoMask, "padding", "mask() says that all tokens are real"),
    (Unused, "gradients", "no gradient reaches 'spare.weight'"),
    (Detached, "gradients", "no gradient reaches 'place'"),
    (Remembers, "functional", "does not compute what that one does"),
    (KeepsToItself, "state", "register what it remembers as a buffer"),
    (ReplacesABuffer, "state", "change it in place"),
    (Blind, "learns", "at least 0.8 is expected"),
]
