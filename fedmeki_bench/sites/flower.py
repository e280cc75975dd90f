"""Clients at hospital sites, reached through Flower: this process, a SuperLink beside it, a SuperNode at each site.

The run itself imports nothing of Flower. ``flwr run`` starts the relay of ``flower_app`` at the SuperLink, which
connects to a socket of this process; so Flower may live in an environment of its own.
"""

from __future__ import annotations

import contextlib
import json
import select
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from fedmeki_bench import __version__
from fedmeki_bench.data.cohort import find
from fedmeki_bench.errors import InputError, SiteLost, UsageError
from fedmeki_bench.federation.engine import Engine, Opening
from fedmeki_bench.runs.deal import read_deal
from fedmeki_bench.sites.evidence import contradiction
from fedmeki_bench.sites.flower_app.fedmeki_relay.frames import CutOff, pack, receive, send, unpack
from fedmeki_bench.sites.remote import Numbered, Remote

_APP = Path(__file__).with_name("flower_app")
_PAUSE = 1.0  # seconds before a message that did not get through is sent again


@dataclass
class _Site:
    """A site: its node in Flower, and what it has been sent and has not answered."""

    number: int
    node: int | None = None
    sent: int | None = None  # the number of its envelope
    numbers: tuple[int, ...] = ()  # of the messages in it
    envelope: bytes = b""
    reason: str = ""  # why it did not answer the last time, after a comma

    @property
    def away(self) -> bool:
        """Whether nothing is heard from it."""
        return self.node is None or bool(self.reason)


class Flower(Remote):
    """Clients at sites that Flower reaches; the data folder is the server's of ``site prepare``."""

    has_data = False
    ahead = 32
    batch = 64

    class Params(Engine.Params):
        """Its options."""

        superlink: str = Field("", description="connection in Flower's configuration; its default if not given")
        flwr: str = Field("flwr", description="Flower's command, which may be in another environment")
        patience: float = Field(600.0, gt=0, description="seconds to wait for a site that is away")

    @classmethod
    def check(cls, options: Mapping[str, Any]) -> None:
        """See :class:`Engine`."""
        _command(options["flwr"])

    @classmethod
    def open(cls, opening: Opening) -> Flower:
        """See :class:`Engine`."""
        if opening.spec.params["faults"].get("flip_labels"):
            raise InputError("faults.flip_labels turns labels where they lie, which are at the sites: leave it out")
        return cls(opening)

    def __init__(self, opening: Opening) -> None:
        super().__init__(opening)
        deal = read_deal(opening.data)
        assert deal is not None
        options = self.Params(**opening.options)
        self._key, self._spec, self._data, self._whole = opening.key, opening.spec, opening.data, deal.whole
        self._cards = {task: find(opening.data, task).card_hash for task in opening.spec.tasks}
        self._sites = [_Site(number) for number in range(deal.sites)]
        self._patience = options.patience
        self._count = 0
        self._asked: dict[int, int] = {}  # number of a hello -> node
        self._nodes: set[int] = set()
        self._away_since: float | None = None
        self._link = _Link(options)
        try:
            self._gather()
        except BaseException:
            self._link.close()
            raise

    @property
    def places(self) -> int:
        """See :class:`Remote`."""
        return len(self._sites)

    def place(self, client: int) -> int:
        """See :class:`Remote`."""
        return client % len(self._sites)

    def hand(self, place: int, messages: Sequence[Numbered]) -> None:
        """See :class:`Remote`."""
        site = self._sites[place]
        site.numbers = tuple(number for number, _ in messages)
        header = {"what": "messages", "run": self._key, "sizes": [len(message) for _, message in messages]}
        site.envelope = pack(header, b"".join(message for _, message in messages))
        self._send(site)

    def wait(self) -> list[Numbered]:
        """See :class:`Remote`. A site that was away is asked again when it is back, maybe as another node."""
        while True:
            header, body = self._heard()
            if header["what"] != "reply" or (site := self._sender(header["number"])) is None:
                continue
            told, replies = unpack(body)
            self._check(told)
            numbers, site.numbers, site.sent, site.envelope = site.numbers, (), None, b""
            found, start = [], 0
            for number, size in zip(numbers, told["sizes"], strict=True):
                found.append((number, replies[start : start + size]))
                start += size
            return found

    def close(self, *, done: bool) -> None:
        """See :class:`Engine`. A run that is done is forgotten at the sites, one that is not can go on."""
        with contextlib.suppress(SiteLost, CutOff, OSError):
            if done:
                self._tell_sites({"what": "forget", "run": self._key})
        self._link.close()

    def _gather(self) -> None:
        """Wait until every site is there, and begin the run at each."""
        while any(site.node is None for site in self._sites):
            self._heard()
        spec = json.dumps(asdict(self._spec)).encode()
        header = {"what": "begin", "run": self._key, "cards": self._cards, "package": __version__}
        told = self._tell_sites(header, spec)
        for task in self._cards.keys() & set(self._whole):
            if found := contradiction(find(self._data, task), [answer["evidence"][task] for answer in told]):
                raise InputError(
                    f"{found} on the card of {task} is not that of the sites' samples: deal the data again with "
                    "`fedmeki-bench site prepare`"
                )

    def _tell_sites(self, header: dict[str, Any], body: bytes = b"") -> list[dict[str, Any]]:
        """Something for the sites themselves, and their answers in order."""
        told: dict[int, dict[str, Any]] = {}
        for site in self._sites:
            site.envelope, site.numbers = pack(header, body), ()
            self._send(site)
        while len(told) < len(self._sites):
            heard, reply = self._heard()
            if heard["what"] == "reply" and (answering := self._sender(heard["number"])) is not None:
                told[answering.number] = unpack(reply)[0]
                self._check(told[answering.number])
                answering.sent, answering.envelope = None, b""
        return [told[site.number] for site in self._sites]

    def _check(self, told: dict[str, Any]) -> None:
        if "refused" in told:
            raise InputError(told["refused"])

    def _send(self, site: _Site) -> None:
        """Send a site what it has to answer; later, if it is away."""
        self._count += 1
        site.sent = self._count
        if site.node is not None:
            self._link.push(site.node, self._count, site.envelope)

    def _heard(self) -> tuple[dict[str, Any], bytes]:
        """The next thing the relay says, after what it means for who is there was taken in."""
        away = [site for site in self._sites if site.away]
        if away and self._away_since is None:
            self._away_since = time.monotonic()
        elif not away:
            self._away_since = None
        header, body = self._link.heard(self._left(away))
        if header["what"] == "nodes":
            self._see(set(header["nodes"]))
        elif header["what"] == "reply" and (site := self._sender(header["number"])) is not None:
            site.reason = ""
        elif header["what"] == "reply" and header["number"] in self._asked:
            self._met(self._asked.pop(header["number"]), unpack(body)[0])
        elif header["what"] == "failed":
            self._failed(header["number"], str(header["reason"]))
        if away and self._left(away) <= 0:
            raise SiteLost(
                f"site {away[0].number} did not answer within {self._patience:.0f} s{away[0].reason}: start its node "
                "and `site serve`, and run again to go on"
            )
        return header, body

    def _left(self, away: Sequence[_Site]) -> float:
        if not away or self._away_since is None:
            return self._patience
        return max(0.0, self._away_since + self._patience - time.monotonic())

    def _see(self, nodes: set[int]) -> None:
        """Nodes came or went: who is new is asked which site it is."""
        for site in self._sites:
            if site.node is not None and site.node not in nodes:
                site.node = None
        for node in nodes - self._nodes:
            self._greet(node)
        self._nodes = nodes

    def _greet(self, node: int) -> None:
        """Ask a node which site it is."""
        self._count += 1
        self._asked[self._count] = node
        self._link.push(node, self._count, pack({"what": "hello"}))

    def _met(self, node: int, told: dict[str, Any]) -> None:
        """A node said which site it is."""
        number = told.get("site")
        if told.get("sites") != len(self._sites) or not isinstance(number, int) or not 0 <= number < len(self._sites):
            who = f"site {number} of {told.get('sites')}" if "site" in told else told.get("refused", "no site")
            raise InputError(f"a node says that it is {who}, the data is dealt over {len(self._sites)}")
        site = self._sites[number]
        site.node = node  # who came last: Flower goes on listing one that was killed for a while
        if site.sent is not None:
            self._send(site)

    def _failed(self, number: int, reason: str) -> None:
        """A message did not get through: whom it was for is asked again."""
        node, site = self._asked.pop(number, None), self._sender(number)
        if node is None and site is None:  # an answer to it is no longer waited for
            return
        time.sleep(_PAUSE)
        if node in self._nodes:
            self._greet(node)
        if site is not None:
            site.reason = f", {reason}"
            self._send(site)

    def _sender(self, number: int) -> _Site | None:
        """The site that has this envelope to answer."""
        return next((site for site in self._sites if site.sent == number), None)


def _command(name: str) -> str:
    """The path of Flower's command.

    Raises:
        UsageError: it is not there.
    """
    if (found := shutil.which(name)) is None:
        raise UsageError(
            f"Flower's command {name!r} is not there: install it with `pip install flwr`, best in an environment of "
            "its own, and name it with -e flwr=PATH"
        )
    return found


class _Link:
    """The relay at the SuperLink: started by ``flwr run``, spoken to at a socket."""

    def __init__(self, options: Flower.Params) -> None:
        command = _command(options.flwr)
        self._folder = Path(tempfile.mkdtemp(prefix="fedmeki-"))
        self._socket: socket.socket | None = None
        try:
            self._socket = self._connected(command, options)
        except BaseException:
            self.close()
            raise

    def _connected(self, command: str, options: Flower.Params) -> socket.socket:
        path, app = self._folder / "run.sock", self._folder / "app"
        shutil.copytree(_APP, app, ignore=shutil.ignore_patterns("__pycache__"))
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(str(path))
            path.chmod(0o600)
            listener.listen(1)
            listener.settimeout(options.patience)
            arguments = [command, "run", str(app), *([options.superlink] if options.superlink else [])]
            ended = subprocess.run(
                [*arguments, "--run-config", f'socket="{path}"'], capture_output=True, text=True, check=False
            )
            if ended.returncode:
                said = (ended.stderr or ended.stdout).strip().splitlines() or [f"exit code {ended.returncode}"]
                raise InputError(
                    f"Flower did not take the run: {said[-1] if said else f'exit code {ended.returncode}'}"
                )
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                raise SiteLost(
                    f"the SuperLink did not start the relay in {options.patience:.0f} s: it must run on this machine"
                ) from None
        return connection

    def push(self, node: int, number: int, envelope: bytes) -> None:
        """Send an envelope to a node."""
        self._said(pack({"node": node, "number": number}, envelope))

    def heard(self, seconds: float) -> tuple[dict[str, Any], bytes]:
        """The next thing that the relay says; ``nothing`` if it says nothing for so long."""
        assert self._socket is not None
        if not select.select([self._socket], [], [], seconds)[0]:
            return {"what": "nothing"}, b""
        try:
            return unpack(receive(self._socket))
        except (CutOff, OSError) as error:
            raise SiteLost(f"the relay at the SuperLink is gone ({error}); run again to go on") from None

    def _said(self, message: bytes) -> None:
        assert self._socket is not None
        try:
            send(self._socket, message)
        except OSError as error:
            raise SiteLost(f"the relay at the SuperLink is gone ({error}); run again to go on") from None

    def close(self) -> None:
        """End the relay, which ends Flower's run."""
        if self._socket is not None:
            self._socket.close()
        shutil.rmtree(self._folder, ignore_errors=True)
