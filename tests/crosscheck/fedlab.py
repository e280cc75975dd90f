"""FedLab's handlers and serial trainers, run on the problem."""

from __future__ import annotations

import contextlib
import io
from types import SimpleNamespace

import torch

from .checkouts import checkout, importing
from .problem import EPOCHS, LR, ROUNDS, Network, Problem, named


def theirs(problem: Problem, name: str, cls: str, *, server=None, client=()):
    """Run a pair of handler and trainer; the global weights after each round, and the trainer.

    Args:
        name, cls: the module under ``fedlab.contrib.algorithm`` and what its classes' names begin with.
        server, client: further arguments of their ``setup_optim``; None does not call the handler's.
    """
    with importing(checkout("FedLab"), absent=("pynvml", "tqdm", "munch", "torchvision", "pandas", "seaborn")) as load:
        module = load(f"fedlab.contrib.algorithm.{name}")
        quiet = SimpleNamespace(info=lambda text: None)
        network, clients = Network(*problem.parts()), len(problem.sizes)
        handler = getattr(module, f"{cls}ServerHandler")(network, ROUNDS, clients, problem.participation, logger=quiet)
        trainer = getattr(module, f"{cls}SerialClientTrainer")(network, clients, logger=quiet)
        if hasattr(module, "tqdm"):
            module.tqdm = _no_bar
        basic = load("fedlab.contrib.algorithm.basic_client")
        basic.tqdm = _no_bar
    handler.num_clients = clients
    if server is not None:
        handler.setup_optim(*server)
    trainer.setup_optim(EPOCHS, problem.batch, LR, *client)
    seen = []
    for number, draw in enumerate(problem.draws):
        loader = SimpleNamespace(get_dataloader=lambda k, batch_size, now=number: problem.batches(k, now))
        trainer.setup_dataset(loader)
        with contextlib.redirect_stdout(io.StringIO()):
            trainer.local_process(handler.downlink_package, draw)
        for package in trainer.uplink_package:
            handler.load(package)
        seen.append(named(handler.model.named_parameters()))
    return seen, trainer


class _no_bar(list):
    """Stands in for a progress bar."""

    def set_description(self, *args, **kwargs):
        pass


def unpacked(trainer, values: torch.Tensor):
    """A flat vector of FedLab's under the project's names."""
    trainer.set_model(values)
    return named(trainer.model.named_parameters())
