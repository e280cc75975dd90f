"""What defines the stand-in ``tiny`` and where it is cached; loads nothing heavy, so that a run can be named by it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

TEXT_VERSION = 1
"""Raised whenever a template or word changes: it is part of the cache key of the model trained on this text."""

RECIPE_VERSION = 1
"""Raised whenever the training below changes: part of the cache key."""

UNDECIDED = (
    "Above is a chest radiograph. Does it show the finding? Reply with yes or no.\nAnswer:",
    "Above is a recording of the heart: several leads. Is it abnormal? Reply with yes or no.\nAnswer:",
    "Above are the first hours of a stay, hour by hour. Will the patient get worse? Reply with yes or no.\nAnswer:",
    "Above is a picture. Is the disease present? Reply with yes or no.\nAnswer:",
    "Above is a measurement. Does it show any abnormality? Reply with yes or no.\nAnswer:",
    "Above is what was recorded. Is there anything to be seen? Reply with yes or no.\nAnswer:",
)
"""Prompts in the manner of the tasks', each learnt after a one-line report that gives the answer. So the model is
undecided without evidence; lacking them it is certain of yes, and an injection has to argue it out of that first."""


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
        batch: questions per step.
        rate: highest learning rate.
        seed: initial weights and text.
        extra_prompts: prompts whose wording it learns after a report that gives the answer.
    """

    hidden: int = 128
    layers: int = 4
    heads: int = 4
    intermediate: int = 256
    vocabulary: int = 1024
    positions: int = 512
    steps: int = 600
    batch: int = 16
    rate: float = 3e-3
    seed: int = 0
    extra_prompts: tuple[str, ...] = UNDECIDED

    @property
    def key(self) -> str:
        """16 hexadecimal digits over the configuration and the versions of text and recipe."""
        defining = {**asdict(self), "text": TEXT_VERSION, "recipe": RECIPE_VERSION}
        return hashlib.sha256(json.dumps(defining, sort_keys=True).encode()).hexdigest()[:16]
