"""Vision transformers in three sizes, for pictures and, cut along time, for signals."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor, nn

from fedmeki_bench.models.encoders.image import ImageEncoder, standardise
from fedmeki_bench.models.encoders.signal import SignalEncoder
from fedmeki_bench.models.patched import PatchEncoder

_LARGEST = 16  # pixels; the patch of ViT and DeiT at 224 px
_A_SIDE = 4  # patches at least


class VitNanoEncoder(PatchEncoder, ImageEncoder):
    """A vision transformer of 0.2 million parameters: 4 layers of width 64; 64 x 64 px become 16 tokens."""

    class Params(PatchEncoder.Params):
        patch: int | None = Field(
            None, ge=1, description="side of a patch in pixels; a quarter of the side, 16 at most"
        )

    def __init__(self, shape: tuple[int, ...], params: Params) -> None:
        super().__init__()
        channels, side = shape[0], shape[-1]
        self.patch = min(params.patch or min(_LARGEST, side // _A_SIDE), side)
        self.count = -(-side // self.patch)
        self.margin = self.count * self.patch - side
        self.build(params, self.count**2, channels * self.patch**2)

    def cut(self, x: Tensor) -> Tensor:
        """Squares from left to right and top to bottom; what lacks to whole ones is dark."""
        x = nn.functional.pad(standardise(x), (0, self.margin, 0, self.margin), value=-1.0)
        return nn.functional.unfold(x, self.patch, stride=self.patch).transpose(1, 2)


class VitTinyEncoder(VitNanoEncoder):
    """A vision transformer of 1.2 million parameters: 6 layers of width 128."""

    class Params(VitNanoEncoder.Params):
        width: int = Field(128, ge=8, description="features per token")
        layers: int = Field(6, ge=1, le=48, description="transformer layers")


class VitSmallEncoder(VitNanoEncoder):
    """A vision transformer of 4.8 million parameters: 6 layers of width 256."""

    class Params(VitNanoEncoder.Params):
        width: int = Field(256, ge=8, description="features per token")
        layers: int = Field(6, ge=1, le=48, description="transformer layers")


class VitSignalNanoEncoder(PatchEncoder, SignalEncoder):
    """A transformer over stretches of a signal, of 0.2 million parameters; 10 s of ECG become 40 tokens.

    Each channel is divided by ``scale``, so that what masked pre-training predicts is about 1.
    """

    class Params(PatchEncoder.Params):
        patch: int = Field(25, ge=1, description="length of a stretch in samples, of all channels together")
        scale: float = Field(0.5, gt=0, description="what a usual deviation of the signal is, e.g. in mV")

    def __init__(self, shape: tuple[int, ...], params: Params) -> None:
        super().__init__()
        channels, samples = shape
        self.patch, self.scale = min(params.patch, samples), params.scale
        count = -(-samples // self.patch)
        self.margin = count * self.patch - samples
        self.build(params, count, channels * self.patch)

    def cut(self, x: Tensor) -> Tensor:
        """Stretches in order of time; what lacks to a whole one is 0."""
        x = nn.functional.pad(x / self.scale, (0, self.margin)).unfold(2, self.patch, self.patch)
        return x.transpose(1, 2).flatten(2)


class VitSignalTinyEncoder(VitSignalNanoEncoder):
    """A transformer over stretches of a signal, of 1.2 million parameters: 6 layers of width 128."""

    class Params(VitSignalNanoEncoder.Params):
        width: int = Field(128, ge=8, description="features per token")
        layers: int = Field(6, ge=1, le=48, description="transformer layers")


class VitSignalSmallEncoder(VitSignalNanoEncoder):
    """A transformer over stretches of a signal, of 4.8 million parameters: 6 layers of width 256."""

    class Params(VitSignalNanoEncoder.Params):
        width: int = Field(256, ge=8, description="features per token")
        layers: int = Field(6, ge=1, le=48, description="transformer layers")
