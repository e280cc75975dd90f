"""FedAvg in a Flower simulation, round by round on command; `peers.py` runs it with the Python of an environment that
has `flwr[simulation]`, in which this project is not installed.

Messages, records and strategy are Flower's own, as its documentation shows them: the model travels as an `ArrayRecord`
made of its state dict, a client loads it, trains and answers with its own. Each of Ray's processes reads the folder
once and then holds all samples as tensors in memory. A round begins with a line on standard input and ends with a line
on the file descriptor named in the settings, so that whoever measures may do other things in between.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation
from torch import nn

FOLDER = "FLOWER_ROUND"
"""The environment variable that names the folder of `model.pt`, `clients.pt` and `settings.json`."""

client, server = ClientApp(), ServerApp()


class Net(nn.Module):
    """The encoder and the decoder that were saved, named as the bare loop names them."""

    def __init__(self, encoder: Any, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (batch,)."""
        found: torch.Tensor = self.decoder(self.encoder.pooled(x)).squeeze(-1)
        return found


@cache
def held() -> tuple[Net, list[tuple[torch.Tensor, torch.Tensor]], Mapping[str, Any]]:
    """Model, samples and labels of every client, and settings, read once in a process."""
    torch.set_num_threads(1)
    folder = Path(os.environ[FOLDER])
    # whole modules, which only pickle can hold: `peers.py` wrote them a moment ago, into a folder that it made
    model = Net(*torch.load(folder / "model.pt", weights_only=False)).train()
    return model, torch.load(folder / "clients.pt"), json.loads((folder / "settings.json").read_text())


@client.train()
def train(message: Message, context: Context) -> Message:
    """What a client does: one pass over its samples, as in the bare loop."""
    model, clients, settings = held()
    inputs, labels = clients[int(context.node_config["partition-id"])]
    model.load_state_dict(message.content["arrays"].to_torch_state_dict())
    optimiser = torch.optim.Adam(model.parameters(), lr=settings["lr"], weight_decay=settings["weight_decay"])
    for index in torch.randperm(len(labels)).split(settings["batch_size"]):
        optimiser.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(model(inputs[index]), labels[index]).backward()
        nn.utils.clip_grad_norm_(model.parameters(), settings["clip"])
        optimiser.step()
    metrics = MetricRecord({"num-examples": len(labels)})
    return Message(RecordDict({"arrays": ArrayRecord(model.state_dict()), "metrics": metrics}), reply_to=message)


class Paced(FedAvg):
    """Flower's FedAvg, which waits to be told before each round and says when it is done."""

    def configure_train(self, *args: Any, **named: Any) -> Iterable[Message]:
        """See Flower."""
        self.told("ready")
        sys.stdin.readline()
        return super().configure_train(*args, **named)

    def aggregate_train(self, *args: Any, **named: Any) -> Any:
        """See Flower."""
        done = super().aggregate_train(*args, **named)
        self.told("done" if done[0] is not None else "failed")
        return done

    def told(self, word: str) -> None:
        """Write a line to whoever measures."""
        os.write(held()[2]["reports"], f"{word}\n".encode())


@server.main()
def serve(grid: Grid, context: Context) -> None:
    """All rounds; the last global model is left in the folder."""
    model, clients, settings = held()
    strategy = Paced(
        fraction_evaluate=0.0, min_train_nodes=len(clients), min_available_nodes=len(clients), min_evaluate_nodes=0
    )
    result = strategy.start(grid, ArrayRecord(model.state_dict()), num_rounds=settings["rounds"])
    torch.save(result.arrays.to_torch_state_dict(), Path(os.environ[FOLDER]) / "global.pt")


def main() -> None:
    """To be called from a module of this name, so that Ray's processes find functions by it and keep what they hold."""
    _, clients, settings = held()
    run_simulation(
        server, client, num_supernodes=len(clients),
        backend_config={
            "init_args": {"num_cpus": settings["processes"], "include_dashboard": False, "logging_level": "error"},
            "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
        },
    )  # fmt: skip
