"""An engine whose clients are at places that messages go to and come back from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from fedmeki_bench.errors import RunFailed
from fedmeki_bench.federation import wire
from fedmeki_bench.federation.engine import Engine, Opening, Send

if TYPE_CHECKING:
    from fedmeki_bench.federation.exchange import Work
    from fedmeki_bench.federation.payload import Update
    from fedmeki_bench.federation.questions import Question
    from fedmeki_bench.federation.seat import Seat
    from fedmeki_bench.models.flat import FlatTensors


class Remote(Engine):
    """Base of engines that send messages; a subclass says how they are delivered.

    Args:
        opening: what the engine was opened with.
    """

    def __init__(self, opening: Opening) -> None:
        self._model, self._layouts = opening.model, opening.layouts
        self._clients = opening.clients

    def deliver(self, messages: Iterable[tuple[int, bytes]]) -> Iterator[bytes]:
        """Take (client, message) one by one to where the client is, and give the replies in the same order.

        A message may arrive twice: places give the same reply.

        Raises:
            SiteLost: a place can't be reached any more.
        """
        raise NotImplementedError

    def places(self) -> list[int]:
        """One client of each place, in whose name the place itself is addressed."""
        raise NotImplementedError

    def exchange(self, seats: Sequence[Seat], send: Send, work: Work) -> Iterator[Update]:
        """See :class:`Engine`."""
        for told in self._replies(
            (seat.client, self._asks("exchange", seat, send(seat.client), work=work)) for seat in seats
        ):
            yield wire.update_from(told)

    def ask(self, seats: Sequence[Seat], send: Send, base: FlatTensors, question: Question) -> Iterator[Any]:
        """See :class:`Engine`. Of the global model goes along what the question needs and the client does not get."""
        needed = set(question.needs(self._model))

        def asked(seat: Seat) -> bytes:
            rest = base.restrict(needed - set(seat.units))
            return self._asks("ask", seat, send(seat.client), base=rest, question=question.told(seat.client))

        for told in self._replies((seat.client, asked(seat)) for seat in seats):
            yield told["answer"]

    def commit(self, round: int) -> None:
        """See :class:`Engine`: places keep what their clients hold."""
        self._tell_all({"what": "commit", "round": round})

    def rewind(self, round: int, kept: list[dict[str, Any]] | None) -> None:
        """See :class:`Engine`."""
        by_client = None if kept is None else {str(n): state for n, state in zip(self._clients, kept, strict=True)}
        self._tell_all({"what": "rewind", "round": round, "kept": by_client})

    def _tell_all(self, told: dict[str, Any]) -> None:
        message = wire.pack(told, self._layouts)
        for _ in self._replies((client, message) for client in self.places()):
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
