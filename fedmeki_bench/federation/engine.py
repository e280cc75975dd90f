"""Where the clients of a federation are, and how their work gets done. The result may not depend on it.

:class:`Sequential` has them all in this process, one after another. Other engines have them in other processes or at
other places; whoever holds a client holds its samples and its memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from pydantic import BaseModel, ConfigDict

from fedmeki_bench.data.clients.holding import Holding
from fedmeki_bench.errors import RunFailed
from fedmeki_bench.federation.client import Client, ClientContext
from fedmeki_bench.federation.exchange import Execute, Work, one_by_one
from fedmeki_bench.federation.memories import read_memories
from fedmeki_bench.federation.payload import Payload, Update
from fedmeki_bench.federation.portions import Portions, Told

if TYPE_CHECKING:
    from fedmeki_bench.data.cohort import CohortPart
    from fedmeki_bench.federation.curriculum import Curriculum
    from fedmeki_bench.federation.faulty import Faulty
    from fedmeki_bench.federation.questions import Question
    from fedmeki_bench.federation.rule import Rule
    from fedmeki_bench.federation.seat import Seat
    from fedmeki_bench.models.client_model import ClientModel
    from fedmeki_bench.models.flat import FlatTensors, Layout
    from fedmeki_bench.profiles import Profile

Send = Callable[[int], Payload]
"""Client -> what goes down to it, made before the exchange and handed over once."""


@dataclass(frozen=True)
class Opening:
    """What an engine is opened with.

    Attributes:
        spec: the run's specification, plain values that cross to other processes.
        key: the run's name.
        data: the folder of cohorts.
        folder: where engines may leave what clients hold; None where nothing is to be kept.
        devices: where models live, e.g. ``("cuda:0", "cuda:1")``.
        options: the engine's own, by name.
        model: the server's work model.
        layouts: of all architectures.
        clients: their numbers.
        here: builds the engine that has all clients in this process.
    """

    spec: Any
    key: str
    data: Path
    folder: Path | None
    devices: tuple[str, ...]
    options: Mapping[str, Any]
    model: ClientModel
    layouts: tuple[Layout, ...]
    clients: tuple[int, ...]
    here: Callable[[], Sequential]


class Engine:
    """Base of all engines; plug-ins are declared in the entry-point group ``fedmeki_bench.engines``.

    An exchange may be asked for again after something was lost: it must then give the same updates, so a client's
    memory is taken as it was before the exchange.

    Attributes:
        has_data: whether the data folder of the run holds the clients' samples.
    """

    has_data: ClassVar[bool] = True

    class Params(BaseModel):
        """The engine's own options, validated; none by default. They are no part of a run's identity."""

        model_config = ConfigDict(extra="forbid")

    @classmethod
    def check(cls, options: Mapping[str, Any]) -> None:
        """Refuse options that can't work here, before anything is trained.

        Raises:
            UsageError: says which.
        """

    @classmethod
    def open(cls, opening: Opening) -> Engine:
        """An engine ready for the first exchange of a run.

        Raises:
            UsageError: an option or a device does not fit.
            SiteLost: a place with clients can't be reached.
        """
        raise NotImplementedError

    def exchange(self, seats: Sequence[Seat], send: Send, work: Work) -> Iterator[Update]:
        """Have clients work; one update each, in the order of the seats, one at a time.

        Raises:
            SiteLost: a client can't be reached any more; the run can go on from its last checkpoint.
        """
        raise NotImplementedError

    def ask(self, seats: Sequence[Seat], send: Send, base: FlatTensors, question: Question) -> Iterator[Any]:
        """What clients answer of their own models, which stay where they are; in the order of the seats.

        Args:
            seats: whom to ask.
            send: what each would receive now, from which its own model is made.
            base: the global model, for units that a client does not receive.
            question: what is asked.
        """
        raise NotImplementedError

    def commit(self, round: int) -> list[dict[str, Any] | None] | None:
        """A round is done: what its checkpoint shall hold of each client, or None where the engine keeps it itself.

        A client that holds nothing may have None in the list: of many clients most have never taken part.
        """
        raise NotImplementedError

    def rewind(self, round: int, kept: list[dict[str, Any] | None] | None) -> None:
        """Go back to what clients held when ``round`` rounds were done; ``kept`` is what :meth:`commit` gave then."""
        raise NotImplementedError

    def holdings(self, round: int) -> Told:
        """What is to be told of the samples that clients use in a round, where tasks follow one another.

        Asked only where the samples are elsewhere: which patients are rehearsed is not known there.
        """
        raise RunFailed(f"the engine {type(self).__name__} can't tell how many samples are rehearsed: use another")

    def context(self, client: int, round: int, tasks: tuple[str, ...]) -> ClientContext:
        """The context of a client that is in this process.

        Raises:
            RunFailed: it is not.
        """
        raise RunFailed(f"client {client} is not in this process: what it holds can be asked for, not looked at")

    def personal(self, ctx: ClientContext, received: Payload, base: FlatTensors) -> None:
        """Put a client's own model into its work model; for clients in this process."""
        raise RunFailed(f"client {ctx.client} is not in this process: its own model stays with it")

    def close(self, *, done: bool) -> None:
        """The run is over; ``done`` says that nothing of it will be needed again."""


def settle(rule: Rule, models: Sequence[ClientModel]) -> frozenset[str]:
    """Freeze what the rule freezes; the names of the tensors that stay with the clients."""
    for model in models:
        model.freeze(unit for unit in model.values.layout.units if rule.freezes(unit))
    entries = (entry for model in models for entry in model.values.layout.entries.values())
    return frozenset(entry.name for entry in entries if rule.keeps(entry))


class Sequential(Engine):
    """Clients in this process, one after another, in one work model per architecture.

    Args:
        rule: what they do.
        clients: those that are here.
        settings: the profile.
        model: the work model.
        seed: the run's.
        models: client -> a work model of its own, where architectures differ; the others work in ``model``.
        public: task -> the public samples, for rules that show them to clients.
        faulty: the faults that clients have; None for none.
        curriculum: which tasks are active when; None for all of them always.
        folder: where an engine that keeps memories itself left them, if a run may have begun on one.
    """

    def __init__(
        self, rule: Rule, clients: Sequence[Client], settings: Profile, *, model: ClientModel, seed: int,
        models: Mapping[int, ClientModel] | None = None, public: Mapping[str, CohortPart] | None = None,
        faulty: Faulty | None = None, curriculum: Curriculum | None = None, folder: Path | None = None,
    ) -> None:  # fmt: skip
        self.rule, self.clients, self.settings, self.seed = rule, list(clients), settings, seed
        self.model, self.faulty, self.folder = model, faulty, folder
        self.execute: Execute = one_by_one
        self._public = public if rule.uses_public else None
        self._portions = Portions(curriculum, seed)
        self._models = dict(models or {})
        self._by_number = {client.number: client for client in self.clients}
        local = settle(rule, self.distinct)
        self._initial = {id(each): each.values.clone() for each in self.distinct}
        self._local = {
            id(each): each.values.restrict(each.values.units, without=each.values.keys() - local)
            for each in self.distinct
        }

    @classmethod
    def open(cls, opening: Opening) -> Sequential:
        """See :class:`Engine`."""
        return opening.here()

    @property
    def distinct(self) -> list[ClientModel]:
        """Every work model once, the common one first."""
        return list({id(each): each for each in (self.model, *self._models.values())}.values())

    def exchange(self, seats: Sequence[Seat], send: Send, work: Work) -> Iterator[Update]:
        """See :class:`Engine`. Only one update is alive at a time, so memory does not grow with the clients."""
        execute = self.execute if self.faulty is None else self.faulty.around(self.execute)
        contexts = [self.context(seat.client, seat.round, seat.tasks) for seat in seats]
        return execute(self.rule, contexts, lambda ctx: send(ctx.client), work)

    def ask(self, seats: Sequence[Seat], send: Send, base: FlatTensors, question: Question) -> Iterator[Any]:
        """See :class:`Engine`."""
        for seat in seats:
            ctx = self.context(seat.client, seat.round, seat.tasks, asked=True)
            self.personal(ctx, send(seat.client), base)
            yield question.answer(ctx)

    def holdings(self, round: int) -> Told:
        """See :class:`Engine`."""
        found = {client.number: self._portions.of(client, round) for client in self.clients}
        return {n: {task: Holding.of(part) for task, part in parts.items()} for n, parts in found.items()}

    def context(
        self, client: int, round: int, tasks: tuple[str, ...], *, asked: bool = False
    ) -> ClientContext:  # fmt: skip
        """The context of one client in one round.

        Args:
            asked: it answers for its own model. Of a task that is not active it has no samples then, but the units.
        """
        model, one = self._models.get(client, self.model), self._by_number[client]
        return ClientContext(
            one, model, self.settings, seed=self.seed, round=round, tasks=tasks,
            local=self._local[id(model)], initial=self._initial[id(model)],
            public=None if self._public is None else self._portions.public(self._public, round),
            began=self._portions.began(round), data=self._portions.of(one, round), held=one.data if asked else None,
        )  # fmt: skip

    def personal(self, ctx: ClientContext, received: Payload, base: FlatTensors) -> None:
        """See :class:`Engine`: what it would get now, and what the rule makes of it."""
        ctx.model.load(base if ctx.model is self.model else self._initial[id(ctx.model)])
        ctx.load(received)
        with torch.enable_grad():  # who scores takes no gradients; a rule may train a personal model first
            own = self.rule.personal(ctx, received)
        if own is not None:
            ctx.model.load(own)

    def commit(self, round: int) -> list[dict[str, Any] | None]:
        """See :class:`Engine`."""
        states = (client.state() for client in self.clients)
        return [state if any(state.values()) else None for state in states]

    def rewind(self, round: int, kept: list[dict[str, Any] | None] | None) -> None:
        """See :class:`Engine`. Where other processes kept them, memories are read from their files."""
        if kept is None:
            layouts = [each.values.layout for each in self.distinct]
            found = read_memories(self.folder, self._by_number, (round, 0), layouts, self.model.device)
            kept = [found.get(client.number) for client in self.clients]
        for client, state in zip(self.clients, kept, strict=True):
            client.restore(state or Client(client.number, {}).state())
