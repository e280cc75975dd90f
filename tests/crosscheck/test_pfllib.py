"""The project's rules beside PFLlib's; where they differ, the smallest change that makes them equal."""

from __future__ import annotations

import pytest
import torch

from .changed import (
    APART,
    EQUAL,
    EveryClientCounts,
    NothingToMixAtFirst,
    PenaltyOfTheNorm,
    everybody_starts,
    rule,
)
from .measure import gap, ours, personal, personal_gap, stayed
from .pfllib import theirs
from .problem import BatchNorm, Problem, held, named

pytestmark = pytest.mark.slow


def models(server, attribute="model"):
    """Client -> a model of its own."""
    return {client.id: named(getattr(client, attribute).state_dict()) for client in server.clients}


@pytest.mark.parametrize(
    ("name", "params", "weighting", "peer", "cls", "options"),
    [
        ("fedavg", {}, "samples", "avg", "FedAvg", {}),
        ("fedprox", {"mu": 0.1}, "samples", "prox", "FedProx", {"mu": 0.1}),
        ("fedprox", {"mu": 1.0}, "samples", "prox", "FedProx", {"mu": 1.0}),
        ("scaffold", {}, "uniform", "scaffold", "SCAFFOLD", {"server_learning_rate": 1.0}),
        ("scaffold", {"server_lr": 0.5}, "uniform", "scaffold", "SCAFFOLD", {"server_learning_rate": 0.5}),
    ],
)
def test_equal(found, name, params, weighting, peer, cls, options):
    problem = Problem(weighting=weighting)
    there, _ = theirs(problem, peer, cls, **options)
    here, _ = ours(problem, rule(name, **params))
    what = ", ".join(["global", weighting, *(f"{k} {v}" for k, v in params.items())])
    assert found(name, "PFLlib", what, gap(held(problem.start), here, there)).largest < EQUAL


@pytest.mark.parametrize(
    ("name", "params", "weighting", "peer", "cls", "options"),
    [
        ("fedavg", {}, "samples", "avg", "FedAvg", {}),
        ("scaffold", {}, "uniform", "scaffold", "SCAFFOLD", {"server_learning_rate": 1.0}),
    ],
)
def test_float32(found, name, params, weighting, peer, cls, options):
    torch.set_default_dtype(torch.float32)  # as everybody trains; the fixture puts it back
    problem = Problem(weighting=weighting)
    there, _ = theirs(problem, peer, cls, **options)
    here, _ = ours(problem, rule(name, **params))
    assert here[0]["decoder.t.weight"].dtype == torch.float32
    what = f"global, {weighting}, in float32"
    assert 1e-12 < found(name, "PFLlib", what, gap(held(problem.start), here, there)).largest < 1e-5


def test_feddyn(found):
    problem, options = Problem(weighting="uniform"), {"alpha": 0.1}
    there, _ = theirs(problem, "dyn", "FedDyn", **options)
    start = held(problem.start)
    apart = gap(start, ours(problem, rule("feddyn", **options))[0], there)
    assert found("feddyn", "PFLlib", "global, uniform, alpha 0.1", apart).largest > APART
    changed = gap(start, ours(problem, rule("feddyn", PenaltyOfTheNorm, **options))[0], there)
    assert found("feddyn, penalty alpha/2 ‖θ − θt‖", "PFLlib", "the same", changed).largest < EQUAL


def test_fedbn(found):
    problem = Problem(encoder=BatchNorm)
    there, server = theirs(problem, "bn", "FedBN")
    here, loop = ours(problem, rule("fedbn"))
    start = held(problem.start)
    assert found("fedbn", "PFLlib", "global but for batch norm", gap(start, here, there, "bn.")).largest < EQUAL
    own = personal_gap(start, stayed(loop), models(server))
    assert found("fedbn", "PFLlib", "clients' batch norm and statistics", own).largest < EQUAL


def test_ditto(found):
    problem = Problem()
    there, server = theirs(problem, "ditto", "Ditto", mu=0.5, plocal_epochs=2)
    here, loop = ours(problem, rule("ditto", lam=0.5))
    start = held(problem.start)
    assert found("ditto", "PFLlib", "global, lambda 0.5", gap(start, here, there)).largest < EQUAL
    apart = personal_gap(start, personal(loop), models(server, "model_per"))
    assert found("ditto", "PFLlib", "personal", apart).largest > APART
    _, loop = ours(problem, rule("ditto", lam=0.5), everybody_starts("personal"))
    changed = personal_gap(start, personal(loop), models(server, "model_per"))
    assert found("ditto, v from the initial model", "PFLlib", "personal", changed).largest < EQUAL


def test_moon(found):
    problem = Problem()
    there, _ = theirs(problem, "moon", "MOON", mu=1.0, tau=0.5)
    here, _ = ours(problem, rule("moon", mu=1.0, temperature=0.5))
    start = held(problem.start)
    assert found("moon", "PFLlib", "global, mu 1, tau 0.5", gap(start, here, there)).largest > 1e-6
    here, _ = ours(problem, rule("moon", mu=1.0, temperature=0.5), everybody_starts("previous"))
    changed = gap(start, here, there)
    assert found("moon, previous is the initial model", "PFLlib", "the same", changed).largest < EQUAL


def test_fedrep(found):
    problem = Problem()
    there, server = theirs(problem, "rep", "FedRep", plocal_epochs=2)
    here, loop = ours(problem, rule("fedrep", head_epochs=2))
    start = held(problem.start)
    assert found("fedrep", "PFLlib", "global encoder", gap(start, here, there, "decoder.")).largest < EQUAL
    heads = personal_gap(start, stayed(loop), models(server))
    assert found("fedrep", "PFLlib", "clients' heads", heads).largest < EQUAL


@pytest.mark.parametrize(
    ("name", "peer", "cls", "what", "without"),
    [
        ("fedper", "per", "FedPer", "encoder", "decoder."),
        ("lg_fedavg", "lg", "LG_FedAvg", "head", "encoder."),
        ("fedbabu", "babu", "FedBABU", "encoder", "decoder."),
    ],
)
def test_split_models(found, name, peer, cls, what, without):
    problem = Problem()
    there, server = theirs(problem, peer, cls, fine_tuning_epochs=0)
    here, loop = ours(problem, rule(name))
    start = held(problem.start)
    assert found(name, "PFLlib", f"global {what}", gap(start, here, there, without)).largest < EQUAL
    if name != "fedbabu":  # whose heads nobody trains
        own = personal_gap(start, stayed(loop), models(server))
        assert found(name, "PFLlib", "what stays at the clients", own).largest < EQUAL


def test_what_a_slip_would_look_like(found):
    problem = Problem()
    there, _ = theirs(problem, "prox", "FedProx", mu=0.1)
    slip = gap(held(problem.start), ours(problem, rule("fedprox", mu=0.1001))[0], there)
    assert found("fedprox, mu 0.1001", "PFLlib", "global, samples, mu 0.1", slip).largest > 1e3 * EQUAL


def test_pfedme(found):
    options = {"lamda": 15.0, "K": 3, "p_learning_rate": 0.02, "beta": 0.8, "local_learning_rate": 0.05}
    asked = {"lam": 15.0, "steps": 3, "lr": 0.02, "beta": 0.8, "eta": 0.05}
    problem = Problem()
    there, server = theirs(problem, "pFedMe", "pFedMe", **options)
    start = held(problem.start)
    apart = gap(start, ours(problem, rule("pfedme", **asked))[0], there)
    assert found("pfedme", "PFLlib", "global, lambda 15, K 3, beta 0.8", apart).largest > 1e-6
    decayed = Problem(settings={"weight_decay": 0.001})
    changed = gap(start, ours(decayed, rule("pfedme", **asked))[0], there)
    assert found("pfedme, weight decay 0.001", "PFLlib", "the same", changed).largest < EQUAL
    # what it would evaluate as personal models are the local copies of the global one
    for client in server.clients:
        assert all(map(torch.equal, client.personalized_params, client.local_params))


def test_perfedavg(found):
    # PFLlib halves at a fixed place and passes over the data twice a round: whole batches, one epoch each time
    problem = Problem(batch=16, sizes=(16, 48, 32, 16, 64))
    there, _ = theirs(problem, "peravg", "PerAvg", restart=False, batch_size=8, local_epochs=1)
    here, _ = ours(problem, rule("perfedavg", alpha=0.05))
    assert found("perfedavg", "PFLlib", "global, alpha = lr", gap(held(problem.start), here, there)).largest < EQUAL


def test_fedproto(found):
    def train(client):
        super(type(client), client).train()
        client.collect_protos()  # its own method, whose call is commented out

    problem, options = Problem(), {"lamda": 1.0}
    _, as_is = theirs(problem, "proto", "FedProto", **options)
    _, collecting = theirs(problem, "proto", "FedProto", client={"train": train}, **options)
    _, loop = ours(problem, rule("fedproto", lam=1.0))
    _, alike = ours(problem, rule("fedproto", EveryClientCounts, lam=1.0))
    start = held(problem.start)
    apart = personal_gap(start, stayed(loop), models(as_is))
    assert found("fedproto", "PFLlib", "clients' models, lambda 1", apart).largest > 1e-6
    half = personal_gap(start, stayed(alike), models(as_is))
    assert found("fedproto, prototypes count alike", "PFLlib", "the same", half).largest > 1e-6
    changed = personal_gap(start, stayed(alike), models(collecting))
    both = "PFLlib, prototypes after training (`collect_protos`)"
    assert found("fedproto, prototypes count alike", both, "the same", changed).largest < EQUAL


def test_apfl(found):
    problem = Problem()
    start = held(problem.start)
    there, server = theirs(problem, "apfl", "APFL", alpha=0.5)
    here, loop = ours(problem, rule("apfl", alpha=0.5), everybody_starts("v"))
    assert found("apfl", "PFLlib", "global", gap(start, here, there)).largest < EQUAL
    apart = personal_gap(start, personal(loop), models(server, "model_per"))
    assert found("apfl", "PFLlib", "personal, alpha 0.5 at first", apart).largest > APART
    # what is left when alpha stays: the mixture; and without it, which is with alpha 1, nothing
    for alpha, low, high in ((0.5, APART, 9), (1.0, 0, EQUAL)):
        _, server = theirs(problem, "apfl", "APFL", client={"alpha_update": lambda client: None}, alpha=alpha)
        _, loop = ours(problem, rule("apfl", alpha=alpha, adaptive=False), everybody_starts("v"))
        changed = personal_gap(start, personal(loop), models(server, "model_per"))
        what = f"personal, alpha stays {alpha}"
        assert low <= found("apfl", "PFLlib without `alpha_update`", what, changed).largest < high


def test_fedala(found):
    def send_models(server):
        everybody, server.clients = server.clients, server.selected_clients
        super(type(server), server).send_models()
        server.clients = everybody

    # whole batches, because PFLlib learns its weights on batches in order and the project in an order of its own
    options = {"eta": 1.0, "rand_percent": 100, "layer_idx": 2}
    everybody, some = Problem(batch=1000, participation=1.0), Problem(batch=1000)
    initial = "fedala, own model is the initial one at first"
    for name, problem, server, what, low, high in (
        ("fedala", everybody, {}, "global, all clients in every round", 0, EQUAL),
        ("fedala", some, {}, "global, 3 of 5 clients", APART, 9),
        (initial, some, {}, "the same", 1e-6, 9),
        (initial, some, {"send_models": send_models}, "the same, sent to these only", 0, EQUAL),
    ):
        there, _ = theirs(problem, "ala", "FedALA", server=server, **options)
        changed = {"base": NothingToMixAtFirst} if name == initial else {}
        prepare = everybody_starts("personal") if name == initial else None
        here, _ = ours(problem, rule("fedala", eta=1.0, share=1.0, **changed), prepare)
        assert low <= found(name, "PFLlib", what, gap(held(problem.start), here, there)).largest < high
