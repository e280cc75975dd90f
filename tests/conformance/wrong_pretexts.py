"""A small pretext that keeps every clause, and others with one deliberate mistake each."""

from __future__ import annotations

import random

import torch
from torch import nn

from fedmeki_bench.api import Pretext


class Fill(Pretext):
    """Says the mean grey level of each picture from its features."""

    def head(self, encoders):
        (encoder,) = encoders.values()
        return nn.Linear(encoder.width, 1)

    def losses(self, head, encoders, inputs, pooled):
        features = pooled(inputs)
        wanted = 10 * inputs["image"].flatten(1).std(dim=1)
        return (head(features).squeeze(1) - wanted).square(), features


class NoLeast(Fill):
    """Compares nothing."""

    least = 0


class OneForAll(Fill):
    """One loss for the batch."""

    def losses(self, head, encoders, inputs, pooled):
        losses, features = super().losses(head, encoders, inputs, pooled)
        return losses.mean(), features


class ThrowsDice(Fill):
    """Draws from Python's stream."""

    def losses(self, head, encoders, inputs, pooled):
        losses, features = super().losses(head, encoders, inputs, pooled)
        return losses * random.random(), features


class Spare(Fill):
    """Has a layer that nothing passes."""

    def head(self, encoders):
        head = super().head(encoders)
        head.spare = nn.Linear(2, 2)
        return head


class Remembers(Fill):
    """Keeps its own head."""

    def head(self, encoders):
        self.mine = super().head(encoders)
        return nn.Identity()

    def losses(self, head, encoders, inputs, pooled):
        return super().losses(self.mine, encoders, inputs, lambda given: pooled(given) * 0 + 1)


class Unlearnable(Fill):
    """Noise is to be told."""

    def losses(self, head, encoders, inputs, pooled):
        features = pooled(inputs)
        return (head(features).squeeze(1) * 0.01 - torch.randn(len(features))).square(), features


GOOD = (Fill,)
WRONG = [
    (NoLeast, "loads", "least is 0"),
    (OneForAll, "loss", "losses of 16 samples are ()"),
    (ThrowsDice, "deterministic", "draw views and masks from torch alone"),
    (Spare, "gradients", "no gradient reaches 'decoder.left.spare.weight'"),
    (Remembers, "functional", "does not compute what that one does"),
    (Unlearnable, "learns", "is expected"),
]
