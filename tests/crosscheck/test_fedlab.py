"""The project's rules beside FedLab's."""

from __future__ import annotations

import pytest

from .changed import APART, EQUAL, NoTermsAtTheClients, ScaledByAll, everybody_starts, rule
from .fedlab import theirs, unpacked
from .measure import gap, ours, personal, personal_gap
from .problem import Problem, held

pytestmark = pytest.mark.slow


def global_gap(here, there, weighting="uniform"):
    problem = Problem(weighting=weighting)
    return gap(held(problem.start), ours(problem, here)[0], there)


def test_fedavg(found):
    # FedLab counts a client's samples once per epoch: the same weights
    there, _ = theirs(Problem(), "fedavg", "FedAvg")
    assert found("fedavg", "FedLab", "global, samples", global_gap(rule("fedavg"), there, "samples")).largest < EQUAL


def test_fedprox(found):
    there, _ = theirs(Problem(), "fedprox", "FedProx", client=(0.1,))
    assert (
        found("fedprox", "FedLab", "global, uniform, mu 0.1", global_gap(rule("fedprox", mu=0.1), there)).largest
        < EQUAL
    )


def test_scaffold(found):
    there, _ = theirs(Problem(), "scaffold", "Scaffold", server=(1.0,))
    assert found("scaffold", "FedLab", "global, uniform", global_gap(rule("scaffold"), there)).largest > APART
    assert found("fedavg", "FedLab's SCAFFOLD", "the same", global_gap(rule("fedavg"), there)).largest < EQUAL


def test_fednova(found):
    for option in ("weighted_com", "uniform"):
        there, _ = theirs(Problem(), "fednova", "FedNova", server=(option,))
        assert (
            found("fednova", f"FedLab, `{option}`", "global, uniform", global_gap(rule("fednova"), there)).largest
            < EQUAL
        )
    peer = "FedLab, `weighted_scale` (its default)"
    there, _ = theirs(Problem(), "fednova", "FedNova", server=())
    assert found("fednova", peer, "global, uniform", global_gap(rule("fednova"), there)).largest > APART
    scaled = global_gap(rule("fednova", ScaledByAll), there)
    assert found("fednova, step times N / K", peer, "the same", scaled).largest < EQUAL


def test_feddyn(found):
    there, _ = theirs(Problem(), "feddyn", "FedDyn", server=(0.1,), client=(0.1,))
    apart = global_gap(rule("feddyn", alpha=0.1), there)
    assert found("feddyn", "FedLab", "global, uniform, alpha 0.1", apart).largest > APART
    without = global_gap(rule("feddyn", NoTermsAtTheClients, alpha=0.1), there)
    assert found("feddyn, no terms at the clients", "FedLab", "the same", without).largest < EQUAL


def test_ditto(found):
    problem = Problem(weighting="uniform")
    there, trainer = theirs(problem, "ditto", "Ditto")
    here, loop = ours(problem, rule("ditto", lam=0.1), everybody_starts("personal"))
    start = held(problem.start)
    assert found("ditto", "FedLab", "global, uniform, lambda 0.1", gap(start, here, there)).largest < EQUAL
    models = {k: unpacked(trainer, values) for k, values in enumerate(trainer.local_models)}
    apart = personal_gap(start, personal(loop), models)
    assert found("ditto, v from the initial model", "FedLab", "personal", apart).largest < EQUAL
