"""The project's rules beside PFLlib's."""

from __future__ import annotations

import pytest

from fedmeki_bench.registry import load

from .measure import gap, ours
from .pfllib import theirs
from .problem import Problem, held

pytestmark = pytest.mark.slow
EQUAL = 1e-12  # float64: some hundred roundings of weights of the order of 1


def rule(name, **params):
    cls = load("rules", name)
    return cls(cls.Params(**params))


@pytest.mark.parametrize(
    ("name", "params", "weighting", "server", "cls", "options"),
    [
        ("fedavg", {}, "samples", "serveravg", "FedAvg", {}),
        ("fedprox", {"mu": 0.1}, "samples", "serverprox", "FedProx", {"mu": 0.1}),
        ("scaffold", {}, "uniform", "serverscaffold", "SCAFFOLD", {"server_learning_rate": 1.0}),
        ("scaffold", {"server_lr": 0.5}, "uniform", "serverscaffold", "SCAFFOLD", {"server_learning_rate": 0.5}),
    ],
)
def test_equal(found, name, params, weighting, server, cls, options):
    problem = Problem(weighting=weighting)
    peer, _ = theirs(problem, server, cls, **options)
    project, _ = ours(problem, rule(name, **params))
    assert found(name, "PFLlib", f"{params or ''} {weighting}", gap(held(problem.start), project, peer)).largest < EQUAL
