"""The round loop: sample clients, send, train, combine, run the stage, measure on `valid`, checkpoint.

One pass of :meth:`Federation.round` is one communication round, to be read top to bottom. The loop owns
sampling, seeds, bytes and checkpoints; what is trained and how it is combined is the rule's and the stage's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from fedmeki_bench import seeds
from fedmeki_bench.errors import InputError, RunFailed
from fedmeki_bench.federation import checkpoint
from fedmeki_bench.federation.arrivals import Arrivals, Trip
from fedmeki_bench.federation.client import Client, ClientContext
from fedmeki_bench.federation.engine import Engine, Send, Sequential, settle
from fedmeki_bench.federation.exchange import Work
from fedmeki_bench.federation.faulty import Faulty
from fedmeki_bench.federation.payload import Payload, Update
from fedmeki_bench.federation.portions import Portions, check_curriculum
from fedmeki_bench.federation.questions import Question
from fedmeki_bench.federation.roll import Everybody, Held, Roll
from fedmeki_bench.federation.rule import Rule
from fedmeki_bench.federation.seat import Seat
from fedmeki_bench.federation.server import Server, ServerContext, sample_size
from fedmeki_bench.federation.stage import Stage
from fedmeki_bench.federation.usable import check_usable

if TYPE_CHECKING:
    from fedmeki_bench.data.cohort import CohortPart
    from fedmeki_bench.federation.curriculum import Curriculum
    from fedmeki_bench.models.client_model import ClientModel
    from fedmeki_bench.profiles import Profile
    from fedmeki_bench.task import Task


@dataclass
class Round:
    """What one communication round cost and how well the model did on `valid` after it."""

    round: int
    loss: float | None
    valid: dict[str, float] = field(default_factory=dict)
    bytes_up: int = 0
    bytes_down: int = 0
    seconds: float = 0.0
    clients: list[int] = field(default_factory=list)
    reports: dict[str, float] = field(default_factory=dict)
    faults: dict[str, list[int]] = field(default_factory=dict)  # fault -> clients that took part with it


_AFTER_ALL = 1 << 20
"""The number of an exchange after all of its round: a resumed run does not know how many there were."""

Validate = Callable[["Federation"], dict[str, float]]


class Federation:
    """A server and its clients under one rule and one stage.

    Args:
        model: the resident work model; its initial weights start the global model.
        rule, stage: the algorithm.
        clients: the hospitals, by number; where an engine has them elsewhere, with what is told of their samples.
        public: task -> the server's public samples.
        settings: the profile.
        seed: the run's seed.
        tasks: the training tasks by name, for stages that ask questions.
        folder: where checkpoints go; None keeps none.
        models: client -> a work model of its own, where architectures differ; the others work in ``model``.
        validate: scores the federation on `valid` after a round.
        engine: where the clients are; in this process if not given.
        faulty: the faults that clients have; None for none.
        curriculum: which tasks are active when; None for all of them in every round.
    """

    def __init__(
        self,
        model: ClientModel,
        rule: Rule,
        stage: Stage,
        clients: Sequence[Client],
        public: Mapping[str, CohortPart],
        settings: Profile,
        *,
        seed: int,
        tasks: Mapping[str, Task] | None = None,
        folder: Path | None = None,
        validate: Validate | None = None,
        engine: Engine | None = None,
        models: Mapping[int, ClientModel] | None = None,
        faulty: Faulty | None = None,
        curriculum: Curriculum | None = None,
    ) -> None:
        self.model = model
        self.rule = rule
        self.stage = stage
        self.clients = list(clients)
        self.public = public
        self.settings = settings
        self.seed = seed
        self.folder = folder
        self.history: list[Round] = []
        self.validate = validate
        self.faulty = faulty
        self.curriculum = curriculum
        self.at_server = ServerContext(model, settings, seed=seed, rounds=self.rounds, tasks=tasks, public=public)
        self._models = dict(models or {})
        if any(other is not model for other in self._models.values()) and not rule.any_architecture:
            raise InputError(
                f"rule {type(rule).__name__} combines weights, so all clients need one architecture: leave out "
                "client_encoders, or take a rule that exchanges none, such as fedmd"
            )
        local = settle(rule, self._distinct())
        self.server = Server(model.values.clone(), len(self.clients), local=local, context=self.at_server)
        self.engine = engine or Sequential(
            rule, self.clients, settings, model=model, seed=seed, models=models, public=public, faulty=faulty,
            curriculum=curriculum,
        )  # fmt: skip
        if curriculum is not None:
            check_curriculum(curriculum, rule)
        self._portions = portions = Portions(curriculum, seed, self.engine.holdings)
        portions.begin(self.server, self.at_server, public, 0)
        everybody = (lambda: self.clients, lambda client: self._models.get(client, model), self._weights)
        self._roll = Roll(*everybody, lambda one: portions.of(one, self.server.round))
        self._whole = Roll(*everybody) if curriculum is not None else self._roll
        self._exchanges = 0  # of this round
        self._arrivals: Arrivals | None = None
        self._under_way: dict[str, Any] | None = None
        if rule.buffer and settings.exchange == "task":
            raise InputError(f"rule {type(rule).__name__} is asynchronous, which exchange=task can't be: leave it out")

    def resume(self) -> int:
        """Load the last checkpoint, if any; returns the round to go on with."""
        if self.folder is None or not (self.folder / checkpoint.FILE).is_file():
            self.engine.rewind(0, None)
            return 0
        layouts = [each.values.layout for each in self._distinct()]
        state = checkpoint.load(self.folder, layouts[0], self.model.device, others=layouts[1:])
        assert state is not None
        self.server.model.load(state["model"])
        self.server.memory, self.at_server.memory = state["server"], state["stage"]
        self.engine.rewind(len(state["history"]), state["clients"])
        self.history = [Round(**r) for r in state["history"]]
        self._under_way = state["under_way"]
        # the round that was done last, so that a personal model is made as it was then
        self._portions.begin(self.server, self.at_server, self.public, max(len(self.history) - 1, 0))
        self._exchanges = _AFTER_ALL
        return len(self.history)

    @property
    def rounds(self) -> int:
        """How many rounds there are: the profile's, or one for a rule that trains nothing."""
        return self.settings.rounds if self.rule.trains else 1

    def run(self) -> Iterator[Round]:
        """Run the rounds that are left, yielding each one once its checkpoint is safe on disk."""
        for number in range(len(self.history), self.rounds):
            done = self.round(number)
            self.history.append(done)
            self._save()
            yield done

    def round(self, number: int) -> Round:
        """One communication round, in the steps that docs/life_of_a_round.md walks through."""
        started = time.perf_counter()
        self._portions.begin(self.server, self.at_server, self.public, number)
        self.server.reports = {}
        self._exchanges = 0
        tasks = self._portions.tasks(self.model, number)
        everybody = self.call(tasks)
        self.server.sizes = dict(everybody.sizes)
        # 1. select clients: drawn, the same for every algorithm, unless the rule chooses them or takes who comes back
        ledger = Round(number, None)
        back = self._back(everybody, number, ledger) if self.rule.buffer else {}
        ledger.clients = sorted(back) if back else self._selected(everybody, number, ledger)
        # once per round by default; the published code exchanges after every task
        exchanges = [tasks] if self.settings.exchange == "round" else [(task,) for task in tasks]
        done: list[Update] = []
        for group in exchanges:
            if group != tasks:
                everybody = self.call(group)
            seats = [self.seat(c, t.sent) for c, t in back.items()] or [
                self.seat(client, number, group) for client in ledger.clients if client in everybody.sizes
            ]
            if not seats:
                continue
            for seat in seats:
                for fault in self._faults(seat):
                    ledger.faults[fault] = sorted({*ledger.faults.get(fault, ()), seat.client})
            # 2. send, train, receive: client by client, while the rule takes the updates in
            payloads = {c: t.payload for c, t in back.items()} or self._broadcast(seats, ledger)
            updates = self._exchange(seats, payloads, ledger, done)
            # 3. combine
            if self._arriving(seats):
                self.rule.aggregate(self.server, updates)
            for _ in updates:  # a rule that stops early, or combines nothing, still owes every client its turn
                pass
            # here, not only at the end: what comes next would fail on it with a sentence of its own
            check_usable(self.server.model, number, f"rule {type(self.rule).__name__}")
        # 4. the server's own step on public data: nothing, fine-tuning, injection
        self.stage.run(self.server, self._portions.public(self.public, number), self.at_server)
        check_usable(self.server.model, number, f"stage {type(self.stage).__name__}")
        # 5. measure on `valid`
        if self.validate is not None:
            ledger.valid = self.validate(self)
        steps = sum(update.steps for update in done)
        ledger.loss = sum(update.loss * update.steps for update in done if update.steps) / steps if steps else None
        ledger.reports = _means([update.reports for update in done]) | self.server.reports
        ledger.seconds = time.perf_counter() - started
        return ledger

    def sampled(self, number: int) -> list[int]:
        """Which clients take part in a round, in client order; the same for every algorithm with this seed."""
        count = sample_size(self.settings.participation, len(self.clients))
        if count == len(self.clients):
            return list(range(count))
        chosen = seeds.generator(self.seed, "sample", number).choice(len(self.clients), count, replace=False)
        return sorted(int(c) for c in chosen)

    def seat(self, client: int, number: int, tasks: tuple[str, ...] | None = None) -> Seat:
        """One client's place in an exchange of a round: those of these tasks, or the active ones, that it has."""
        return self._seat(client, number, tasks or self._active(client), self._roll)

    def call(self, tasks: tuple[str, ...]) -> Everybody:
        """What all clients hold for these tasks, of which the server then knows holders and weights."""
        everybody = self._roll.everybody(tasks)
        self.server.holders, self.server.weights = dict(everybody.holders), dict(everybody.weights)
        return everybody

    def context(self, client: int, number: int, tasks: tuple[str, ...] | None = None) -> ClientContext:
        """The context of one client in one round, of a client in this process.

        Raises:
            RunFailed: it is elsewhere.
        """
        return self.engine.context(client, number, tasks or self._active(client))

    def load_personal(self, ctx: ClientContext) -> None:
        """Put a client's own model into its work model: what it would get now, and what the rule makes of it."""
        self.engine.personal(ctx, self.rule.broadcast(self.server, ctx.client, ctx.units), self.server.model)

    def ask(self, question: Question, clients: Iterable[int], tasks: tuple[str, ...] | None = None) -> Iterator[Any]:
        """What these clients answer of their own models after the round that was done last, in order.

        Args:
            tasks: whose units the own models are made of; all if not given.
        """
        self._exchanges += 1  # after all that have changed what clients hold
        seats = {
            client: self._seat(client, self.server.round, tasks or tuple(self.model.tasks), self._whole)
            for client in clients
        }

        def send(client: int) -> Payload:
            return self.rule.broadcast(self.server, client, seats[client].units)

        return self.engine.ask(list(seats.values()), send, self.server.model, question)

    def _active(self, client: int) -> tuple[str, ...]:
        return self._portions.tasks(self._models.get(client, self.model), self.server.round)

    def _seat(self, client: int, number: int, tasks: tuple[str, ...], roll: Roll) -> Seat:
        held = roll.held(client, tasks)
        step = (self.server.round, self._exchanges)
        return Seat(client, number, step, tasks, held.sizes, held.units, held.samples)

    @property
    def held(self) -> int:
        """Bytes of weights that the largest client needs to train."""
        return max(each.values.nbytes + each.held_beside for each in self._distinct())

    def _distinct(self) -> list[ClientModel]:
        """Every work model once, the server's first."""
        return list({id(each): each for each in (self.model, *self._models.values())}.values())

    def _exchange(
        self, seats: list[Seat], payloads: dict[int, Payload], ledger: Round, done: list[Update]
    ) -> Iterator[Update]:
        shares, by_client = self._shares(self._arriving(seats)), {seat.client: seat for seat in seats}
        sent: dict[int, Payload] = {}

        def send(client: int) -> Payload:
            sent[client] = payloads.pop(client)
            return sent[client]

        for update in self._engaged(seats, send, "client_update"):
            start = sent.pop(update.client).model
            if update.client not in shares:  # it never arrives
                continue
            update.staleness = self.server.round - by_client[update.client].round
            if update.staleness and update.model is not None and start is not None:
                update.change = update.model.restrict(update.model.units, buffers=False) - start
            update.share = shares[update.client]
            weights = self._weights(by_client[update.client])
            update.total_share = {unit: n / self.server.weights[unit] for unit, n in weights.items()}
            ledger.bytes_up += update.nbytes
            done.append(Update(update.client, loss=update.loss, steps=update.steps, reports=update.reports))
            yield update

    def _engaged(self, seats: Sequence[Seat], send: Send, work: Work) -> Iterator[Update]:
        """One exchange, counted."""
        step = (self.server.round, self._exchanges)
        self._exchanges += 1
        return self.engine.exchange([replace(seat, step=step) for seat in seats], send, work)

    def _arriving(self, seats: Sequence[Seat]) -> list[Seat]:
        """Those whose updates are not lost."""
        return [seat for seat in seats if "dropout" not in self._faults(seat)]

    def _faults(self, seat: Seat) -> tuple[str, ...]:
        return () if self.faulty is None else self.faulty.of(seat.client, seat.round)

    def _back(self, everybody: Everybody, number: int, ledger: Round) -> dict[int, Trip]:
        """Client -> its trip, of those who come back in time for this step of an asynchronous rule."""
        if self._arrivals is None:
            self._arrivals = Arrivals(everybody.sizes, len(self.sampled(0)), self.settings.delay, self.seed)
            if self._under_way:
                self._arrivals.restore(self._under_way)

        def send(clients: Sequence[int]) -> dict[int, Payload]:
            return self._broadcast([self.seat(client, number) for client in clients], ledger)

        back = self._arrivals.next(self.rule.buffer, number, send)
        self.server.report("clock", self._arrivals.clock)
        if back:
            self.server.report("staleness", fmean(number - trip.sent for trip in back))
        return {trip.client: trip for trip in back}

    def _broadcast(self, seats: Iterable[Seat], ledger: Round) -> dict[int, Payload]:
        """Client -> what goes down to it: all of it made before the first update comes, so that none can leak in."""
        with self.server.sharing():
            payloads = {s.client: self.rule.broadcast(self.server, s.client, s.units) for s in seats}
        ledger.bytes_down += sum(payload.nbytes for payload in payloads.values())
        return payloads

    def _selected(self, everybody: Everybody, number: int, ledger: Round) -> list[int]:
        """The clients that take part in a round, in client order.

        Raises:
            RunFailed: the rule selects a client that there is not, or one twice.
        """

        def ask(clients: Sequence[int]) -> list[Update]:
            seats = [self.seat(client, number) for client in sorted(clients) if client in everybody.sizes]
            payloads = self._broadcast(seats, ledger)
            answers = list(self._engaged(seats, payloads.pop, "answer"))
            ledger.bytes_up += sum(update.nbytes for update in answers)
            return answers

        chosen = list(self.rule.select(self.server, [*everybody.sizes], self.sampled(number), ask))
        if len(set(chosen)) < len(chosen) or not set(chosen) <= set(range(len(self.clients))):
            raise RunFailed(
                f"rule {type(self.rule).__name__} selects the clients {chosen} in round {number + 1}; numbers from 0 "
                f"to {len(self.clients) - 1} are expected, each once"
            )
        return sorted(chosen)

    def _weights(self, seat: Seat | Held) -> Mapping[str, int]:
        """Unit -> a client's weight before it is normalised."""
        return seat.samples if self.settings.weighting == "samples" else dict.fromkeys(seat.samples, 1)

    def _shares(self, seats: Sequence[Seat]) -> dict[int, dict[str, float]]:
        """Client -> unit -> weight in the mean, normalised per unit over the clients that train the unit."""
        weights = {seat.client: self._weights(seat) for seat in seats}
        totals: dict[str, int] = {}
        for units in weights.values():
            for unit, n in units.items():
                totals[unit] = totals.get(unit, 0) + n
        return {c: {u: n / totals[u] for u, n in units.items() if n} for c, units in weights.items()}

    def _save(self) -> None:
        if self.folder is None:
            return
        state: dict[str, Any] = {
            "model": self.server.model,
            "server": self.server.memory,
            "stage": self.at_server.memory,
            "clients": self.engine.commit(len(self.history)),
            "history": [asdict(r) for r in self.history],
            "under_way": self._arrivals.state() if self._arrivals is not None else None,
        }
        checkpoint.save(self.folder, state)


def _means(reports: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Name -> the mean over the clients that report it."""
    names = dict.fromkeys(name for report in reports for name in report)
    return {name: fmean(report[name] for report in reports if name in report) for name in names}
