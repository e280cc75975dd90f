"""Flower's strategies and its FedNova baseline, fed with the results of local training on the problem.

A strategy of Flower is a server's step; clients are the user's. For all but FedNova, whose baseline brings a client of
its own, they take plain SGD steps here.
"""

from __future__ import annotations

import contextlib
import io
import logging
from types import SimpleNamespace

import torch

from .checkouts import checkout, importing
from .problem import EPOCHS, LR, Network, Problem, named

_ABSENT = (
    *("grpc", "google", "cryptography", "tomli", "tomli_w", "iterators", "Crypto", "typer", "click", "pathspec"),
    *("sqlalchemy", "alembic", "uvicorn", "starlette", "fastapi", "packaging", "requests", "rich"),
    *("hydra", "omegaconf", "ray", "torchvision", "matplotlib", "pandas"),
)
_NETWORKING = ("flwr.proto", "flwr.cli", "flwr.compat", "flwr.simulation")  # needs generated code and a database


@contextlib.contextmanager
def _flower():
    root = checkout("flower")
    folders = (root / "framework" / "py", root / "baselines" / "fednova")
    with importing(*folders, absent=_ABSENT, instead=_NETWORKING) as load:
        yield load
    logging.getLogger("flwr").setLevel(logging.ERROR)


def strategy(problem: Problem, cls: str, **options):
    """Run a strategy over plain SGD clients; the global weights after each round."""
    with _flower() as load:
        common, made = load("flwr.common"), getattr(load("flwr.server.strategy"), cls)
    network = Network(*problem.parts())
    current = _arrays(network)
    server = made(initial_parameters=common.ndarrays_to_parameters(current), **options)

    def fit(k, number):
        _load(network, current)
        _descend(network, problem.batches(k, number))
        return _arrays(network), len(problem.samples[k]), {}

    seen = []
    for number, draw in enumerate(problem.draws):
        current = _step(common, server, number, [fit(k, number) for k in draw])
        seen.append(_named(network, current))
    return seen


def fednova(problem: Problem, **methods):
    """Run the FedNova baseline, its own clients included; ``methods`` replace names in its strategy's module."""
    with _flower() as load:
        common, module = load("flwr.common"), load("fednova.strategy")
        client, models = load("fednova.client"), load("fednova.models")
    for name, method in methods.items():
        setattr(module, name, method)
    optimiser = SimpleNamespace(lr=LR, gmf=0)
    asked = SimpleNamespace(optimizer=optimiser, var_local_epochs=False, exp_name="vanilla")
    client.instantiate = lambda given, params, ratio: models.ProxSGD(params, ratio, lr=given.lr)
    network, total = Network(*problem.parts()), sum(problem.sizes)
    current = _arrays(network)
    server = module.FedNova(asked, initial_parameters=common.ndarrays_to_parameters(current))

    def fit(k, number):
        loader, share = problem.batches(k, number), len(problem.samples[k]) / total
        return client.FedNovaClient(
            Network(*problem.parts()), str(k), loader, None, torch.device("cpu"), EPOCHS, share, asked
        ).fit(current, {"lr": LR})

    seen = []
    for number, draw in enumerate(problem.draws):
        current = _step(common, server, number, [fit(k, number) for k in draw])
        seen.append(_named(network, current))
    return seen


def _step(common, server, number, fitted):
    """The server's step on what clients return: arrays, a number of samples, metrics."""
    results = [
        (None, common.FitRes(None, common.ndarrays_to_parameters(arrays), samples, metrics))
        for arrays, samples, metrics in fitted
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        combined, _ = server.aggregate_fit(number + 1, results, [])
    return common.parameters_to_ndarrays(combined)


def _descend(network, batches):
    optimiser = torch.optim.SGD(network.parameters(), lr=LR)
    for _ in range(EPOCHS):
        for x, y in batches:
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(network(x), y).backward()
            optimiser.step()


def _arrays(network):
    return [p.detach().numpy().copy() for p in network.parameters()]


def _load(network, arrays):
    with torch.no_grad():
        for p, array in zip(network.parameters(), arrays, strict=True):
            p.copy_(torch.from_numpy(array))


def _named(network, arrays):
    return named(zip((name for name, _ in network.named_parameters()), map(torch.as_tensor, arrays), strict=True))
