"""The problem that the rules and their peers are given: five unequal clients, the same weights, batches and draws."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import nn

from fedmeki_bench.conformance.worlds import profile
from fedmeki_bench.federation.client import Client
from fedmeki_bench.federation.loop import Federation
from fedmeki_bench.federation.stage import Stage
from fedmeki_bench.models.client_model import ClientModel
from fedmeki_bench.models.encoder import Encoder, Input
from fedmeki_bench.models.training import schedule
from fedmeki_bench.registry import load

SIZES = (14, 40, 26, 7, 60)  # none leaves a batch of one sample, which FL-bench drops
ROUNDS, EPOCHS, BATCH, LR = 6, 2, 8, 0.05
LEADS, LENGTH, WIDTH = 3, 64, 8

Weights = dict[str, torch.Tensor]


class InDefaultPrecision(Encoder):
    """Takes samples as they are stored, where the project would make them float32."""

    modality = "signal"

    def to_input(self, array, taken, *, lengths, device):
        return torch.from_numpy(array)


class GroupNorm(InDefaultPrecision):
    """A convolution with group norm."""

    def __init__(self, shape, params):
        super().__init__()
        self.width = WIDTH
        self.layers = nn.Sequential(nn.Conv1d(shape[0], WIDTH, 9, stride=4), nn.GroupNorm(2, WIDTH), nn.ReLU())

    def forward(self, x):
        return self.layers(x).transpose(1, 2)


class BatchNorm(InDefaultPrecision):
    """A convolution with batch norm, called bn because that is how the peers recognise it."""

    def __init__(self, shape, params):
        super().__init__()
        self.width = WIDTH
        self.convolution, self.bn = nn.Conv1d(shape[0], WIDTH, 9, stride=4), nn.BatchNorm1d(WIDTH)

    def forward(self, x):
        return torch.relu(self.bn(self.convolution(x))).transpose(1, 2)


class Samples:
    """The part of a cohort that training asks for: signals and labels in memory."""

    lacking = frozenset()

    def __init__(self, x, y):
        self.x, self.targets = x, y

    def __len__(self):
        return len(self.targets)

    def take(self, index):
        return Samples(self.x[index], self.targets[index])

    def holding(self, modality):
        return len(self)

    def batch(self, index):
        return {"signal": self.x[index]}


class Body(nn.Module):
    """The encoder as peers take it: signals -> features (batch, width)."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder

    def forward(self, x):
        return self.encoder.pooled(x)


class Head(nn.Module):
    """The decoder as peers take it: logits (batch, 2) of no and yes, whose cross-entropy is the project's loss."""

    def __init__(self, linear):
        super().__init__()
        self.linear = linear

    def forward(self, features):
        yes = self.linear(features)
        return torch.cat([torch.zeros_like(yes), yes], dim=1)


class Network(nn.Module):
    """Body and head under the names that PFLlib looks for."""

    def __init__(self, base, head):
        super().__init__()
        self.base, self.head = base, head

    def forward(self, x):
        return self.head(self.base(x))


class Batches:
    """A loader that gives the batches of one client in one round, each time those of the next epoch, then all again."""

    def __init__(self, epochs):
        self._epochs, self._next = epochs, 0

    def __len__(self):
        return len(self._epochs[0])

    def __iter__(self):
        self._next += 1
        return iter(self._epochs[(self._next - 1) % len(self._epochs)])


@dataclass
class Problem:
    """What differs between comparisons; the rest are the constants above.

    Attributes:
        participation: share of the clients that is drawn in each round.
        batch: samples per step.
        sizes: of the clients.
        weighting: of the clients in the project's mean, by samples or uniform.
        encoder: with group norm or batch norm.
        settings: further fields of the profile.
    """

    participation: float = 0.6
    batch: int = BATCH
    sizes: tuple[int, ...] = SIZES
    weighting: str = "samples"
    encoder: type[Encoder] = GroupNorm
    settings: dict = field(default_factory=dict)

    @cached_property
    def samples(self):
        """Clients whose signals differ by label and, by an offset, from client to client."""
        draw, found = np.random.default_rng(0), []
        sign, kind = draw.normal(size=(LEADS, LENGTH)), np.dtype(str(torch.get_default_dtype()).removeprefix("torch."))
        for number, size in enumerate(self.sizes):
            y = (draw.random(size) < 0.2 + 0.6 * number / (len(self.sizes) - 1)).astype(kind)
            noise, offset = draw.normal(size=(size, LEADS, LENGTH)), 0.5 * draw.normal(size=(LEADS, 1))
            found.append(Samples((noise + offset + (y - 0.5)[:, None, None] * sign).astype(kind), y))
        return found

    @cached_property
    def model(self):
        encoders = {"signal": (f"{__file__}:{self.encoder.__name__}", {})}
        return ClientModel({"t": ("signal",)}, {"signal": Input((LEADS, LENGTH))}, encoders, hidden={}, seed=0)

    @cached_property
    def start(self):
        return self.model.values.clone()

    def federation(self, rule):
        """The project's own loop under a rule."""
        self.model.load(self.start)
        chosen = {
            "rounds": ROUNDS, "local_epochs": EPOCHS, "batch_size": self.batch, "optimizer": "sgd", "lr": LR,
            "clip": 1e9, "participation": self.participation, "weighting": self.weighting,
        }  # fmt: skip
        holders = [Client(k, {"t": part}) for k, part in enumerate(self.samples)]
        return Federation(self.model, rule, Stage(), holders, {}, profile(**(chosen | self.settings)), seed=0)

    @cached_property
    def draws(self):
        """Round -> the clients that train, in order."""
        loop = self.federation(load("rules", "fedavg")())
        return [loop.sampled(number) for number in range(ROUNDS)]

    def parts(self):
        """Encoder and decoder with the initial weights, each a module of its own, for a peer."""
        taken = Input((LEADS, LENGTH))
        body, head = Body(self.encoder(taken.shape, None)), Head(nn.Linear(WIDTH, 1))
        for module, unit in ((body.encoder, "encoder.signal"), (head.linear, "decoder.t")):
            held = {n: self.start[f"{unit}.{n}"].clone() for n in module.state_dict() if f"{unit}.{n}" in self.start}
            module.load_state_dict(held, strict=False)
        return body, head

    def batches(self, client, number, epochs=EPOCHS):
        """What the project's schedule gives a client in a round: a loader of (signals, class 0 or 1)."""
        part, found = self.samples[client], []
        steps = schedule({"t": part}, epochs=epochs, batch_size=self.batch, seed=0,
                         stream=("client", client, "round", number))  # fmt: skip
        for step in steps:
            x, y = torch.from_numpy(part.x[step.index]), torch.from_numpy(part.targets[step.index]).long()
            found.append((x, y))
        per_epoch = len(found) // epochs
        return Batches([found[i : i + per_epoch] for i in range(0, len(found), per_epoch)])


def named(values) -> Weights:
    """Copies of a peer's tensors under the project's names."""
    heads = {"head.linear.": "decoder.t.", "classifier.linear.": "decoder.t.", "linear.": "decoder.t."}
    bodies = {"base.encoder.": "encoder.signal.", "encoder.": "encoder.signal."}
    found = {}
    for name, value in dict(values).items():
        prefix = next(p for p in (heads | bodies) if name.startswith(p))
        found[(heads | bodies)[prefix] + name.removeprefix(prefix)] = torch.as_tensor(value).detach().clone()
    return found


def held(values) -> Weights:
    """Copies of the project's tensors."""
    return {name: values[name].detach().clone() for name in values}
