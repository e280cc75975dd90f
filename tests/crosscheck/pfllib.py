"""PFLlib's servers and clients, run by their own loops on the problem."""

from __future__ import annotations

import contextlib
import io
from types import SimpleNamespace

import torch

from .checkouts import checkout, importing
from .problem import EPOCHS, LR, ROUNDS, Network, Problem, named

_QUIET = ("evaluate", "evaluate_personalized", "evaluate_one_step", "save_results", "save_global_model")


def theirs(problem: Problem, name: str, cls: str, *, server=None, client=None, restart=True, **options):
    """Run a server; the global weights after each round, and the server.

    Draws, batches and samples are the problem's, evaluation is left out, all else is PFLlib's.

    Args:
        name, cls: the end of the modules' names under ``flcore`` and the server's class.
        server, client: methods that replace the server's and the clients' own.
        restart: whether each call for a client's data in a round begins with the first epoch's batches again.
        options: arguments of PFLlib's command line.
    """
    folder = checkout("PFLlib")
    with importing(folder / "system", absent=("h5py", "matplotlib", "sklearn")) as load:
        made = getattr(load(f"flcore.servers.server{name}"), cls)
        for module in map(load, ("flcore.servers.serverbase", f"flcore.clients.client{name}")):
            if hasattr(module, "read_client_data"):
                module.read_client_data = lambda dataset, k, is_train=True, few_shot=0: _samples(problem, k)

    seen, now, loaders, client = [], SimpleNamespace(number=-1), {}, client or {}

    def weights(self):
        return named(self.global_model.named_parameters())

    def select_clients(self):
        if now.number >= 0:
            seen.append(weights(self))
        now.number += 1
        self.current_num_join_clients = len(problem.draws[now.number])
        return [self.clients[k] for k in problem.draws[now.number]]

    def set_clients(self, kind):
        def load_train_data(at, batch_size=None):
            key = (at.id, now.number)
            if restart or key not in loaders:
                loaders[key] = problem.batches(at.id, now.number)
            return loaders[key]

        super(replayed, self).set_clients(type(kind.__name__, (kind,), {"load_train_data": load_train_data} | client))

    quiet = dict.fromkeys(_QUIET, lambda self, *args, **kwargs: None)
    replayed = type(cls, (made,), {"select_clients": select_clients, "set_clients": set_clients} | quiet)
    running = type(cls, (replayed,), server or {})
    with contextlib.redirect_stdout(io.StringIO()):
        found = running(_arguments(problem, **options), 0)
        found.rs_test_acc = found.rs_test_acc_per = [0.0]
        found.train()
    return [*seen, weights(found)], found


def _samples(problem, client):
    """What PFLlib reads from disk: pairs of a signal and a class."""
    part = problem.samples[client]
    return list(zip(torch.from_numpy(part.x), torch.from_numpy(part.targets).long(), strict=True))


def _arguments(problem, **options):
    chosen = {
        "model": Network(*problem.parts()), "device": "cpu", "dataset": "", "num_classes": 2, "algorithm": "",
        "global_rounds": ROUNDS - 1,  # its loops take one more
        "local_epochs": EPOCHS, "batch_size": problem.batch, "local_learning_rate": LR, "few_shot": 0, "goal": "",
        "num_clients": len(problem.sizes), "join_ratio": problem.participation, "random_join_ratio": False,
        "time_select": False,
        "time_threthold": 1e9, "save_folder_name": "", "top_cnt": 0, "auto_break": False, "eval_gap": 1,
        "client_drop_rate": 0, "train_slow_rate": 0, "send_slow_rate": 0, "dlg_eval": False, "dlg_gap": 1,
        "batch_num_per_client": 1, "num_new_clients": 0, "fine_tuning_epoch_new": 0, "learning_rate_decay": False,
        "learning_rate_decay_gamma": 1.0,
    }  # fmt: skip
    return SimpleNamespace(**(chosen | options))
