"""The folder of records: ``RESULTS/<key>/record.json``, written last and atomically.

So a folder without a record is a run under way or killed, and a record is always whole.
"""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fedmeki_bench.bounded import regular_text
from fedmeki_bench.errors import InputError, RunFailed
from fedmeki_bench.files import clear_leftovers, write_atomically
from fedmeki_bench.plain import one_line
from fedmeki_bench.records.record import Record

_LARGEST = 50_000_000  # bytes; a record of a hundred clients and a thousand rounds has a hundredth of it
_LONGEST = 300  # characters of a reason
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def is_key(name: str) -> bool:
    """Whether a run can be called so, and its folder."""
    return _KEY.fullmatch(name) is not None


class KeyLocked(RunFailed):
    """Another process is running this key."""


@dataclass(frozen=True, slots=True)
class BadRecord:
    """A record that cannot be read; shown with its reason. ``setting`` is known if that much was readable."""

    path: Path
    reason: str
    setting: str | None = None

    @property
    def name(self) -> str:
        """Its folder and file, fit to be shown."""
        return one_line(f"{self.path.parent.name}/{self.path.name}")


class RecordStore:
    """The records below ``root``; the folder need not exist yet."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)

    def folder(self, key: str) -> Path:
        """Where the run ``key`` keeps its record, predictions and checkpoint."""
        if not is_key(key):
            raise InputError(f"{key!r} is not a run key: it would leave {self.root}")
        return self.root / key

    def path(self, key: str) -> Path:
        """Where the record of ``key`` is, or will be."""
        return self.folder(key) / "record.json"

    def load(self, key: str) -> Record | None:
        """The record of ``key``; None if the run has not ended.

        Raises:
            InputError: it exists and cannot be read.
        """
        path = self.path(key)
        return read_record(path) if path.exists() else None

    def write(self, record: Record) -> Path:
        """Replace the record of its key atomically: after a power cut there is the old one or the new one."""
        path = self.path(record.key)
        write_atomically(path, record.to_json().encode("utf-8", "backslashreplace"))
        return path

    def all(self) -> Iterator[Record | BadRecord]:
        """Every record in order of keys, unreadable ones as :class:`BadRecord`."""
        if not self.root.is_dir():
            return
        folders = (
            folder for folder in self.root.iterdir() if not folder.name.startswith(".")
        )  # those of killed writes
        for path in sorted(folder / "record.json" for folder in folders):
            if not os.path.lexists(path):  # a link to nowhere is a record that is lost
                continue
            try:
                record = read_record(path)
            except InputError as error:
                reason = one_line(str(error).removeprefix(f"{path}: "))
                yield BadRecord(path, reason[:_LONGEST], _readable_setting(path))
                continue
            if record.key != path.parent.name:
                reason = f"says its key is {record.key!r} but lies in folder {path.parent.name!r}"
                yield BadRecord(path, reason, record.setting)
            else:
                yield record

    def holder(self, key: str) -> str:
        """Who runs ``key`` now, e.g. ``process 12 on host``; empty if nobody does. Nothing is written."""
        import fcntl

        try:
            handle = os.open(self.folder(key) / "lock", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            return ""
        except OSError as error:  # not ours to read, or a link
            return f"an unknown process (its lock can't be read: {error.strerror})"
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _owner(handle) or "another process"
        except OSError as error:
            return f"an unknown process (its file system knows no locks: {error.strerror})"
        finally:
            os.close(handle)
        return ""

    @contextmanager
    def lock(self, key: str) -> Iterator[None]:
        """Hold ``key`` for this process, so that no other runs it at the same time.

        The operating system drops the lock when the process dies, wherever it ran: on a shared file system its server
        keeps the locks. So a leftover lock file never stands in the way. Whoever holds the lock also clears away what
        killed processes left in the folder.

        Raises:
            KeyLocked: another process holds it; the message says which.
            RunFailed: the folder can't be written to, or its file system knows no locks.
        """
        folder = self.folder(key)
        path = folder / "lock"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            handle = _acquire(path)
        except OSError as error:
            raise RunFailed(
                f"cannot write into {folder}: {error.strerror or error}; choose another --results"
            ) from error
        try:
            for place in (folder, folder / "predictions", folder / "checkpoint"):
                if not place.is_symlink():  # what lies behind a link is not this folder's
                    clear_leftovers(place, locked=True)
            yield
        finally:
            path.unlink(missing_ok=True)  # before the lock is dropped: see _acquire
            os.close(handle)


def read_record(path: Path) -> Record:
    """The record in the file ``path``.

    Raises:
        InputError: it cannot be read or understood.
    """
    try:
        text = regular_text(path, _LARGEST, "record")
    except OSError:
        raise InputError(f"{path}: there is no such file") from None
    return Record.from_json(text, source=str(path))


def _readable_setting(path: Path) -> str | None:
    try:
        setting = json.loads(regular_text(path, _LARGEST, "record"))["setting"]
    except (OSError, InputError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return setting if isinstance(setting, str) else None


def _acquire(path: Path) -> int:
    """Open and lock ``path``; returns the open descriptor that holds the lock."""
    import fcntl

    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = _owner(handle)
            os.close(handle)
            raise KeyLocked(f"{path.parent.name}: already being run by {owner or 'another process'}") from None
        if not _same_file(handle, path):  # its holder finished and removed it between open and flock
            os.close(handle)
            continue
        os.ftruncate(handle, 0)  # whoever stood there before is gone, or it would hold the lock
        os.pwrite(handle, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode(), 0)
        return handle


def _owner(handle: int) -> str:
    try:
        content = json.loads(os.pread(handle, 4096, 0))
        return f"process {content['pid']} on {content['host']}"
    except (ValueError, KeyError, TypeError):
        return ""


def _same_file(handle: int, path: Path) -> bool:
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    return os.fstat(handle).st_ino == there.st_ino
