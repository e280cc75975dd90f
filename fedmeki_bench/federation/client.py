"""A client: its own data, its memory, and the resident work model it trains in."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from fedmeki_bench.federation.computing import Computing
from fedmeki_bench.federation.payload import Payload, Update
from fedmeki_bench.federation.seat import samples_of, units_of
from fedmeki_bench.models.training import Trained, Training

if TYPE_CHECKING:
    from torch import Tensor

    from fedmeki_bench.data.cohort import CohortPart
    from fedmeki_bench.models.batch import Batch
    from fedmeki_bench.models.client_model import ClientModel
    from fedmeki_bench.models.flat import FlatTensors
    from fedmeki_bench.profiles import Profile


@dataclass
class Client:
    """One hospital: its number, its private samples per task, and what it holds between rounds, all in the checkpoint.

    Attributes:
        data: task -> its samples, or what is told of them where it is elsewhere.
        memory: the rule's: tensors, flat tensors, numbers, texts and dicts of these.
        local: the loop's: the tensors that never leave the client (see ``Rule.keeps``), None before it has trained.
        personal: name -> unit -> the client's personal copy of it (see ``ClientContext.keep_personal``).
    """

    number: int
    data: Mapping[str, Any]
    memory: dict[str, Any] = field(default_factory=dict)
    local: FlatTensors | None = None
    personal: dict[str, dict[str, FlatTensors]] = field(default_factory=dict)

    def state(self) -> dict[str, Any]:
        """What it holds, for a checkpoint."""
        return {"memory": self.memory, "local": self.local, "personal": self.personal}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Hold what a checkpoint says."""
        self.memory, self.local, self.personal = state["memory"], state["local"], state["personal"]


class LocalSteps(Protocol):
    """What local training asks of a rule."""

    def step(self, ctx: ClientContext, params: Mapping[str, Tensor], batch: Batch, received: Payload) -> Tensor:
        """See ``Rule.step``."""

    def correct_gradients(
        self, grads: Mapping[str, Tensor], params: Mapping[str, Tensor], received: Payload, ctx: ClientContext
    ) -> None:
        """See ``Rule.correct_gradients``."""


class ClientContext(Computing):
    """What a rule may touch on a client during one exchange.

    Attributes:
        client: the client's number.
        data: task -> the client's private samples, as far as they are in use.
        public: task -> the public samples, for a rule that says ``uses_public``; else empty.
        memory: kept between rounds and checkpointed.
        reports: what :meth:`report` was told in this exchange.
        pace: the part of its local steps that the client gets done in this exchange.
        model, settings, seed, round, batch: see :class:`Computing`.
    """

    def __init__(
        self, client: Client, model: ClientModel, settings: Profile, *, seed: int, round: int, tasks: tuple[str, ...],
        local: FlatTensors, initial: FlatTensors, public: Mapping[str, CohortPart] | None = None,
        began: int = 0, data: Mapping[str, CohortPart] | None = None, held: Mapping[str, CohortPart] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(model, settings, seed=seed, round=round, where=("client", client.number))
        self.began = began
        self.client = client.number
        self.data = _some(client.data if data is None else data, tasks)
        self._held = self.data if held is None else _some(held, tasks)
        self.public = dict(public or {})
        self.memory = client.memory
        self._client = client
        self._initial = initial
        self._local = local  # initial values of what stays with the client
        self._trained = Trained(float("nan"), 0)
        self.reports: dict[str, float] = {}
        self.pace = 1.0

    @property
    def units(self) -> tuple[str, ...]:
        """The units of exchange that this client's tasks use, in the model's order."""
        return units_of(self.model, self._held)

    @property
    def samples(self) -> dict[str, int]:
        """Unit -> how many of this client's samples train it: an encoder, those that have its modality."""
        return samples_of(self.model, self._held)

    @property
    def steps(self) -> dict[str, int]:
        """Unit -> how many steps of this exchange's local training moved it: those of the tasks that use it."""
        return dict(self._trained.unit_steps)

    def load(self, received: Payload) -> None:
        """Put the received units into the work model, and what this client keeps to itself.

        A client that receives no model starts from the initial one, which everybody knows from the seed, as does what
        a client keeps before it has trained.
        """
        self.model.load(self._initial if received.model is None else received.model)
        self.model.load(self._local if self._client.local is None else self._client.local)

    def training(
        self, rule: LocalSteps, received: Payload, *, lr: float | None = None, units: Collection[str] | None = None,
        data: Mapping[str, CohortPart] | None = None,
    ) -> Training:  # fmt: skip
        """The rule's local steps, to be taken one by one: ``for batch in training.batches(): training.step(batch)``.

        For methods that do something between steps; :meth:`train` takes them all. End with :meth:`trained`.
        """
        stream = ("client", self.client, "round", self.elapsed)
        decayed = (lr or self.settings.lr) * self.settings.lr_decay**self.elapsed
        training = Training(
            self.model, self.data if data is None else data, self.settings, seed=self.seed, stream=stream,
            where=f"in round {self.round + 1} at client {self.client}", lr=decayed, units=units,
            gradient_hook=lambda grads, params: rule.correct_gradients(grads, params, received, self),
            pace=self.pace,
        )  # fmt: skip

        return self._follow(training, lambda params, batch: rule.step(self, params, batch, received))

    def train(
        self, rule: LocalSteps, received: Payload, *, epochs: int | None = None, lr: float | None = None,
        units: Collection[str] | None = None, steps_per_batch: int = 1, data: Mapping[str, CohortPart] | None = None,
    ) -> Trained:  # fmt: skip
        """Run the rule's local steps on the work model; returns the mean loss and the number of steps.

        Args:
            rule: whose :meth:`Rule.step` gives the loss; ``Rule()`` trains as FedAvg does.
            epochs: passes over the data; the profile's if not given.
            lr: learning rate; the profile's if not given.
            units: the units to train; all others stand still (no gradient, no batch-norm statistic, no dropout).
            steps_per_batch: optimiser steps taken on each batch.
            data: task -> samples to train on instead of the client's own, such as :attr:`public`.
        """
        training = self.training(rule, received, lr=lr, units=units, data=data)
        for batch in training.batches(epochs or self.settings.local_epochs):
            for _ in range(steps_per_batch):
                training.step(batch)
        return self.trained(training)

    def trained(self, training: Training) -> Trained:
        """Count the steps of a :meth:`training` that is over, and keep at the client what stays there."""
        done = training.trained
        self._trained += done
        if self._trained.skipped:
            self.report("skipped batches", self._trained.skipped)
        if self._local:
            own = (self._local if self._client.local is None else self._client.local).clone()
            own.load(self.model.values.restrict(self.units, without=self.model.values.keys() - self._local.keys()))
            self._client.local = own
        return done

    def update(self, **extra: FlatTensors | Tensor) -> Update:
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

    def personal(self, name: str = "personal") -> FlatTensors | None:
        """The client's own copy of its units, as far as it has kept one under this name; None if there is none."""
        kept = {unit: values for unit, values in self._client.personal.get(name, {}).items() if unit in self.units}
        if not kept:
            return None
        own = self.model.values.restrict(kept)
        for values in kept.values():
            own.load(values)
        return own

    def load_personal(self, received: Payload, name: str = "personal") -> None:
        """Put the client's own copy into the work model; units it has not kept yet start from the received ones."""
        self.load(received)
        own = self.personal(name)
        if own is not None:
            self.model.load(own)

    def keep_personal(self, name: str = "personal") -> None:
        """Keep the client's units as they stand in the work model: until the next time, and in the checkpoint."""
        kept = self._client.personal.setdefault(name, {})
        kept.update({unit: self.model.values.restrict([unit]) for unit in self.units})

    def report(self, name: str, value: float) -> None:
        """A number for the run's history, e.g. the drift from the global model; the record has its mean over clients.

        It is no part of what is sent and counts no bytes.
        """
        self.reports[name] = float(value)


def _some(data: Mapping[str, CohortPart], tasks: tuple[str, ...]) -> dict[str, CohortPart]:
    """Those of the tasks that there are samples of."""
    return {task: data[task] for task in tasks if task in data and len(data[task])}
