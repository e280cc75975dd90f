"""Clients in several processes of this machine, one per core or device; each stays and keeps its clients."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from pydantic import Field

from fedmeki_bench.errors import SiteLost
from fedmeki_bench.federation import wire
from fedmeki_bench.federation.engine import Engine, Opening
from fedmeki_bench.federation.memories import FOLDER
from fedmeki_bench.processes import end_with_parent, keep_pages, worker_context
from fedmeki_bench.sites.remote import Numbered, Remote

_PATIENCE = 10.0  # seconds that a process has to leave
_STARTS = 4  # of one process in a run, the first included


class Processes(Remote):
    """Clients in resident processes of this machine; client k is in process k modulo their number."""

    class Params(Engine.Params):
        """Its options."""

        workers: int = Field(0, ge=0, description="processes; 0 is one per device, or per core where there is none")

    @classmethod
    def open(cls, opening: Opening) -> Processes:
        """See :class:`Engine`."""
        return cls(opening)

    def __init__(self, opening: Opening) -> None:
        super().__init__(opening)
        self._temporary = None if opening.folder else Path(tempfile.mkdtemp(prefix="fedmeki-clients-"))
        folder = self._temporary or Path(str(opening.folder)) / FOLDER
        threads = opening.spec.resolved_profile().threads or 1
        cores = max(1, (os.cpu_count() or 1) // threads)
        devices = opening.devices
        wanted = int(opening.options.get("workers", 0)) or (cores if devices == ("cpu",) else len(devices))
        count = max(1, min(wanted, len(opening.clients)))
        self.workers = [
            _Worker(
                opening.spec, opening.data, tuple(c for c in opening.clients if c % count == n),
                devices[n % len(devices)], folder,
            )
            for n in range(count)
        ]  # fmt: skip

    @property
    def places(self) -> int:
        """See :class:`Remote`."""
        return len(self.workers)

    def place(self, client: int) -> int:
        """See :class:`Remote`."""
        return client % len(self.workers)

    def hand(self, place: int, messages: Sequence[Numbered]) -> None:
        """See :class:`Remote`."""
        (message,) = messages
        self.workers[place].begin(*message)

    def wait(self) -> list[Numbered]:
        """See :class:`Remote`."""
        busy = [worker for worker in self.workers if worker.under_way is not None]
        ready = wait([worker.connection for worker in busy])
        ended = [worker.end() for worker in busy if worker.connection in ready]
        return [(number, reply) for number, reply in ended if reply is not None]

    def close(self, *, done: bool) -> None:
        """See :class:`Engine`."""
        for worker in self.workers:
            worker.leave()
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)


class _Worker:
    """A process with some of the clients. One that dies is started again, and does again what it was doing."""

    def __init__(self, spec: Any, data: Path, clients: tuple[int, ...], device: str, folder: Path) -> None:
        self.clients = clients
        self.under_way: tuple[int, bytes] | None = None
        self._what = (spec, data, clients, device, folder)
        self._starts = 0
        self._start()

    def _start(self) -> None:
        context: Any = worker_context()
        self._starts += 1
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, *self._what), daemon=True)
        self.process.start()
        theirs.close()  # so that the process's death is the end of the pipe

    def begin(self, number: int, message: bytes) -> None:
        """Hand a message over."""
        self.under_way = (number, message)
        try:
            self.connection.send_bytes(message)
        except OSError:
            self._again()

    def end(self) -> tuple[int, bytes | None]:
        """The number of the message that was answered, and the reply; no reply if it had to be asked for again.

        Raises:
            SiteLost: the process died time and again.
        """
        assert self.under_way is not None
        number = self.under_way[0]
        try:
            reply = self.connection.recv_bytes()
        except (EOFError, OSError):
            self._again()
            return number, None
        self.under_way = None
        return number, reply

    def _again(self) -> None:
        assert self.under_way is not None
        self.process.join()
        self.connection.close()
        if self._starts == _STARTS:
            code = self.process.exitcode or 0
            how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            raise SiteLost(
                f"the process of client {self.clients[0]} ended {_STARTS} times ({how}; out of memory?); run again to "
                "go on, with fewer workers if memory is short"
            )
        self._start()
        self.begin(*self.under_way)

    def leave(self) -> None:
        """Let it end; one that does not is killed."""
        self.connection.close()
        if self.under_way is not None:  # nobody waits for what it is doing
            self.process.terminate()
        self.process.join(_PATIENCE)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def _serve(connection: Connection, spec: Any, data: Path, clients: tuple[int, ...], device: str, folder: Path) -> None:
    """What a process does: a message in, a reply out, until the pipe ends."""
    from fedmeki_bench.sites.building import place_of
    from fedmeki_bench.sites.place import failed

    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the command ends us in order
    keep_pages()
    place, wrong = None, b""
    try:
        place = place_of(spec, data, clients, device=device, folder=folder)
    except (Exception, SystemExit) as error:
        wrong = wire.pack({"failed": failed(error)})
    while True:
        try:
            message = connection.recv_bytes()
            connection.send_bytes(place.handle(message) if place is not None else wrong)
        except (EOFError, OSError):
            return
