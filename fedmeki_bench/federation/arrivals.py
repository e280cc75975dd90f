"""Asynchronous rounds on a simulated clock: clients take time, and the server goes on as soon as enough have come back.

Nguyen, Malik, Zhan, Yousefpour, Rabbat, Malek, Huba, "Federated Learning with Buffered Asynchronous Aggregation",
AISTATS 2022. A number of clients train at once; whoever comes back is replaced by another, who gets the model as it
stands then. What comes back was trained from the model of some rounds ago: its *staleness*. One round is one step of
the server.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedmeki_bench import seeds
from fedmeki_bench.federation.payload import Payload


@dataclass(frozen=True)
class Trip:
    """A client under way: with what, since which round, and when it comes back."""

    client: int
    sent: int
    arrives: float
    payload: Payload


def _half_normal(seed: int, client: int, sent: int, samples: int) -> float:
    return abs(float(seeds.generator(seed, "delay", client, sent).standard_normal()))


def _by_samples(seed: int, client: int, sent: int, samples: int) -> float:
    return float(samples)


DELAYS: Mapping[str, Callable[[int, int, int, int], float]] = {"halfnormal": _half_normal, "samples": _by_samples}
"""How long a client takes, from (seed, client, round it was sent in, samples it holds): ``halfnormal`` is the law that
the paper fits to its devices, drawn anew each time; with ``samples`` large clients are always late."""

Send = Callable[[Sequence[int]], dict[int, Payload]]
"""Clients -> what goes down to each, counted."""


class Arrivals:
    """Who is under way, and the simulated time.

    Args:
        clients: samples that each client holds; those without any never start.
        at_once: how many clients train at the same time.
        delay: one of :data:`DELAYS`.
        seed: the run's.
    """

    def __init__(self, clients: Mapping[int, int], at_once: int, delay: str, seed: int) -> None:
        self._samples = {client: n for client, n in clients.items() if n}
        self._at_once = min(at_once, len(self._samples))
        self._delay, self._seed = DELAYS[delay], seed
        self.trips: list[Trip] = []
        self.clock = 0.0

    def next(self, count: int, round: int, send: Send) -> list[Trip]:
        """The next ``count`` clients to come back (fewer if fewer are under way), in client order.

        Everyone but the last is replaced on the spot, by a client that gets the model of this round; the last one fills
        the buffer, and its successor waits for the server's step.
        """
        back: list[Trip] = []
        self._start(round, send, barred=())
        while self.trips and len(back) < count:
            first = min(self.trips, key=lambda trip: (trip.arrives, trip.client))
            self.trips.remove(first)
            self.clock = first.arrives
            back.append(first)
            if len(back) < count:
                self._start(round, send, barred=[trip.client for trip in back])
        return sorted(back, key=lambda trip: trip.client)

    def _start(self, round: int, send: Send, barred: Iterable[int]) -> None:
        """Send clients off until as many are under way as may be; nobody starts twice from the same model."""
        busy = {trip.client for trip in self.trips} | set(barred)
        free = [client for client in self._samples if client not in busy]
        count = min(self._at_once - len(self.trips), len(free))
        if count <= 0:
            return
        draw = seeds.generator(self._seed, "arrivals", round, len(self.trips), *sorted(busy))
        chosen = sorted(int(client) for client in draw.choice(free, count, replace=False))
        for client, payload in send(chosen).items():
            taken = self._delay(self._seed, client, round, self._samples[client])
            self.trips.append(Trip(client, round, self.clock + taken, payload))

    def state(self) -> dict[str, Any]:
        """What the checkpoint holds."""
        trips = [
            {"client": t.client, "sent": t.sent, "arrives": t.arrives, "model": t.payload.model,
             "extra": t.payload.extra, "numbers": t.payload.numbers}
            for t in self.trips
        ]  # fmt: skip
        return {"clock": self.clock, "trips": trips}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.clock = state["clock"]
        self.trips = [
            Trip(t["client"], t["sent"], t["arrives"], Payload(t["model"], t["extra"], t["numbers"]))
            for t in state["trips"]
        ]
