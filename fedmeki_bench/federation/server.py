"""The server: the global model, what the rule remembers there, and the weighted mean."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from fedmeki_bench.data.cohort import CohortPart
    from fedmeki_bench.federation.payload import Update
    from fedmeki_bench.models.client_model import ClientModel
    from fedmeki_bench.models.flat import FlatTensors
    from fedmeki_bench.models.training import Trained
    from fedmeki_bench.profiles import Profile
    from fedmeki_bench.task import Task

T = TypeVar("T")


class Mean:
    """A running mean of the clients' vectors, unit by unit, each weighted by the client's share.

    One vector is held at a time. Shares are normalised before multiplying. A client with share 0 has no influence,
    whatever its values.

    Attributes:
        value: the mean; units that nobody sent keep their initial value.
        clients: unit -> how many clients have gone into it.
    """

    def __init__(self, start: FlatTensors) -> None:
        self.value = start.clone()
        self.clients: dict[str, int] = {}

    def add(self, vector: FlatTensors | None, share: Mapping[str, float]) -> None:
        """Take in one client's vector, which may lack units and tensors.

        Args:
            vector: e.g. ``update.model``; None, from a client that sends no model, changes nothing.
            share: unit -> the client's weight, e.g. ``update.share``.
        """
        if vector is None:
            return
        started = frozenset(self.clients)
        for unit in vector.units:
            if share.get(unit, 0.0) != 0.0:
                self.clients[unit] = self.clients.get(unit, 0) + 1
        for unit, here, there in self.value.layout.common(vector.layout):
            weight = share.get(unit, 0.0)
            if weight == 0.0:
                continue
            if unit in started:
                self.value.flat[here].add_(vector.flat[there], alpha=weight)
            else:
                self.value.flat[here].copy_(vector.flat[there]).mul_(weight)


@dataclass
class Server:
    """What the server holds between rounds; all of it is in the checkpoint.

    Attributes:
        model: the global model.
        memory: the rule's own state: tensors, flat tensors, numbers, texts and dicts of these. A stage has its own in
            :class:`ServerContext`.
        round: 0-based communication round.
        clients: how many clients the federation has.
        holders: unit -> how many of them have data for a task that uses it, in this round sampled or not.
        local: names of the tensors that stay with the clients; the server's own are never sent and never averaged.
    """

    model: FlatTensors
    clients: int
    holders: Mapping[str, int] = field(default_factory=dict)
    local: frozenset[str] = frozenset()
    memory: dict[str, Any] = field(default_factory=dict)
    round: int = 0

    def outgoing(self, units: Iterable[str]) -> FlatTensors:
        """A copy of these units of the global model, less what stays with the clients."""
        return self.model.restrict(units, without=self.local)

    def mean(self, updates: Iterable[Update]) -> FlatTensors:
        """The mean of the clients' models, unit by unit, weighted by ``Update.share``.

        Streaming: one update is held at a time. A unit that nobody trained keeps the global value.
        """
        mean = Mean(self.model)
        for update in updates:
            mean.add(update.model, update.share)
        return mean.value


class ServerContext:
    """What a stage may use: the resident model to train in, settings and seeds.

    Attributes:
        model: the resident work model; load ``server.model`` into it before use.
        settings: the run's profile.
        seed: the run's seed; derive streams from it, never draw from a global generator.
        round: 0-based communication round.
        rounds: how many there are.
        tasks: the training tasks by name.
        memory: the stage's own state between rounds, of the same kinds as the rule's; in the checkpoint.
    """

    def __init__(
        self,
        model: ClientModel,
        settings: Profile,
        *,
        seed: int,
        rounds: int = 1,
        tasks: Mapping[str, Task] | None = None,
    ) -> None:
        self.model = model
        self.settings = settings
        self.seed = seed
        self.round = 0
        self.rounds = rounds
        self.tasks = dict(tasks or {})
        self.memory: dict[str, Any] = {}
        self._resident: dict[Hashable, Any] = {}

    def fine_tune(
        self, start: FlatTensors, public: Mapping[str, CohortPart], *, epochs: int, lr: float | None = None
    ) -> tuple[FlatTensors, Trained]:
        """Train from ``start`` on public data with the clients' own loop; returns the new values."""
        from fedmeki_bench.models.training import schedule, train

        self.model.load(start)
        stream = ("server", "round", self.round)
        steps = schedule(public, epochs=epochs, batch_size=self.settings.batch_size, seed=self.seed, stream=stream)
        trained = train(
            self.model, public, steps, self.settings, seed=self.seed, stream=stream,
            where=f"in round {self.round + 1} at the server", lr=lr,
        )  # fmt: skip
        return self.model.values.clone(), trained

    def resident(self, key: Hashable, build: Callable[[], T]) -> T:
        """What ``build`` made when it was first asked for under ``key``: for what is too large to make every round.

        It lives as long as the process and is not in the checkpoint, so it must follow from ``memory`` and the seed.
        """
        if key not in self._resident:
            self._resident[key] = build()
        found: T = self._resident[key]
        return found
