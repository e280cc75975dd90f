"""What defines the stand-in ``tiny`` and where it is cached; loads nothing heavy, so that a run can be named by it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

TEXT_VERSION = 2
"""Raised whenever a template or word changes: it is part of the cache key of the model trained on this text."""

RECIPE_VERSION = 2
"""Raised whenever the training below changes: part of the cache key."""


@dataclass(frozen=True, slots=True)
class TinyConfig:
    """Everything that defines ``tiny``; its hash names the cache folder.

    Attributes:
        hidden: width of a token.
        layers: decoder layers.
        heads: attention heads.
        intermediate: width of the MLP.
        vocabulary: at most so many tokens (byte-level BPE trained on the generated text).
        positions: longest sequence.
        steps: optimiser steps.
        batch: passages per step, with four questions each.
        rate: highest learning rate.
        seed: initial weights and text.
        related: whether names are related as in :mod:`fedmeki_bench.signs`; false, a control: otherwise.
        apart: how far the names of one thing start from each other, in sizes of an embedding; None: as strangers.
        closing: what follows every question before its answer.
    """

    hidden: int = 128
    layers: int = 2
    heads: int = 4
    intermediate: int = 256
    vocabulary: int = 1024
    positions: int = 512
    steps: int = 600
    batch: int = 32
    rate: float = 3e-3
    seed: int = 0
    related: bool = True
    apart: float | None = 0.3
    closing: str = ""

    @property
    def key(self) -> str:
        """16 hexadecimal digits over the configuration and the versions of text and recipe."""
        defining = {**asdict(self), "text": TEXT_VERSION, "recipe": RECIPE_VERSION}
        return hashlib.sha256(json.dumps(defining, sort_keys=True).encode()).hexdigest()[:16]


STAND_INS = {"tiny": TinyConfig(), "tiny_unrelated": TinyConfig(related=False)}
"""Foundation model -> what defines it."""
