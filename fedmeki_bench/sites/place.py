"""One place with clients of a run: takes messages, lets its clients work, and keeps what they hold.

Every message may come twice, because a reply was lost or the server was restarted. So a client works on what it held
before the exchange that is asked for, whether that was a moment or two restarts ago.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedmeki_bench.errors import FedmekiError
from fedmeki_bench.federation import wire
from fedmeki_bench.federation.client import Client
from fedmeki_bench.federation.memories import Step, forget_after, forget_before, keep_memory, read_memories

if TYPE_CHECKING:
    from fedmeki_bench.federation.engine import Sequential
    from fedmeki_bench.federation.questions import Question

Questions = Callable[[Mapping[str, Any], int], "Question"]
"""A question as it was told, and the client it is put to -> the question about the samples that are here."""


class Place:
    """Clients of one run, all in this process.

    Args:
        engine: has the clients.
        folder: where their memories are kept.
        questions: makes the questions that are put to their own models.
    """

    def __init__(self, engine: Sequential, folder: Path, questions: Questions) -> None:
        self._engine, self._folder, self._questions = engine, folder, questions
        self._clients = {client.number: client for client in engine.clients}
        self._layouts = [model.values.layout for model in engine.distinct]
        self._after: dict[int, Step] = {}  # client -> the exchange after which it holds what it holds now
        self._does = {
            "exchange": self._exchange, "ask": self._ask, "commit": self._commit, "rewind": self._rewind,
            "hold": self._hold,
        }  # fmt: skip

    def handle(self, message: bytes) -> bytes:
        """Do what a message asks for; the reply says what came of it, or what went wrong."""
        try:
            asked = wire.unpack(message, self._layouts, self._engine.model.device)
            reply = self._does[asked["what"]](asked)
        except (Exception, SystemExit) as error:  # of a plug-in, too; the server makes a row of it
            return wire.pack({"failed": failed(error)})
        return wire.pack(reply, self._layouts)

    def _exchange(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        seat, received = wire.seat_from(asked["seat"]), wire.payload_from(asked["payload"])
        self._at(seat.client, seat.step)
        (update,) = self._engine.exchange([seat], lambda _: received, asked["work"])
        keep_memory(self._folder, self._clients[seat.client], seat.step)
        self._after[seat.client] = seat.step
        return wire.update_to(update)

    def _ask(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        seat, received = wire.seat_from(asked["seat"]), wire.payload_from(asked["payload"])
        self._at(seat.client, seat.step)
        question = self._questions(asked["question"], seat.client)
        (answer,) = self._engine.ask([seat], lambda _: received, asked["base"], question)
        return {"answer": answer}

    def _hold(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        found = self._engine.holdings(asked["round"])
        return {"held": {str(n): {task: one.to_json() for task, one in held.items()} for n, held in found.items()}}

    def _commit(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Rounds are safe at the server but for the last one: what came before that can't be asked for again."""
        forget_before(self._folder, self._clients, (asked["round"] - 1, 0))
        return {}

    def _rewind(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        kept = asked["kept"]  # by a run that began with all clients in the server's process
        forget_after(self._folder, self._clients, (asked["round"], 0) if kept is None else (0, 0))
        for number, client in self._clients.items() if kept is not None else ():
            if (state := kept[str(number)]) is None:  # it held nothing
                continue
            client.restore(state)
            keep_memory(self._folder, client, (asked["round"] - 1, 0))
        self._after.clear()
        return {}

    def _at(self, client: int, step: Step) -> None:
        """Have a client hold what it held before an exchange."""
        if client in self._after and self._after[client] < step:
            return
        found = read_memories(self._folder, (client,), step, self._layouts, self._engine.model.device)
        self._clients[client].restore(found.get(client, Client(client, {}).state()))
        self._after[client] = (-1, 0)


def failed(error: BaseException) -> dict[str, str]:
    """What is told of an exception; of one of ours the sentence, of any other where it was raised, too."""
    if isinstance(error, FedmekiError):
        return {"type": type(error).__name__, "message": str(error)}
    frame = traceback.extract_tb(error.__traceback__)[-1]
    message = f"{type(error).__name__}: {error} ({Path(frame.filename).name}, line {frame.lineno}, in {frame.name})"
    return {"type": type(error).__name__, "message": message}
