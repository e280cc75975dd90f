"""A client: its own data, its memory, and the resident work model it trains in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from fedmeki_bench.federation.payload import Payload, Update
from fedmeki_bench.models.training import Batch, Trained, schedule, train

if TYPE_CHECKING:
    from torch import Tensor

    from fedmeki_bench.data.cohort import CohortPart
    from fedmeki_bench.models.client_model import ClientModel, Outputs
    from fedmeki_bench.models.flat import FlatTensors
    from fedmeki_bench.profiles import Profile


@dataclass
class Client:
    """One hospital: its number, its private samples per task, and what the rule remembers between rounds.

    ``memory`` is the rule's: tensors, flat tensors, numbers, texts and dicts of these; ``local`` is the loop's: the
    tensors that never leave the client (see ``Rule.keeps``), None before it has trained. Both are in the checkpoint.
    """

    number: int
    data: Mapping[str, CohortPart]
    memory: dict[str, Any] = field(default_factory=dict)
    local: FlatTensors | None = None


class LocalSteps(Protocol):
    """The two hooks of local training; every rule has them."""

    def local_loss(
        self, loss: Tensor, outputs: Outputs, params: Mapping[str, Tensor], received: Payload, ctx: ClientContext
    ) -> Tensor:
        """See ``Rule.local_loss``."""

    def correct_gradients(
        self, grads: Mapping[str, Tensor], params: Mapping[str, Tensor], received: Payload, ctx: ClientContext
    ) -> None:
        """See ``Rule.correct_gradients``."""


class ClientContext:
    """What a rule may touch on a client during one exchange.

    Attributes:
        client: the client's number.
        round: 0-based communication round.
        data: task -> the client's private samples.
        memory: kept between rounds and checkpointed.
        settings: the run's profile (lr, epochs, ...).
        model: the resident work model; its weights are whatever was loaded last.
        batch: the batch of the step under way (None outside training).
    """

    def __init__(
        self, client: Client, model: ClientModel, settings: Profile, *, seed: int, round: int, tasks: tuple[str, ...],
        local: FlatTensors,
    ) -> None:  # fmt: skip
        self.client = client.number
        self.round = round
        self.data = {task: client.data[task] for task in tasks if task in client.data and len(client.data[task])}
        self.memory = client.memory
        self.settings = settings
        self.model = model
        self._seed = seed
        self._client = client
        self._local = local  # initial values of what stays with the client
        self.batch: Batch | None = None
        self._trained = Trained(float("nan"), 0)

    @property
    def units(self) -> tuple[str, ...]:
        """The units of exchange that this client's tasks use, in the model's order."""
        used = {unit for task, part in self.data.items() for unit in self.model.units(task, part.lacking)}
        return tuple(unit for unit in self.model.values.units if unit in used)

    @property
    def samples(self) -> dict[str, int]:
        """Unit -> how many of this client's samples train it: an encoder, those that have its modality."""
        counts = dict.fromkeys(self.units, 0)
        for task, part in self.data.items():
            for unit in self.model.units(task, part.lacking):
                kind, _, modality = unit.partition(".")
                counts[unit] += part.holding(modality) if kind == "encoder" else len(part)
        return counts

    @property
    def steps(self) -> dict[str, int]:
        """Unit -> how many steps of the last local training moved it: those of the tasks that use it."""
        return dict(self._trained.unit_steps)

    def load(self, received: Payload) -> None:
        """Put the received units into the work model, and what this client keeps to itself.

        A client that has never trained keeps the initial values, which everybody knows from the seed.
        """
        if received.model is not None:
            self.model.load(received.model)
        self.model.load(self._local if self._client.local is None else self._client.local)

    def train(self, rule: LocalSteps, received: Payload, *, epochs: int | None = None) -> Trained:
        """Run the rule's local steps on the work model; returns the mean loss and the number of steps."""
        stream = ("client", self.client, "round", self.round)
        steps = schedule(
            self.data,
            epochs=epochs or self.settings.local_epochs,
            batch_size=self.settings.batch_size,
            seed=self._seed,
            stream=stream,
        )

        def loss_hook(loss: Tensor, outputs: Outputs, params: Mapping[str, Tensor], batch: Batch) -> Tensor:
            self.batch = batch
            return rule.local_loss(loss, outputs, params, received, self)

        def gradient_hook(grads: Mapping[str, Tensor], params: Mapping[str, Tensor]) -> None:
            rule.correct_gradients(grads, params, received, self)

        self._trained = train(
            self.model, self.data, steps, self.settings, seed=self._seed, stream=stream,
            where=f"in round {self.round + 1} at client {self.client}",
            loss_hook=loss_hook, gradient_hook=gradient_hook,
        )  # fmt: skip
        self.batch = None
        if self._local:
            own = (self._local if self._client.local is None else self._client.local).clone()
            own.load(self.model.values.restrict(self.units, without=self.model.values.keys() - self._local.keys()))
            self._client.local = own
        return self._trained

    def update(self, **extra: FlatTensors) -> Update:
        """The work model's units, less what stays here, copied so that the next client can use the model."""
        values = self.model.values.restrict(self.units, without=self._local)
        return Update(
            client=self.client,
            model=values,
            samples=self.samples,
            extra=dict(extra),
            loss=self._trained.loss,
            steps=self._trained.steps,
        )

    def forward(self, params: Mapping[str, Tensor], batch: Batch, *, training: bool = False) -> Outputs:
        """The model's outputs on a batch under other weights (a previous model, the received one).

        Nothing changes by it: no batch-norm statistic of the model, of ``params`` or of what is sent, and no random
        stream. By default the weights are evaluated as a model is scored, with running statistics and without dropout,
        as MOON (Li et al., CVPR 2021) and distillation do with the previous and the received model; ``training`` asks
        for batch statistics and dropout as in the step under way. Gradients reach ``params`` where they are attached
        to the graph.
        """
        return self.model.functional(params, batch.task, batch.inputs, training=training)
