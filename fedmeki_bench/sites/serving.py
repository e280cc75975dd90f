"""``site serve``: a resident process at a hospital, which has the samples of its clients and keeps what they hold.

It listens at a Unix socket, so nobody but this machine reaches it, and runs nothing but installed plug-ins.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fedmeki_bench import __version__, algorithms, registry
from fedmeki_bench.data.cohort import find
from fedmeki_bench.errors import FedmekiError, InputError, RunFailed
from fedmeki_bench.files import write_atomically
from fedmeki_bench.records.store import is_key
from fedmeki_bench.runs.deal import SITE, read_deal
from fedmeki_bench.runs.plugins import plugin_versions
from fedmeki_bench.runs.spec import RunSpec
from fedmeki_bench.sites.building import place_of
from fedmeki_bench.sites.evidence import evidence_of
from fedmeki_bench.sites.flower_app.fedmeki_relay.frames import CutOff, pack, receive, send, unpack
from fedmeki_bench.sites.place import Place

_SPEC = "run.json"
_PATIENCE = 60.0  # seconds for a message that has begun to come
_LONGEST_SOCKET = 100  # characters of its path; the system's limit is a little above


class Serving:
    """One site: answers messages about any run that its folder was dealt for.

    Args:
        data: the site's folder.
        memory: the folder of what clients hold, with a folder of each run.
        device: where models live.
        tell: takes a line for each thing done.

    Raises:
        InputError: the folder is not a site's.
    """

    def __init__(
        self, data: Path, memory: Path, *, device: str = "cpu", tell: Callable[[str], None] = lambda line: None
    ) -> None:
        deal = read_deal(data)
        if deal is None or deal.site is None:
            raise InputError(f"{data} is not a site's folder, it has no {SITE}: `fedmeki-bench site prepare` makes it")
        self._deal, self._data, self._memory, self._device, self._tell = deal, data, memory, device, tell
        self._places: dict[str, Place] = {}
        self._does = {
            "hello": self._hello, "begin": self._begin, "messages": self._messages, "forget": self._forget
        }  # fmt: skip

    def forever(self, path: Path) -> None:
        """Answer at a socket until the process is ended.

        Raises:
            InputError: another process answers there, or the socket can't be made.
        """
        with _listening(path) as listener:
            self._tell(f"site {self._deal.site} of {self._deal.sites} serves clients {self._named()} at {path}")
            try:
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        connection.settimeout(_PATIENCE)
                        try:
                            asked = receive(connection)
                            connection.settimeout(None)
                            send(connection, self.handle(asked))
                        except (CutOff, OSError) as error:
                            self._tell(f"a message was cut off ({error}); it will be sent again")
            finally:
                path.unlink(missing_ok=True)

    def handle(self, message: bytes) -> bytes:
        """The reply to one message."""
        try:
            header, body = unpack(message)
            return self._does[str(header["what"])](header, body)
        except (FedmekiError, ValueError, KeyError, TypeError) as error:
            said = str(error) if isinstance(error, FedmekiError) else f"{type(error).__name__}: {error}"
            self._tell(f"refused: {said}")
            return pack({"refused": f"site {self._deal.site}: {said}"})

    def _hello(self, header: Mapping[str, Any], body: bytes) -> bytes:
        return pack({"site": self._deal.site, "sites": self._deal.sites, "clients": list(self._deal.clients)})

    def _begin(self, header: Mapping[str, Any], body: bytes) -> bytes:
        """A run begins, or goes on after a restart."""
        spec, key = _spec(json.loads(body)), _key(header)
        self._check(spec, header)
        folder = self._memory / key
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / _SPEC, json.dumps(asdict(spec)).encode())
        self._places.clear()  # one run at a time has its models in memory
        self._places[key] = self._made(key, spec)
        self._tell(f"run {key}: {spec.algorithm} on {', '.join(spec.tasks)}")
        return pack({"evidence": {task: evidence_of(find(self._data, task)) for task in spec.tasks}})

    def _messages(self, header: Mapping[str, Any], body: bytes) -> bytes:
        key = _key(header)
        if key not in self._places:  # this process was restarted
            try:
                spec = _spec(json.loads((self._memory / key / _SPEC).read_bytes()))
            except OSError:
                raise RunFailed(f"run {key} was not begun here") from None
            self._places.clear()
            self._places[key] = self._made(key, spec)
            self._tell(f"run {key}: going on")
        replies, start = [], 0
        for size in header["sizes"]:
            replies.append(self._places[key].handle(body[start : start + size]))
            start += size
        self._tell(f"run {key}: {len(replies)} messages, {len(body):,} bytes in, {sum(map(len, replies)):,} out")
        return pack({"sizes": [len(reply) for reply in replies]}, b"".join(replies))

    def _forget(self, header: Mapping[str, Any], body: bytes) -> bytes:
        key = _key(header)
        self._places.pop(key, None)
        shutil.rmtree(self._memory / key, ignore_errors=True)
        self._tell(f"run {key}: over, what clients held is removed")
        return pack({})

    def _made(self, key: str, spec: RunSpec) -> Place:
        return place_of(spec, self._data, self._deal.clients, device=self._device, folder=self._memory / key)

    def _check(self, spec: RunSpec, header: Mapping[str, Any]) -> None:
        """Refuse a run that this site can't take part in to the same bits.

        Raises:
            InputError: says why.
        """
        self._deal.of(spec, self._data)
        for task in spec.tasks:
            if len({header["cards"].get(task), self._deal.cards.get(task), find(self._data, task).card_hash}) > 1:
                raise InputError(f"the cohort of {task} here is another one than the server's: deal the data again")
        named = [spec.rule, spec.stage, spec.partition, *spec.params["profile"].get("client_encoders", ())]
        named += [choice["name"] for choice in spec.params["profile"]["encoders"].values()]
        if files := [name for name in named if ".py:" in name]:
            raise InputError(f"{files[0]} is a file, which sites don't run: install it as a plug-in everywhere")
        algorithm = algorithms.resolve(spec.algorithm)
        modalities = {m for task in spec.tasks for m in registry.load("tasks", task).meta.arrays}
        here = {
            "rule": registry.load("rules", spec.rule).version,
            "stage": registry.load("stages", spec.stage).version,
            "tasks": {task: registry.load("tasks", task).meta.version for task in spec.tasks},
            **plugin_versions(algorithm, spec.partition, spec.params, modalities, (*spec.tasks, *spec.zero_shot)),
        }
        for what, version in here.items():
            if spec.versions.get(what) != version:
                raise InputError(
                    f"fedmeki-bench {__version__} has {what} of version {version}, the server's {header['package']} "
                    f"{spec.versions.get(what)}: install the same everywhere"
                )

    def _named(self) -> str:
        return ", ".join(map(str, self._deal.clients))


def _spec(told: Mapping[str, Any]) -> RunSpec:
    """The specification as it was sent."""
    listed = {name: tuple(told[name]) for name in ("tasks", "zero_shot", "unsaid")}
    return RunSpec(**{**told, **listed})


def _key(header: Mapping[str, Any]) -> str:
    key = str(header["run"])
    if not is_key(key):
        raise InputError(f"{key!r} is no name of a run")
    return key


def _listening(path: Path) -> socket.socket:
    """A Unix socket that this user alone can reach.

    Raises:
        InputError: somebody answers there, or it can't be made.
    """
    if len(os.fsencode(path.absolute())) > _LONGEST_SOCKET:
        raise InputError(f"the path of the socket {path} is too long: {_LONGEST_SOCKET} bytes are possible")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(str(path))
            except OSError:
                path.unlink(missing_ok=True)  # of a process that was killed
            else:
                raise InputError(f"another process serves at {path}")
        before = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(before)
        listener.listen(64)
    except OSError as error:
        listener.close()
        raise InputError(f"the socket {path} can't be made: {error.strerror}") from None
    except InputError:
        listener.close()
        raise
    return listener
