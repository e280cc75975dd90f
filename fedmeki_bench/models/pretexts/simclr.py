"""SimCLR: two views of a sample are to be more alike than views of different samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from fedmeki_bench.errors import InputError
from fedmeki_bench.models.encoder import Encoder
from fedmeki_bench.models.pretext import Pooled, Pretext
from fedmeki_bench.models.views import ViewOptions

if TYPE_CHECKING:
    from collections.abc import Callable


class SimCLR(Pretext):
    """Contrastive pre-training: each view of a sample must find the other one among all views of the batch.

    Chen et al., "A simple framework for contrastive learning of visual representations", ICML 2020, eq. 1 (NT-Xent),
    with a projection head of two linear layers and without batch norm, whose statistics would tell the views of a batch
    from one another. The loss of chance is ln(2 n - 1) for a batch of n, so small batches have an easier task and
    learn less from it.
    """

    paper = "arXiv 2002.05709"
    least = 2

    class Params(ViewOptions):
        temperature: float = Field(0.5, gt=0, description="of the similarities; small ones heed the nearest negatives")
        projection: int = Field(64, ge=2, description="width of what views are compared in")

    def check(self, encoders: Mapping[str, type[Encoder]]) -> None:
        """See :class:`Pretext`: modalities of which views are known."""
        for modality, encoder in encoders.items():
            if encoder.view is Encoder.view:
                raise InputError(
                    f"simclr knows no random views of the modality {modality!r}: it pre-trains encoders of pictures, "
                    "volumes and signals"
                )

    def head(self, encoders: Mapping[str, Encoder]) -> nn.Module:
        """Two linear layers."""
        width = sum(encoder.width for encoder in encoders.values())
        return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, self.params.projection))

    def losses(
        self, head: nn.Module, encoders: Mapping[str, Encoder], inputs: Mapping[str, Tensor], pooled: Pooled
    ) -> tuple[Tensor, Tensor]:
        """See :class:`Pretext`."""
        features, other = (pooled(self._view(encoders, inputs)) for _ in range(2))
        return contrasted(head(features), head(other), self.params.temperature), features

    def _view(self, encoders: Mapping[str, Encoder], inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        views: dict[str, Callable[[Tensor, ViewOptions], Tensor]] = {m: e.view for m, e in encoders.items()}
        return {name: views[name](x, self.params) if name in views else x for name, x in inputs.items()}


def contrasted(one: Tensor, other: Tensor, temperature: float) -> Tensor:
    """NT-Xent of each sample, (n,): the mean over its two views; both are (n, width)."""
    n = len(one)
    both = normalize(torch.cat([one, other]).float(), dim=1)
    alike = (both @ both.T) / temperature
    alike = alike.masked_fill(torch.eye(2 * n, dtype=torch.bool, device=alike.device), float("-inf"))
    partner = torch.arange(2 * n, device=alike.device).roll(n)
    found = cross_entropy(alike, partner, reduction="none")
    return (found[:n] + found[n:]) / 2
