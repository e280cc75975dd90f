"""Logistic regression as a federation: features that nothing trains, a linear decoder, unequal label-skewed clients.

Small enough to be computed by hand in float64, without batch norm, dropout or clipping in the way.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch

from fedmeki_bench.conformance.worlds import profile
from fedmeki_bench.federation.client import Client
from fedmeki_bench.federation.loop import Federation
from fedmeki_bench.federation.stage import Stage
from fedmeki_bench.models.client_model import ClientModel
from fedmeki_bench.models.encoder import Encoder, Input
from fedmeki_bench.registry import load

SIZES = (8, 16, 24, 40, 72)
FEATURES = 6
UNIT = "decoder.t"
LR, EPOCHS = 0.2, 3


class Features(Encoder):
    """A sample is its own features; there is nothing to train."""

    modality = "image"

    def __init__(self, shape, params):
        super().__init__()
        self.width = FEATURES

    def to_input(self, array, taken, *, lengths, device):
        return torch.from_numpy(array)

    def forward(self, x):
        return x.unsqueeze(1)


class Table:
    """The part of a cohort that training asks for: arrays and labels in memory."""

    lacking = frozenset()
    cohort = SimpleNamespace(arrays={})

    def __init__(self, x, y):
        self.x, self.targets = x, y

    def __len__(self):
        return len(self.targets)

    def take(self, index):
        return Table(self.x[index], self.targets[index])

    def holding(self, modality):
        return len(self)

    def batch(self, index, *, leaving=()):
        return {"image": self.x[index]}

    def altered(self, inputs):
        return inputs


def clients():
    """Clients of unequal size, the small ones mostly negative, the large ones mostly positive."""
    draw, found = np.random.default_rng(0), []
    direction = draw.normal(size=FEATURES)
    for number, size in enumerate(SIZES):
        y = (draw.random(size) < 0.15 + 0.7 * number / 4).astype(np.float32)
        x = draw.normal(size=(size, FEATURES)) + np.outer(y - 0.5, direction) + 0.5 * draw.normal(size=FEATURES)
        found.append(Table(x.astype(np.float32), y))
    return found


def federation(rule, parts, **settings):
    """Clients with these samples, that take full batches by plain SGD unless told otherwise."""
    torch.set_num_threads(1)
    chosen = {"batch_size": 1000, "optimizer": "sgd", "clip": 1e9} | settings
    model = ClientModel(
        {"t": ("image",)}, {"image": Input((FEATURES,))}, {"image": (f"{__file__}:Features", {})}, hidden={}, seed=0
    )
    holders = [Client(k, {"t": part}) for k, part in enumerate(parts)]
    return Federation(model, rule, Stage(), holders, {}, profile(**chosen), seed=0)


def weights(values):
    """The decoder's weights and, last, its bias, (FEATURES + 1,), float64."""
    return values.segment(UNIT).double().numpy().copy()


def padded(part):
    """Its features with a column of ones, (n, FEATURES + 1), float64, and its labels."""
    return np.hstack([part.x, np.ones((len(part), 1))]).astype(np.float64), part.targets.astype(np.float64)


def loss(w, x, y):
    """Mean cross-entropy of labels 0 and 1."""
    z = x @ w
    return float(np.mean(np.logaddexp(0, z) - y * z))


def gradient(w, x, y):
    """Its gradient."""
    return x.T @ (1 / (1 + np.exp(-x @ w)) - y) / len(y)


def prepared(name, rounds=2, participation=1.0, **params):
    """A federation under a rule that has not run yet, its clients' samples and the initial weights."""
    rule, parts = load("rules", name), clients()
    run = federation(
        rule(rule.Params(**params)), parts, rounds=rounds, local_epochs=EPOCHS, lr=LR, participation=participation
    )
    return run, parts, weights(run.server.model)


def by_hand(local, parts, start, rounds=2, combine=None):
    """FedAvg in float64 around ``local(w, x, y, client, round)``, a client's local training."""
    total = sum(map(len, parts))
    for number in range(rounds):
        results = [local(start, *padded(part), k, number) for k, part in enumerate(parts)]
        mean = sum(len(part) / total * w for part, w in zip(parts, results, strict=True))
        start = mean if combine is None else combine(start, mean)
    return start


def close(one, other):
    """Whether float32 and float64 arithmetic agree."""
    return np.allclose(one, other, rtol=1e-4, atol=1e-6)
