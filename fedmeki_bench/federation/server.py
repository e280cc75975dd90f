"""The server: the global model, what the rule remembers there, and what it can compute with."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from fedmeki_bench.federation.computing import Computing
from fedmeki_bench.federation.mean import Mean
from fedmeki_bench.federation.stacks import Stack, connected, stacked
from fedmeki_bench.models.flat import FlatTensors
from fedmeki_bench.models.training import Loss, Trained, Training

if TYPE_CHECKING:
    import torch

    from fedmeki_bench.data.cohort import CohortPart
    from fedmeki_bench.federation.payload import Update
    from fedmeki_bench.models.client_model import ClientModel
    from fedmeki_bench.profiles import Profile
    from fedmeki_bench.task import Task

T = TypeVar("T")


@dataclass
class Server:
    """What the server holds between rounds; all of it is in the checkpoint.

    Attributes:
        model: the global model.
        memory: the rule's own state: tensors, flat tensors, numbers, texts and dicts of these. A stage has its own in
            :class:`ServerContext`.
        round: 0-based communication round.
        earlier: the tasks whose phases are over, in order, where tasks follow one another; else empty.
        clients: how many clients the federation has.
        sizes: client -> how many samples it has, of all its tasks; clients without any are left out.
        holders: unit -> how many of them have data for a task that uses it, in this round sampled or not.
        weights: unit -> the sum of all holders' weights, sample counts or ones, of which ``Update.total_share`` is a
            client's part.
        local: names of the tensors that stay with the clients; the server's own are never sent and never averaged.
        context: the server's means to compute: the work model, the public samples, settings and seeds.
        reports: numbers that the rule reports of this round.
    """

    model: FlatTensors
    clients: int
    sizes: Mapping[int, int] = field(default_factory=dict)
    holders: Mapping[str, int] = field(default_factory=dict)
    local: frozenset[str] = frozenset()
    memory: dict[str, Any] = field(default_factory=dict)
    round: int = 0
    earlier: tuple[str, ...] = ()
    weights: Mapping[str, float] = field(default_factory=dict)
    context: ServerContext | None = None
    reports: dict[str, float] = field(default_factory=dict)
    _sent: dict[tuple[str, ...], FlatTensors] | None = field(default=None, repr=False)

    def outgoing(self, units: Iterable[str]) -> FlatTensors:
        """A copy of these units of the global model, less what stays with the clients.

        Within an exchange, clients that use the same units get the same copy, so that memory does not grow with them.
        """
        wanted = tuple(units)
        if self._sent is None:
            return self.model.restrict(wanted, without=self.local)
        if wanted not in self._sent:
            self._sent[wanted] = self.model.restrict(wanted, without=self.local)
        return self._sent[wanted]

    @contextmanager
    def sharing(self) -> Iterator[None]:
        """Inside, :meth:`outgoing` gives the same copy again; for the loop, while the model does not change."""
        self._sent = {}
        try:
            yield
        finally:
            self._sent = None

    def mean(self, updates: Iterable[Update]) -> FlatTensors:
        """The mean of the clients' models, unit by unit, weighted by ``Update.share``.

        Streaming: one update is held at a time. A unit that nobody trained keeps the global value.
        """
        mean = Mean(self.model)
        for update in updates:
            mean.add(update.model, update.share)
        return mean.value

    def mean_change(self, updates: Iterable[Update]) -> FlatTensors:
        """The weighted mean of what the clients changed: parameters of the units that somebody trained.

        Batch-norm statistics, which are no parameters and may not be extrapolated, go into the global model as the
        clients' mean; so a rule that makes a step of this change need not think of them.
        """
        mean = Mean(self.model)
        for update in updates:
            mean.add(update.model, update.share)
        self._take_statistics(mean.value)
        return mean.value.restrict(mean.clients, buffers=False, without=self.local) - self.model

    def changes(self, updates: Iterable[Update]) -> Iterator[Update]:
        """The same updates, each with its ``change``: its parameters less the global ones, on the client's units.

        Batch-norm statistics are averaged aside and go into the global model when the last update has been taken. A
        ``change`` that a rule has put there already, from what it sent in place of a model, is left alone.
        """
        statistics = Mean(self.model.restrict(self.model.units, without=self._parameters))
        for update in updates:
            statistics.add(update.model, update.share)
            if update.change is None and update.model is not None:
                update.change = update.model.restrict(update.model.units, buffers=False) - self.model
            yield update
        self._take_statistics(statistics.value)

    def combine(self, updates: Iterable[Update], how: Callable[[Stack], torch.Tensor]) -> None:
        """Put in the place of the clients' models what ``how`` makes of them, stack by stack (see :class:`Stack`).

        For rules that look at several clients at once; all updates are held in memory. Batch-norm statistics are
        combined as parameters are, so that none gets past the rule.

        Args:
            how: a stack -> the new values, (elements,).
        """
        for stack in stacked(self.model, self.groups, updates):
            self.model.load(FlatTensors(stack.start.layout, how(stack)))

    @property
    def drawn(self) -> int:
        """How many clients are drawn in a round, by the profile's participation."""
        return sample_size(self.computing.settings.participation, self.clients)

    @property
    def groups(self) -> tuple[frozenset[str], ...]:
        """The units of tasks that share units: what is trained without any influence on the rest of the model."""
        model = self.computing.model
        return connected(model.units(task) for task in model.tasks)

    def apply(self, step: FlatTensors, scale: float = 1.0) -> None:
        """Add ``scale`` times a step to the global parameters that it holds; batch-norm statistics are left alone."""
        parameters = step.restrict(step.units, buffers=False)
        for _, here, there in self.model.layout.common(parameters.layout):
            self.model.flat[here].add_(parameters.flat[there], alpha=scale)

    def report(self, name: str, value: float) -> None:
        """A number for the round in the run's history, e.g. a privacy budget spent so far."""
        self.reports[name] = float(value)

    def generator(self, *stream: str | int) -> torch.Generator:
        """A generator on a stream of the server in this round; the same name gives the same numbers again."""
        return self.computing.generator(*stream)

    @property
    def computing(self) -> ServerContext:
        """:attr:`context`, which a federation's server always has."""
        if self.context is None:
            raise RuntimeError("this server belongs to no federation and has nothing to compute with")
        return self.context

    @property
    def _parameters(self) -> frozenset[str]:
        return frozenset(name for name, entry in self.model.layout.entries.items() if entry.trained)

    def _take_statistics(self, values: FlatTensors) -> None:
        self.model.load(values.restrict(values.units, without=self._parameters))


def sample_size(participation: float, clients: int) -> int:
    """How many of these clients take part in a round."""
    return max(1, round(participation * clients))


class ServerContext(Computing):
    """What the server may compute with, for rules (``server.computing``) and stages.

    Attributes:
        model: the resident work model; load ``server.model`` into it before use.
        rounds: how many there are; where tasks follow one another, in this phase.
        tasks: the training tasks by name.
        public: task -> the public samples, as far as they are in use.
        memory: the stage's own state between rounds, of the same kinds as the rule's; in the checkpoint.
        settings, seed, round, batch: see :class:`Computing`.
    """

    def __init__(
        self,
        model: ClientModel,
        settings: Profile,
        *,
        seed: int,
        rounds: int = 1,
        tasks: Mapping[str, Task] | None = None,
        public: Mapping[str, CohortPart] | None = None,
    ) -> None:
        super().__init__(model, settings, seed=seed, round=0, where=("server",))
        self.rounds = rounds
        self.tasks = dict(tasks or {})
        self.public = dict(public or {})
        self.memory: dict[str, Any] = {}
        self._resident: dict[Hashable, Any] = {}

    def fine_tune(
        self, start: FlatTensors, public: Mapping[str, CohortPart], *, epochs: int, lr: float | None = None,
        loss: Loss | None = None,
    ) -> tuple[FlatTensors, Trained]:  # fmt: skip
        """Train from ``start`` on public data with the clients' own loop; returns the new values.

        Args:
            loss: parameters and batch -> the loss to minimise, such as the distance to what the clients say of the
                batch; by default the loss of the task's kind.
        """
        self.model.load(start)
        training = Training(
            self.model, public, self.settings, seed=self.seed, stream=("server", "round", self.elapsed),
            where=f"in round {self.round + 1} at the server", lr=lr,
        )  # fmt: skip
        self._follow(training, loss or training.loss)
        for batch in training.batches(epochs):
            training.step(batch)
        return self.model.values.clone(), training.trained

    def resident(self, key: Hashable, build: Callable[[], T]) -> T:
        """What ``build`` made when it was first asked for under ``key``: for what is too large to make every round.

        It lives as long as the process and is not in the checkpoint, so it must follow from ``memory`` and the seed.
        """
        if key not in self._resident:
            self._resident[key] = build()
        found: T = self._resident[key]
        return found
