"""What an encoder is: it owns one modality, from the stored array to tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from fedmeki_bench.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from fedmeki_bench.models.views import ViewOptions
    from fedmeki_bench.profiles import Profile


@dataclass(frozen=True, slots=True)
class Stored:
    """How a cohort stores one modality, as its card says.

    Attributes:
        cohort: the cohort's name, for sentences.
        shape: of one sample.
        scale: physical value = stored value x scale.
        statistics: of the private training samples, under the modality's name on the card; empty without any.
        options: what the cohort was prepared with.
    """

    cohort: str
    shape: tuple[int, ...]
    scale: float
    statistics: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Input:
    """How a model takes one modality.

    Attributes:
        shape: of one sample as the encoder gets it.
        scale: physical value = stored value x scale.
        facts: what else its encoder needs to read a stored array, as JSON values.
    """

    shape: tuple[int, ...]
    scale: float = 1.0
    facts: Mapping[str, Any] = field(default_factory=dict)


class Encoder(nn.Module):
    """Base of all encoders; plug-ins are declared in the entry-point group ``fedmeki_bench.encoders``.

    A subclass is built as ``Encoder(shape, params)`` where ``shape`` is the shape of one sample, e.g.
    ``(1, 64, 64)``, and sets ``width``, the size of a token. Encoders of pictures, signals and clinical series descend
    from :class:`~fedmeki_bench.models.encoders.image.ImageEncoder`,
    :class:`~fedmeki_bench.models.encoders.signal.SignalEncoder` and
    :class:`~fedmeki_bench.models.encoders.clinical.SeriesEncoder`, which read what cohorts store of these.

    Attributes:
        version: raised, as a plain number, whenever the encoder's numbers change; part of a run's identity from 2 on.
        modality: the modality it reads.
        description: the modality in words, M_t of FedKIM, which the gate of adapters reads; its name if empty.
        width: features per token.
    """

    class Params(BaseModel):
        """No parameters unless a subclass declares some."""

        model_config = ConfigDict(extra="forbid")

    version: ClassVar[int] = 1
    modality: ClassVar[str]
    description: ClassVar[str] = ""
    width: int

    @classmethod
    def taken(cls, stored: Stored, settings: Profile) -> Input:
        """How it takes what a cohort stores; as it is by default.

        Raises:
            InputError: the cohort does not fit the profile; the sentence says how to prepare it.
        """
        return Input(stored.shape, stored.scale)

    def to_input(self, array: np.ndarray, taken: Input, *, lengths: np.ndarray | None, device: torch.device) -> Tensor:
        """Stored samples (batch, *stored shape) -> physical float32 (batch, *taken.shape).

        Args:
            lengths: (batch,) how many rows belong to each sample, where samples differ in length.
        """
        return torch.from_numpy(array).to(device, non_blocking=True).to(torch.float32).mul_(taken.scale)

    def shrinks(self, shape: tuple[int, ...], taken: Input) -> bool:
        """Whether :meth:`to_input` makes a much smaller input of a stored array of this shape, by itself.

        Such inputs are made once and kept (see :mod:`~fedmeki_bench.models.shrunk`), so ``to_input`` must give the same
        bits for the same array whenever it is asked, and read neither lengths nor anything else of the encoder.
        """
        return False

    def view(self, x: Tensor, how: ViewOptions) -> Tensor:
        """A random view of physical inputs (n, *shape), as large, for contrastive pre-training.

        Raises:
            InputError: none is known for the modality.
        """
        raise InputError(f"no random views of the modality {type(self).modality!r} are known")

    def mask(self, x: Tensor) -> Tensor | None:
        """Which tokens of physical inputs are real, (batch, tokens) of bool; None if all are."""
        return None

    def forward(self, x: Tensor) -> Tensor:
        """Physical inputs (batch, *shape) -> tokens (batch, tokens, width)."""
        raise NotImplementedError

    def pooled(self, x: Tensor) -> Tensor:
        """The mean over the real tokens, (batch, width).

        Encoders that end in a linear layer override this and take the mean *before* that layer: exact by
        linearity, and the layer then runs once per sample instead of once per token.
        """
        tokens: Tensor = self(x)
        there = self.mask(x)
        if there is None:
            return tokens.mean(dim=1)
        real = there.unsqueeze(-1).to(tokens.dtype)
        return (tokens * real).sum(dim=1) / real.sum(dim=1).clamp(min=1.0)
