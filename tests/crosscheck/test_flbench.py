"""The project's rules beside FL-bench's."""

from __future__ import annotations

import pytest

from .changed import APART, EQUAL, Nesterov, everybody_starts, rule, v_starts_at_zero
from .flbench import theirs
from .measure import gap, ours, personal, personal_gap, stayed
from .problem import BatchNorm, Problem, held, named

pytestmark = pytest.mark.slow


def global_gap(there, here, prepare=None, **problem):
    asked = Problem(**problem)
    return gap(held(asked.start), ours(asked, here, prepare)[0], there)


def test_fedavg(found):
    there, _ = theirs(Problem(), "fedavg", "FedAvgServer")
    assert found("fedavg", "FL-bench", "global, samples", global_gap(there, rule("fedavg"))).largest < EQUAL


def test_fedprox(found):
    there, _ = theirs(Problem(), "fedprox", "FedProxServer", mu=0.1)
    assert (
        found("fedprox", "FL-bench", "global, samples, mu 0.1", global_gap(there, rule("fedprox", mu=0.1))).largest
        < EQUAL
    )


def test_scaffold(found):
    def aggregate_client_updates(server, packages):
        super(type(server), server).aggregate_client_updates(packages)
        for k, package in packages.items():  # its clients compute a new c_i, which nobody keeps
            server.c_local[k] = [c + delta for c, delta in zip(server.c_local[k], package["c_delta"], strict=True)]

    keeping = {"aggregate_client_updates": aggregate_client_updates}
    for rate in (1.0, 0.5):
        here, options = rule("scaffold", server_lr=rate), {"one_epoch_is_one_batch": True, "global_lr": rate}
        what = f"global, uniform, server_lr {rate}"
        there, _ = theirs(Problem(), "scaffold", "SCAFFOLDServer", **options)
        assert found("scaffold", "FL-bench", what, global_gap(there, here, weighting="uniform")).largest > APART
        there, _ = theirs(Problem(), "scaffold", "SCAFFOLDServer", server=keeping, **options)
        changed = global_gap(there, here, weighting="uniform")
        assert found("scaffold", "FL-bench, c_i kept between rounds", what, changed).largest < EQUAL


def test_feddyn(found):
    options = {"alpha": 0.1, "max_grad_norm": 1e9}
    alike = {"sizes": (24,) * 5, "weighting": "uniform"}  # it weighs by samples, the paper does not
    there, _ = theirs(Problem(**alike), "feddyn", "FedDynServer", **options)
    apart = global_gap(there, rule("feddyn", alpha=0.1), **alike)
    assert found("feddyn", "FL-bench", "global, equal clients, alpha 0.1", apart).largest > APART
    there, _ = theirs(Problem(**alike), "feddyn", "FedDynServer", weight_decay=0.1, **options)
    decayed = global_gap(there, rule("feddyn", alpha=0.1), **alike)
    assert found("feddyn", "FL-bench, weight decay alpha", "the same", decayed).largest < EQUAL


@pytest.mark.parametrize("name", ["adam", "yogi", "adagrad"])
def test_adaptive(found, name):
    options = {"beta1": 0.9, "server_lr": 0.05, "tau": 1e-3}
    there, _ = theirs(Problem(), "fedopt", "FedOptServer", type=name, beta2=0.99, **options)
    here = rule(f"fed{name}", **options, **({} if name == "adagrad" else {"beta2": 0.99}))
    assert found(f"fed{name}", "FL-bench", "global, samples, beta1 0.9", global_gap(there, here)).largest > 1e-6
    changed = global_gap(there, here, v_starts_at_zero)
    assert found(f"fed{name}, v = 0 at first", "FL-bench", "the same", changed).largest < EQUAL


def test_fedbn(found):
    problem = Problem(encoder=BatchNorm)
    there, server = theirs(problem, "fedbn", "FedBNServer")
    here, loop = ours(problem, rule("fedbn"))
    start = held(problem.start)
    assert found("fedbn", "FL-bench", "global but for batch norm", gap(start, here, there, "bn.")).largest < EQUAL
    theirs_own = {k: named(values) for k, values in server.clients_personal_model_params.items()}
    own = personal_gap(start, stayed(loop), theirs_own)
    assert found("fedbn", "FL-bench", "clients' batch norm and statistics", own).largest < EQUAL


def test_ditto(found):
    problem = Problem()
    there, server = theirs(problem, "ditto", "DittoServer", pers_epoch=2, lamda=0.5)
    here, loop = ours(problem, rule("ditto", lam=0.5), everybody_starts("personal"))
    start = held(problem.start)
    assert found("ditto", "FL-bench", "global, lambda 0.5", gap(start, here, there)).largest < EQUAL
    models = {k: named(values) for k, values in server.clients_personalized_model_params.items()}
    own = personal_gap(start, personal(loop), models)
    assert found("ditto, v from the initial model", "FL-bench", "personal", own).largest < EQUAL


def test_moon(found):
    there, _ = theirs(Problem(), "moon", "MOONServer", mu=1.0, tau=0.5)
    here = rule("moon", mu=1.0, temperature=0.5)
    assert found("moon", "FL-bench", "global, mu 1, tau 0.5", global_gap(there, here)).largest < EQUAL


def test_pfedme(found):
    options = {"lamda": 15.0, "k": 3, "pers_lr": 0.02, "beta": 0.8}
    here = rule("pfedme", lam=15.0, steps=3, lr=0.02, beta=0.8, eta=0.05)
    there, _ = theirs(Problem(), "pfedme", "pFedMeServer", mu=0.001, **options)
    apart = global_gap(there, here)
    assert found("pfedme", "FL-bench", "global, lambda 15, K 3, beta 0.8", apart).largest > APART
    there, _ = theirs(Problem(), "pfedme", "pFedMeServer", mu=0.0, **options)
    assert found("pfedme", "FL-bench with mu 0", "the same", global_gap(there, here)).largest < EQUAL


def test_fedavgm(found):
    there, _ = theirs(Problem(), "fedavgm", "FedAvgMServer", server_momentum=0.8)
    apart = global_gap(there, rule("fedavgm", beta=0.8))
    assert found("fedavgm", "FL-bench", "global, samples, beta 0.8", apart).largest > APART
    nesterov = global_gap(there, rule("fedavgm", Nesterov, beta=0.8))
    assert found("fedavgm, Nesterov's momentum", "FL-bench", "the same", nesterov).largest < EQUAL
