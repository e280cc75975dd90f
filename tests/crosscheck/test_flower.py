"""The project's rules beside Flower's strategies and its FedNova baseline."""

from __future__ import annotations

import pytest

from .changed import APART, EQUAL, KingmasCorrection, TauCancelled, rule, v_starts_at_zero
from .flower import fednova, strategy
from .measure import gap, ours
from .problem import Problem, held

pytestmark = pytest.mark.slow


def global_gap(there, here, prepare=None, **problem):
    asked = Problem(**problem)
    return gap(held(asked.start), ours(asked, here, prepare)[0], there)


@pytest.mark.parametrize(
    ("cls", "options", "name", "params", "participation"),
    [
        ("FedAvg", {}, "fedavg", {}, 0.6),
        ("FedAvgM", {"server_momentum": 0.8}, "fedavgm", {"beta": 0.8}, 0.6),
        ("FedMedian", {}, "median", {}, 0.8),  # of an even number, too, it is the mean of the middle two
        ("FedTrimmedAvg", {"beta": 0.25}, "trimmedmean", {"trim": 0.25}, 1.0),
    ],
)
def test_equal(found, cls, options, name, params, participation):
    asked = {"participation": participation}
    there = strategy(Problem(**asked), cls, **options)
    what = ", ".join(
        ["global, samples" if participation == 0.6 else "global", *(f"{k} {v}" for k, v in params.items())]
    )
    assert found(name, "flwr", what, global_gap(there, rule(name, **params), **asked)).largest < EQUAL


@pytest.mark.parametrize(("name", "options"), [("krum", {}), ("multikrum", {"num_clients_to_keep": 4})])
def test_krum(found, name, options):
    alike = {"sizes": (24,) * 5, "participation": 1.0}  # flwr weighs those that it keeps by samples, the paper alike
    there = strategy(Problem(**alike), "Krum", num_malicious_clients=1, **options)
    what = "global, equal clients, f = 1 of 5"
    assert found(name, "flwr", what, global_gap(there, rule(name, byzantine=0.2), **alike)).largest < EQUAL


@pytest.mark.parametrize("name", ["Adam", "Yogi", "Adagrad"])
def test_adaptive(found, name):
    betas = {} if name == "Adagrad" else {"beta_1": 0.9, "beta_2": 0.99}
    there = strategy(Problem(), f"Fed{name}", eta=0.05, tau=1e-3, **betas)
    params = {"server_lr": 0.05, "tau": 1e-3} | {key.replace("_", ""): value for key, value in betas.items()}
    here = rule(f"fed{name.lower()}", **params)
    what = f"global, samples, beta1 {betas.get('beta_1', 0.0)}"
    assert found(f"fed{name.lower()}", "flwr", what, global_gap(there, here)).largest > APART
    changed = rule(f"fed{name.lower()}", KingmasCorrection if name == "Adam" else None, **params)
    what = f"fed{name.lower()}, v = 0 at first" + (", bias correction" if name == "Adam" else "")
    assert found(what, "flwr", "the same", global_gap(there, changed, v_starts_at_zero)).largest < EQUAL


def test_fednova(found):
    def summed(results):
        """Without the division by the sum of the weights, in which tau_eff is a factor."""
        return [sum(layers) for layers in zip(*([a * scale for a in arrays] for arrays, scale in results), strict=True)]

    for participation in (0.6, 1.0):
        asked = {"participation": participation}
        who = "3 of 5 clients" if participation < 1 else "all clients in every round"
        there = fednova(Problem(**asked))
        apart = global_gap(there, rule("fednova"), **asked)
        assert found("fednova", "Flower's baseline", f"global, samples, {who}", apart).largest > APART
        cancelled = global_gap(there, rule("fednova", TauCancelled), **asked)
        assert found("fednova, tau_eff cancelled", "Flower's baseline", "the same", cancelled).largest < EQUAL
    there = fednova(Problem(participation=1.0), aggregate=summed)
    changed = global_gap(there, rule("fednova"), participation=1.0)
    assert found("fednova", "Flower's baseline, sum not mean", "the same", changed).largest < EQUAL
