"""What an encoder is: it turns one modality into tokens."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn


class Encoder(nn.Module):
    """Base of all encoders; plug-ins are declared in the entry-point group ``fedmeki_bench.encoders``.

    A subclass is built as ``Encoder(shape, params)`` where ``shape`` is the shape of one sample, e.g.
    ``(1, 64, 64)``, and sets ``width``, the size of a token.

    Attributes:
        version: raised, as a plain number, whenever the encoder's numbers change; part of a run's identity from 2 on.
        modality: the modality it reads.
        width: features per token.
    """

    class Params(BaseModel):
        """No parameters unless a subclass declares some."""

        model_config = ConfigDict(extra="forbid")

    version: ClassVar[int] = 1
    modality: ClassVar[str]
    width: int

    def forward(self, x: Tensor) -> Tensor:
        """Physical inputs (batch, *shape) -> tokens (batch, tokens, width)."""
        raise NotImplementedError

    def pooled(self, x: Tensor) -> Tensor:
        """The mean over tokens, (batch, width).

        Encoders that end in a linear layer override this and take the mean *before* that layer: exact by
        linearity, and the layer then runs once per sample instead of once per token.
        """
        return self(x).mean(dim=1)
