"""FL-bench's servers and clients, run by their own trainer on the problem."""

from __future__ import annotations

import contextlib
import functools
import io
from types import SimpleNamespace

import torch

from .checkouts import checkout, importing
from .problem import EPOCHS, LR, ROUNDS, Problem, named

_ABSENT = (
    *("hydra", "omegaconf", "pandas", "PIL", "pynvml", "ray", "rich", "sklearn", "torchvision", "tensorboard"),
    *("faker", "visdom", "umap", "scipy", "matplotlib", "seaborn", "prettytable"),
)


def theirs(
    problem: Problem, name: str, cls: str, *, weight_decay=0.0, one_epoch_is_one_batch=False, server=None, **options
):
    """Run a server; the global weights after each round, and the server.

    Draws, batches, samples and optimiser are the problem's, evaluation is left out, all else is FL-bench's.

    Args:
        name, cls: the module under ``src.server`` and its class.
        weight_decay: of the clients' SGD.
        one_epoch_is_one_batch: what FL-bench's SCAFFOLD takes for an epoch; as many are run as there are batches.
        server: methods that replace the server's own.
        options: what the configuration holds under the method's name.
    """
    with importing(checkout("FL-bench"), absent=_ABSENT) as load:
        base = load("src.server.fedavg")
        made = getattr(load(f"src.server.{name}"), cls)
        network = load("src.utils.models").DecoupledModel()
    network.base, network.classifier = problem.parts()
    now, clients = SimpleNamespace(number=0), range(len(problem.sizes))

    def load_data_indices(client):
        client.trainset.indices = client.data_indices[client.client_id]["train"]
        client.trainloader = problem.batches(client.client_id, now.number)
        if one_epoch_is_one_batch:
            client.local_epoch = client.args.common.local_epoch = EPOCHS * len(client.trainloader)

    def begin(server, args):
        """What its constructor does, less files, folders, logging and evaluation."""
        server.args, server.device, server.verbose, server.testing = args, torch.device("cpu"), False, False
        server.train_clients, server.client_num = list(clients), len(clients)
        server.init_model(network)
        server.client_optimizer_states = {k: {} for k in clients}
        server.client_lr_scheduler_states = {k: {} for k in clients}
        server.client_local_epoches = [EPOCHS] * len(clients)
        server.client_metrics = {k: {} for k in clients}
        server.dataset = _Dataset(sum(problem.sizes))
        server.client_data_indices = [{"train": list(range(n)), "val": [], "test": []} for n in problem.sizes]
        server.get_client_optimizer_cls = lambda: functools.partial(torch.optim.SGD, lr=LR, weight_decay=weight_decay)
        server.get_client_lr_scheduler_cls = lambda: None
        server.client_cls = type("Replayed", (server.client_cls,), {"load_data_indices": load_data_indices})
        server.init_trainer()

    before, seen = base.FedAvgServer.__init__, []
    base.FedAvgServer.__init__ = begin
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            found = type(cls, (made,), server or {})(_arguments(problem, name, options))
            for now.number in range(ROUNDS):
                found.current_epoch, found.selected_clients = now.number, problem.draws[now.number]
                found.train_one_round()
                seen.append(named(found.public_model_params))
    finally:
        base.FedAvgServer.__init__ = before
    return seen, found


class _Dataset(torch.utils.data.Dataset):
    """Has a length; the batches come from the problem."""

    def __init__(self, size):
        self._size = size

    def __len__(self):
        return self._size

    def train(self):
        pass

    def eval(self):
        pass


def _arguments(problem, name, options):
    nobody = SimpleNamespace(train=False, val=False, test=False, finetune_epoch=0)
    common = SimpleNamespace(
        buffers="local", batch_size=problem.batch, local_epoch=EPOCHS, client_side_evaluation=False, use_cuda=False,
        test=SimpleNamespace(client=nobody, server=nobody), reset_optimizer_on_global_epoch=True,
    )  # fmt: skip
    return SimpleNamespace(
        common=common, mode="serial", optimizer=SimpleNamespace(name="sgd", lr=LR),
        model=SimpleNamespace(external_model_weights_path=None), **{name: SimpleNamespace(**options)},
    )  # fmt: skip
