"""Where rules end on a convex problem whose optimum is known: logistic regression with L2 on label-skewed clients."""

from __future__ import annotations

import numpy as np
import pytest

from fedmeki_bench.registry import load

from .convex import FEATURES, clients, federation, padded, weights

DECAY, LR, STEPS, ROUNDS = 0.1, 0.2, 3, 80


def optimum(parts):
    """The minimiser of the mean loss over all samples, by Newton's method in float64."""
    x, y = (np.concatenate(both) for both in zip(*map(padded, parts), strict=True))
    w = np.zeros(FEATURES + 1)
    for _ in range(50):
        p = 1 / (1 + np.exp(-x @ w))
        hessian = (x * (p * (1 - p))[:, None]).T @ x / len(y) + DECAY * np.eye(len(w))
        w = w - np.linalg.solve(hessian, x.T @ (p - y) / len(y) + DECAY * w)
    return w


def distance(rule, participation):
    """How far from the optimum a rule ends, relative to where it starts."""
    parts = clients()
    run = federation(
        rule, parts, rounds=ROUNDS, local_epochs=STEPS, lr=LR, weight_decay=DECAY, participation=participation
    )
    want = optimum(parts)

    def gap():
        return float(np.linalg.norm(weights(run.server.model) - want))

    start = gap()
    for _ in run.run():
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
    rule = load("rules", name)
    broken = type("Broken", (Sampled, rule), {})
    assert distance(rule(rule.Params(**options)), 0.4) < 0.01
    assert distance(broken(rule.Params(**options)), 0.4) > 0.1


def test_fedavg_ends_elsewhere():
    assert distance(load("rules", "fedavg")(), 0.4) > 0.1
