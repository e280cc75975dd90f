"""An engine whose clients are at places that messages go to and come back from."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from fedmeki_bench.data.clients.holding import Holding
from fedmeki_bench.errors import RunFailed
from fedmeki_bench.federation import wire
from fedmeki_bench.federation.engine import Engine, Opening, Send

if TYPE_CHECKING:
    from fedmeki_bench.federation.exchange import Work
    from fedmeki_bench.federation.payload import Update
    from fedmeki_bench.federation.portions import Told
    from fedmeki_bench.federation.questions import Question
    from fedmeki_bench.federation.seat import Seat
    from fedmeki_bench.models.flat import FlatTensors

Numbered = tuple[int, bytes]
"""A message or its reply, with the number that both have."""


class Remote(Engine):
    """Base of engines that send messages. Places are numbered from 0; a subclass says how messages get there.

    A message may arrive twice, because its reply was lost: places give the same reply again.

    Attributes:
        ahead: how many messages per place may be made, or answered, before their turn has come.
        batch: how many of them a place takes at once.

    Args:
        opening: what the engine was opened with.
    """

    ahead: ClassVar[int] = 2
    batch: ClassVar[int] = 1

    def __init__(self, opening: Opening) -> None:
        self._model, self._layouts = opening.model, opening.layouts
        self._clients = opening.clients

    @property
    def places(self) -> int:
        """How many there are."""
        raise NotImplementedError

    def place(self, client: int) -> int:
        """Where a client is."""
        raise NotImplementedError

    def hand(self, place: int, messages: Sequence[Numbered]) -> None:
        """Send messages to a place that has none to answer."""
        raise NotImplementedError

    def wait(self) -> list[Numbered]:
        """Replies that have come, once there are some.

        Raises:
            SiteLost: a place can't be reached any more.
        """
        raise NotImplementedError

    def exchange(self, seats: Sequence[Seat], send: Send, work: Work) -> Iterator[Update]:
        """See :class:`Engine`."""
        messages = ((self.place(s.client), self._asks("exchange", s, send(s.client), work=work)) for s in seats)
        for told in self._replies(messages):
            yield wire.update_from(told)

    def ask(self, seats: Sequence[Seat], send: Send, base: FlatTensors, question: Question) -> Iterator[Any]:
        """See :class:`Engine`. Of the global model goes along what the question needs and the client does not get."""
        needed = set(question.needs(self._model))

        def asked(seat: Seat) -> bytes:
            rest = base.restrict(needed - set(seat.units))
            return self._asks("ask", seat, send(seat.client), base=rest, question=question.told(seat.client))

        for told in self._replies((self.place(seat.client), asked(seat)) for seat in seats):
            yield told["answer"]

    def holdings(self, round: int) -> Told:
        """See :class:`Engine`."""
        message = wire.pack({"what": "hold", "round": round}, self._layouts)
        told = list(self._replies((place, message) for place in range(self.places)))
        return {
            int(client): {task: Holding.from_json(one) for task, one in held.items()}
            for reply in told
            for client, held in reply["held"].items()
        }

    def commit(self, round: int) -> None:
        """See :class:`Engine`: places keep what their clients hold."""
        self._tell_all({"what": "commit", "round": round})

    def rewind(self, round: int, kept: list[dict[str, Any] | None] | None) -> None:
        """See :class:`Engine`."""
        by_client = None if kept is None else {str(n): state for n, state in zip(self._clients, kept, strict=True)}
        self._tell_all({"what": "rewind", "round": round, "kept": by_client})

    def deliver(self, messages: Iterable[tuple[int, bytes]]) -> Iterator[bytes]:
        """Take (place, message) one by one, and give the replies in the same order.

        Few are under way at a time, so memory does not grow with the clients.
        """
        coming, replies = iter(messages), dict[int, bytes]()
        queues: list[deque[Numbered]] = [deque() for _ in range(self.places)]
        busy = [0] * self.places
        placed: dict[int, int] = {}
        taken = given = 0
        while True:
            while taken - given < self.ahead * self.places and (found := next(coming, None)) is not None:
                placed[taken] = found[0]
                queues[found[0]].append((taken, found[1]))
                taken += 1
            for place, queue in enumerate(queues):
                if queue and not busy[place]:
                    several = [queue.popleft() for _ in range(min(self.batch, len(queue)))]
                    busy[place] = len(several)
                    self.hand(place, several)
            if given in replies:
                yield replies.pop(given)
                given += 1
            elif given == taken:
                return
            else:
                for number, reply in self.wait():
                    replies[number] = reply
                    busy[placed.pop(number)] -= 1

    def _tell_all(self, told: dict[str, Any]) -> None:
        message = wire.pack(told, self._layouts)
        for _ in self._replies((place, message) for place in range(self.places)):
            pass

    def _asks(self, what: str, seat: Seat, payload: Any, **more: Any) -> bytes:
        told = {"what": what, "seat": wire.seat_to(seat), "payload": wire.payload_to(payload), **more}
        return wire.pack(told, self._layouts)

    def _replies(self, messages: Iterable[tuple[int, bytes]]) -> Iterator[dict[str, Any]]:
        for reply in self.deliver(messages):
            told: dict[str, Any] = wire.unpack(reply, self._layouts, self._model.device)
            if "failed" in told:
                raise RunFailed(told["failed"]["message"])
            yield told
