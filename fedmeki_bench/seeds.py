"""Random streams derived by hashing what they are for, so that none depends on what ran before it.

``derive(seed, "batches", task, client, round)`` is the same number whatever the algorithm, the number of jobs,
the order of the clients or the round at which a run was resumed. Two algorithms with the same seed therefore
see the same partition, initial weights and batches (a paired design), and adding an algorithm changes no
other's numbers.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import torch

Part = str | int | None


class Seeds(int):
    """A run's seed under which some purposes draw from seeds of their own; a whole number like any other.

    >>> derive(Seeds(0, init=1), "init", "encoder.image") == derive(1, "init", "encoder.image")
    True
    >>> derive(Seeds(0, init=1), "batches", "covid19", 0, 0) == derive(0, "batches", "covid19", 0, 0)
    True
    """

    own: dict[str, int]

    def __new__(cls, seed: int, **own: int | None) -> Seeds:
        """Of ``own``, each of ``STREAMS`` may be given."""
        made = super().__new__(cls, seed)
        made.own = {first: n for name, n in own.items() if n is not None for first in STREAMS[name]}
        return made

    def of(self, purpose: Part) -> int:
        """The seed from which a purpose draws."""
        return self.own.get(purpose, int(self)) if isinstance(purpose, str) else int(self)


STREAMS = {
    "init": ("init", "projector", "resampler", "adapters", "gate"),
    "batches": ("batches", "dropout"),
    "partition": ("partition", "own patients", "availability", "share"),
}
"""What can be varied alone -> the purposes, first parts of streams, that it covers."""


def derive(seed: int, *parts: Part) -> int:
    """A 63-bit seed for the stream named by ``parts`` under the run's ``seed``.

    >>> derive(0, "init", "encoder.image") == derive(0, "init", "encoder.image")
    True
    >>> derive(0, "a", 1) == derive(0, "a1")
    False
    """
    if isinstance(seed, Seeds):
        seed = seed.of(parts[0] if parts else None)
    text = "\x1f".join(f"{type(p).__name__}:{p}" for p in (seed, *parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *parts: Part) -> np.random.Generator:
    """A numpy generator on the stream named by ``parts``."""
    import numpy as np

    return np.random.default_rng(derive(seed, *parts))


def restart(device: torch.device, seed: int) -> None:
    """Begin torch's global streams anew, those that a model on ``device`` draws from: for dropout, at every step.

    The stream of ``torch.manual_seed``, which also writes down its call stack for accelerators that are not in use: a
    millisecond, where a step of a small model has five.
    """
    import torch

    if device.type == "cpu":
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)
