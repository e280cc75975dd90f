"""Who runs a key: a lease file in the run's folder, renewed while its holder lives.

On the holder's own machine its process says whether it lives, so a killed one is followed at once. On other machines,
which see but the shared folder, its heartbeat does: a counter that the holder raises every ``beat`` seconds. An
observer gives a holder up only after it has watched the counter stand still, by its *own* monotonic clock. Times of
files decide one thing alone, whether to begin watching at all: the lease's age is taken from a file written beside it
this moment, so that on a file system whose server stamps files (NFS) both times come from one clock. Where machines
stamp files themselves, a clock that runs ahead costs an observer the time of watching in vain, and one that runs behind
makes it wait longer; neither takes anything from a holder that lives.

A lease appears whole (``link``), is taken away by a rename, of which one process can be the winner, and is renewed
through the holder's own open file, so that a late heartbeat can't land in the lease of a successor. Before it writes
anything that counts, a holder looks whether the lease is still its own. A lock of the system (``filelock``) makes a
change of hands one step among processes that it reaches; it is held for that moment alone, and where it can't be had
(left by a machine that died, or unknown to the file system) things go on without it.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from uuid import uuid4

from fedmeki_bench.errors import RunFailed
from fedmeki_bench.processes import began, job_id

LEASE, GUARD = "lease", "lock"
"""The lease in a run's folder, and what is locked while it changes hands."""

_LONGEST = 4096  # bytes of a lease
_GUARDED = 10.0  # seconds that a change of hands may take


class KeyLocked(RunFailed):
    """Another process is running this key."""


class LeaseLost(RunFailed):
    """Another process took a run over, because this one could not be heard of."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How a lease keeps time, in seconds.

    Attributes:
        beat: between two heartbeats.
        patience: how old the last heartbeat must be before anybody doubts the holder.
        watch: how long a doubted holder is watched before it is given up.
    """

    beat: float = 20.0
    patience: float = 120.0
    watch: float = 60.0


PACE = Pace()


@dataclass(frozen=True, slots=True)
class Owner:
    """A process that holds a lease.

    Attributes:
        machine: tells machines and containers apart that have one host name, and a machine from itself before a reboot.
        began: when the process began, as the system counts it, so that its number can't be mistaken for a later one's.
        job: its job on a cluster, empty elsewhere.
    """

    host: str
    pid: int
    machine: str
    began: str
    token: str
    job: str = ""

    @property
    def here(self) -> bool:
        """Whether it runs, or ran, where its number can be looked up."""
        return self.machine == machine()

    @property
    def alive(self) -> bool:
        """Whether its process is there; only asked :attr:`here`."""
        now = began(self.pid)
        return now is not None and now == self.began

    def __str__(self) -> str:
        job = f" (job {self.job})" if self.job else ""
        return f"process {self.pid} on {self.host}{job}"


@dataclass(frozen=True, slots=True)
class Seen:
    """A lease as it lies in a folder.

    Attributes:
        owner: None where its content can't be understood.
        content: its bytes, which change with every heartbeat.
        written: when it last changed, by the clock that stamps its file system's files.
    """

    owner: Owner | None
    content: bytes
    written: float

    @property
    def name(self) -> str:
        """Its holder in words."""
        return str(self.owner) if self.owner else "another process"

    @property
    def known_dead(self) -> bool:
        """Whether its process was one of this machine and is gone."""
        return self.owner is not None and self.owner.here and not self.owner.alive

    @property
    def known_alive(self) -> bool:
        """Whether its process is one of this machine and there."""
        return self.owner is not None and self.owner.here and self.owner.alive

    def ran_out(self, patience: float, now: float | None = None) -> bool:
        """Whether nothing has been heard of its holder for so long that another may take its place."""
        age = (time.time() if now is None else now) - self.written
        return self.known_dead or (age >= patience and not self.known_alive)


@cache
def machine() -> str:
    """What tells this machine, since it was started, from all others that see the same folder."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(parts)


def look_at(folder: Path) -> Seen | None:
    """The lease of a run's folder; None where there is none. Nothing is written.

    Raises:
        OSError: it is not ours to read, or a link.
    """
    return _read(folder / LEASE)


class Lease:
    """A run that this process holds; made by :func:`acquire`."""

    def __init__(self, path: Path, handle: int, owner: Owner, pace: Pace) -> None:
        self._path, self._handle, self._owner, self._pace = path, handle, owner, pace
        self._beats, self._taken = 0, False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name=f"lease of {path.parent.name}", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Go on only if the run is still this process's.

        Raises:
            LeaseLost: another has taken it over.
        """
        if self._taken or not self._stands():
            self._taken = True
            with contextlib.suppress(OSError):
                if (seen := _read(self._path)) is not None:
                    raise LeaseLost(self._lost(f"{seen.name} has it now"))
            raise LeaseLost(self._lost("its lease is gone"))

    def release(self) -> None:
        """Let others have the run."""
        self._ended.set()
        self._thread.join(timeout=self._pace.beat)  # it may hang where the folder is cut off
        try:
            with _guarded(self._path.parent):
                if not self._taken and self._stands():
                    _withdraw(self._path, self._owner.token, self._owner)
        finally:
            os.close(self._handle)

    def _keep(self) -> None:
        while not self._ended.wait(self._pace.beat):
            if not self._stands():
                self._taken = True
                return
            self._beats += 1
            with contextlib.suppress(OSError):  # a full disk or a cut cable makes a heartbeat late, and no more
                os.pwrite(self._handle, _content(self._owner, self._beats), 0)
                os.fsync(self._handle)

    def _stands(self) -> bool:
        """Whether the file at its place is the one this process opened.

        It is opened, not only looked up: that is when a network file system asks its server. One that is gone is
        looked for again, since an observer that was late may have moved it and be about to put it back.
        """
        deadline = time.monotonic() + 1.0
        while True:
            try:
                handle = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW)
            except OSError:
                if time.monotonic() > deadline or not self._path.parent.exists():
                    return False
                time.sleep(0.05)
                continue
            try:
                return os.path.samestat(os.fstat(handle), os.fstat(self._handle))
            except OSError:
                return False
            finally:
                os.close(handle)

    def _lost(self, how: str) -> str:
        return (
            f"{self._path.parent.name}: this process was not heard of for so long (suspended, or cut off from the "
            f"folder) that its run was taken from it: {how}; it left no record"
        )


def acquire(folder: Path, pace: Pace = PACE) -> Lease:
    """Take the lease of a run's folder; where its holder lives elsewhere and is silent, after watching it.

    Raises:
        KeyLocked: another process holds it.
        OSError: the folder can't be written to.
    """
    owner = Owner(socket.gethostname(), os.getpid(), machine(), began(os.getpid()) or "", uuid4().hex, job_id())
    path, own = folder / LEASE, folder / _name(owner, "tmp")
    handle = os.open(own, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        os.pwrite(handle, _content(owner, 0), 0)
        os.fsync(handle)
        found = _read(path)
        if found is not None and not _given_up(path, found, os.fstat(handle).st_mtime, pace):
            raise _held(folder, found)
        with _guarded(folder):
            if found is not None and not _withdraw(path, _token(found), owner):
                raise _held(folder, _read(path))
            try:
                _link(own, path)
            except FileExistsError:
                raise _held(folder, _read(path)) from None
            except FileNotFoundError:  # whoever was first has cleared the folder
                raise _held(folder, _read(path)) from None
        return Lease(path, handle, owner, pace)
    except BaseException:
        os.close(handle)
        raise
    finally:
        own.unlink(missing_ok=True)


def _held(folder: Path, found: Seen | None) -> KeyLocked:
    return KeyLocked(f"{folder.name}: already being run by {found.name if found else 'another process'}")


def _given_up(path: Path, found: Seen, now: float, pace: Pace) -> bool:
    """Whether a holder may be followed: its process is gone, or its heartbeat stands still while it is watched.

    Args:
        now: the time by which the lease's file system stamps its files.
    """
    if found.known_dead:
        return True
    if found.known_alive:
        return False
    age = now - found.written
    if -pace.patience < age < pace.patience:
        return False
    end = time.monotonic() + (pace.watch if age > 0 else pace.patience)  # stamped in the future: times say nothing
    while time.monotonic() < end:
        time.sleep(min(1.0, pace.watch / 20))
        seen = _read(path)
        if seen is None or seen.content != found.content:
            return seen is None
    return True


def _withdraw(path: Path, token: str, owner: Owner) -> bool:
    """Take the lease of that token from its place; False if another's lay there, which is put back."""
    aside = path.with_name(_name(owner, "partial"))
    try:
        path.rename(aside)
    except FileNotFoundError:  # given back meanwhile
        return True
    try:
        moved = _read(aside)
        if moved is None or _token(moved) == token:
            return True
        with contextlib.suppress(OSError):
            _link(aside, path)
        return False
    finally:
        aside.unlink(missing_ok=True)


@contextlib.contextmanager
def _guarded(folder: Path) -> Iterator[None]:
    """Be the only process of this machine, and of those that share its locks, in which the lease changes hands."""
    import filelock

    guard = filelock.FileLock(folder / GUARD, timeout=_GUARDED)
    with contextlib.suppress(filelock.Timeout, NotImplementedError, OSError):
        guard.acquire()
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            (folder / GUARD).unlink(missing_ok=True)  # while it is held: whoever waits for it sees that and opens anew
        guard.release()


def _link(source: Path, target: Path) -> None:
    """Give a file a second name, unless something has it.

    Raises:
        FileExistsError: something has.
    """
    try:
        os.link(source, target)
    except (FileExistsError, FileNotFoundError):
        raise
    except OSError:  # a file system without hard links
        if os.path.lexists(target):
            raise FileExistsError(str(target)) from None
        source.rename(target)


def _read(path: Path) -> Seen | None:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    try:
        content, written = os.pread(handle, _LONGEST, 0), os.fstat(handle).st_mtime
    finally:
        os.close(handle)
    return Seen(_owner(content), content, written)


def _content(owner: Owner, beats: int) -> bytes:
    return json.dumps({**asdict(owner), "beats": f"{beats:012}"}).encode()  # always as long, so written in place


def _owner(content: bytes) -> Owner | None:
    try:
        said = json.loads(content)
        return Owner(
            str(said["host"])[:200], int(said["pid"]), str(said["machine"]), str(said["began"]), str(said["token"]),
            str(said.get("job", ""))[:100],
        )  # fmt: skip
    except (ValueError, KeyError, TypeError):
        return None


def _token(seen: Seen) -> str:
    """What tells one lease from the next."""
    return seen.owner.token if seen.owner else seen.content.decode("utf-8", "replace")


def _name(owner: Owner, suffix: str) -> str:
    """A name that :func:`~fedmeki_bench.files.clear_leftovers` knows as a dead process's."""
    return f".{LEASE}-{owner.token[:8]}.{owner.pid}.{suffix}"
