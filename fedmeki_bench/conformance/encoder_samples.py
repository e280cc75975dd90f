"""Stored samples of an encoder's modality: generated ones, or those of a dataset that stores a modality of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from fedmeki_bench import registry
from fedmeki_bench.conformance import toys, worlds
from fedmeki_bench.conformance.clause import Undecided
from fedmeki_bench.conformance.releases import any_task, standin
from fedmeki_bench.data.cohort import Cohort
from fedmeki_bench.data.prepare.prepare import prepare
from fedmeki_bench.models.encoder import Encoder, Input, Stored

_SIZE = 60
_EASY: dict[str, Callable[[], Cohort]] = {
    "image": lambda: toys.cohorts()["left"],
    "signal": lambda: toys.cohorts()["fast"],
    "clinical": lambda: toys.cohorts()["high"],
    "volume": toys.volumes,
}


@dataclass(frozen=True)
class Samples:
    """Private training samples as a cohort stores them.

    Attributes:
        stored: (n, *stored shape).
        lengths: (n,) rows that belong to each sample; None where samples don't differ in length.
        labels: (n,) of an easy problem, 0.0 or 1.0; None without one.
        read: asks the encoder how it takes them.
    """

    stored: np.ndarray
    lengths: np.ndarray | None
    labels: np.ndarray | None
    read: Callable[[], Input]

    @property
    def taken(self) -> Input:
        """How the encoder takes them."""
        return self.read()

    def inputs(self, encoder: Encoder, rows: slice, *, device: torch.device | None = None) -> Tensor:
        """Physical inputs of some of them, from copies of the arrays."""
        lengths = None if self.lengths is None else self.lengths[rows].copy()
        where = device or torch.device("cpu")
        return encoder.to_input(self.stored[rows].copy(), self.taken, lengths=lengths, device=where)

    def with_noise_beyond_the_end(self) -> Samples:
        """The same samples; what is stored beyond their ends is another one."""
        assert self.lengths is not None
        stored = self.stored.copy()
        for row, length in enumerate(self.lengths):
            stored[row, length:] = 9
        return replace(self, stored=stored)


def samples(cls: type[Encoder]) -> Samples:
    """Samples for an encoder; with labels for pictures, signals, clinical series and volumes.

    Raises:
        Undecided: no dataset stores its modality.
    """
    if cls.modality in _EASY:
        return _of(cls, _EASY[cls.modality](), easy=True)
    for plugin in registry.describe("datasets"):
        if not plugin.broken and cls.modality in registry.load("datasets", plugin.name).meta.modalities:
            found = standin(registry.load("datasets", plugin.name), {}, size=_SIZE)
            task = any_task(found.preparer.meta)
            (done,) = prepare(found.preparer, found.raw, found.room / "data", [task], found.options, workers=1)
            return _of(cls, Cohort.open(done.path), easy=False)
    raise Undecided(
        f"no installed dataset stores the modality {cls.modality!r}: install the one that it is for and ask again"
    )


def _of(cls: type[Encoder], cohort: Cohort, *, easy: bool) -> Samples:
    part = cohort.part("client")
    batch = part.batch(range(len(part)))
    spec, name = cohort.arrays[cls.modality], cls.modality
    statistics = cohort.card.get("statistics", {}).get(name, {})
    stored = Stored(cohort.name, tuple(spec.shape), spec.scale, statistics, cohort.card["options"])
    settings = worlds.profile()
    return Samples(batch[name], batch.get("hours"), part.targets if easy else None, lambda: cls.taken(stored, settings))
