"""Inputs that are much smaller than what is stored: made once from each array and kept in memory.

Cohorts hold pictures at the size of the release; a profile of minutes sees them at 64 px, an area an eighth of 224 or
less. Shrinking the same picture in every epoch, for validation and for every view would cost more than reading it does.
All clients read the same files, so inputs are kept per row of a file and not per client. They go with the cohort.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, WeakSet

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from fedmeki_bench.data.cohort import Cohort
    from fedmeki_bench.models.encoder import Encoder, Input

MOST = 1 << 30
"""Bytes that a process keeps at most; arrays that find no room are read and shrunk each time."""


class Shrunk:
    """The inputs that an encoder makes of the arrays of one file; rows are filled in when they are first asked for.

    Args:
        stored: the arrays (arrays, *stored shape).
        taken: how the encoder takes them.
        device: where inputs are made and kept, as shrinking there may round otherwise than elsewhere.
        room: bytes to be kept at most.
    """

    def __init__(self, stored: np.ndarray, taken: Input, device: torch.device, room: int) -> None:
        self._stored, self._taken = stored, taken
        self._place = np.full(len(stored), -1, dtype=np.int64)  # of each row among the inputs
        self._used = 0
        most = min(len(stored), room // (4 * prod(taken.shape)))
        self._inputs = torch.empty((most, *taken.shape), device=device)  # memory that is not written yet costs none

    @property
    def bytes(self) -> int:
        """What it keeps once it is full."""
        return self._inputs.nbytes

    def take(self, rows: np.ndarray, encoder: Encoder) -> Tensor:
        """Inputs of these rows, (len(rows), *taken.shape): a copy, bit for bit what ``encoder.to_input`` gives."""
        new = np.unique(rows[self._place[rows] < 0])[: len(self._inputs) - self._used]
        if len(new):
            until = self._used + len(new)
            self._inputs[self._used : until] = self._made(new, encoder)
            self._place[new], self._used = np.arange(self._used, until), until
        places = self._place[rows]
        if (places >= 0).all():
            return self._inputs[torch.from_numpy(places).to(self._inputs.device)]
        return self._made(rows, encoder)  # no room for some of them

    def _made(self, rows: np.ndarray, encoder: Encoder) -> Tensor:
        device = self._inputs.device
        return encoder.to_input(np.asarray(self._stored[rows]), self._taken, lengths=None, device=device)


_Key = tuple[str, object, tuple[int, ...], float, torch.device]
_kept: WeakKeyDictionary[Cohort, dict[_Key, Shrunk]] = WeakKeyDictionary()
_alive: WeakSet[Shrunk] = WeakSet()


def shrunk(cohort: Cohort, encoder: Encoder, taken: Input, device: torch.device) -> Shrunk | None:
    """What is kept for an encoder of a cohort's arrays; None where it keeps nothing (:meth:`Encoder.shrinks`)."""
    modality = type(encoder).modality
    if modality not in cohort.arrays or not encoder.shrinks(tuple(cohort.arrays[modality].shape), taken):
        return None
    of_cohort = _kept.setdefault(cohort, {})
    key = (modality, type(encoder).to_input, taken.shape, taken.scale, device)
    if key not in of_cohort:
        room = MOST - sum(other.bytes for other in _alive)
        of_cohort[key] = Shrunk(cohort.array(modality), taken, device, room)
        _alive.add(of_cohort[key])
    return of_cohort[key]
