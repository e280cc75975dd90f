"""Where rules end on a convex problem whose optimum is known: logistic regression with L2 on label-skewed clients."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fedmeki_bench.conformance.worlds import profile
from fedmeki_bench.federation.client import Client
from fedmeki_bench.federation.loop import Federation
from fedmeki_bench.federation.stage import Stage
from fedmeki_bench.models.client_model import ClientModel
from fedmeki_bench.models.encoder import Encoder, Input
from fedmeki_bench.registry import load

SIZES = (8, 16, 24, 40, 72)
FEATURES, DECAY, LR, STEPS, ROUNDS = 6, 0.1, 0.2, 3, 80


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

    def __init__(self, x, y):
        self.x, self.targets = x, y

    def __len__(self):
        return len(self.targets)

    def holding(self, modality):
        return len(self)

    def batch(self, index):
        return {"image": self.x[index]}


def clients():
    """Clients of unequal size, the small ones mostly negative, the large ones mostly positive."""
    draw, found = np.random.default_rng(0), []
    direction = draw.normal(size=FEATURES)
    for number, size in enumerate(SIZES):
        y = (draw.random(size) < 0.15 + 0.7 * number / 4).astype(np.float32)
        x = draw.normal(size=(size, FEATURES)) + np.outer(y - 0.5, direction) + 0.5 * draw.normal(size=FEATURES)
        found.append(Table(x.astype(np.float32), y))
    return found


def optimum(parts):
    """The minimiser of the mean loss over all samples, by Newton's method in float64."""
    x = np.concatenate([np.hstack([p.x, np.ones((len(p), 1))]) for p in parts]).astype(np.float64)
    y = np.concatenate([p.targets for p in parts])
    w = np.zeros(FEATURES + 1)
    for _ in range(50):
        p = 1 / (1 + np.exp(-x @ w))
        hessian = (x * (p * (1 - p))[:, None]).T @ x / len(y) + DECAY * np.eye(len(w))
        w = w - np.linalg.solve(hessian, x.T @ (p - y) / len(y) + DECAY * w)
    return w


def distance(rule, participation):
    """How far from the optimum a rule ends, relative to where it starts."""
    parts = clients()
    settings = profile(
        rounds=ROUNDS, local_epochs=STEPS, batch_size=1000, optimizer="sgd", lr=LR, weight_decay=DECAY, clip=1e9,
        participation=participation,
    )  # fmt: skip
    model = ClientModel(
        {"t": ("image",)}, {"image": Input((FEATURES,))}, {"image": (f"{__file__}:Features", {})}, hidden={}, seed=0
    )
    federation = Federation(
        model, rule, Stage(), [Client(k, {"t": part}) for k, part in enumerate(parts)], {}, settings, seed=0
    )
    want = optimum(parts)

    def gap():
        decoder = federation.server.model.segment("decoder.t").double().numpy()
        return float(np.linalg.norm(decoder - want))

    start = gap()
    for _ in federation.run():
        pass
    return gap() / start


class Sampled:
    """The control: weights normalised over the clients of a round, which is what earlier versions did."""

    def aggregate(self, server, updates):
        def shrunk():
            for update in updates:
                part = 0.4  # |S| / N
                update.total_share = {unit: part * share for unit, share in update.share.items()}
                yield update

        super().aggregate(server, shrunk())


@pytest.mark.parametrize(("name", "options"), [("scaffold", {}), ("feddyn", {"alpha": 0.3})])
def test_absent_clients_do_not_move_the_optimum(name, options):
    torch.set_num_threads(1)
    rule = load("rules", name)
    broken = type("Broken", (Sampled, rule), {})
    assert distance(rule(rule.Params(**options)), 0.4) < 0.01
    assert distance(broken(rule.Params(**options)), 0.4) > 0.1


def test_fedavg_ends_elsewhere():
    assert distance(load("rules", "fedavg")(), 0.4) > 0.1
