"""The folder of records: ``RESULTS/<key>/record.json``, written last and atomically.

So a folder without a record is a run under way or killed, and a record is always whole.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fedmeki_bench.bounded import regular_text
from fedmeki_bench.errors import InputError, RunFailed
from fedmeki_bench.files import clear_leftovers, write_atomically
from fedmeki_bench.plain import one_line
from fedmeki_bench.records.lease import PACE, Lease, Pace, Seen, acquire, look_at
from fedmeki_bench.records.record import Record

_LARGEST = 50_000_000  # bytes; a record of a hundred clients and a thousand rounds has a hundredth of it
_LONGEST = 300  # characters of a reason
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def is_key(name: str) -> bool:
    """Whether a run can be called so, and its folder."""
    return _KEY.fullmatch(name) is not None


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

    def __init__(self, root: Path | str, pace: Pace = PACE) -> None:
        self.root, self.pace = Path(root), pace
        self._held: dict[str, Lease] = {}

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
        """Replace the record of its key atomically: after a power cut there is the old one or the new one.

        Raises:
            LeaseLost: this process held the key and another has taken it over; nothing is written.
        """
        if record.key in self._held:
            self._held[record.key].check()
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

    def lease(self, key: str) -> Seen | None:
        """The lease that lies in the folder of ``key``, of a process that may be dead; None where there is none.

        Raises:
            OSError: it is not ours to read, or a link.
        """
        return look_at(self.folder(key))

    def holder(self, key: str) -> str:
        """Who runs ``key`` now, e.g. ``process 12 on host``; empty if nobody does. Nothing is written.

        Empty, too, where a process of another machine has not been heard of for so long that its lease ran out.
        """
        try:
            seen = self.lease(key)
        except OSError as error:
            return f"an unknown process (its lease can't be read: {error.strerror})"
        return "" if seen is None or seen.ran_out(self.pace.patience) else seen.name

    @contextmanager
    def lock(self, key: str) -> Iterator[Lease]:
        """Hold ``key`` for this process, so that no other runs it at the same time; see :mod:`.lease`.

        A process that was killed stands in nobody's way: on its own machine it is followed at once, on others when its
        lease has run out. Whoever holds the key also clears away what killed processes left in the folder. Records are
        written only while the lease is this process's own (:meth:`write`).

        Raises:
            KeyLocked: another process holds it; the message says which.
            LeaseLost: a record was to be written after another process had taken the key over.
            RunFailed: the folder can't be written to.
        """
        folder = self.folder(key)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lease = acquire(folder, self.pace)
        except OSError as error:
            raise RunFailed(
                f"cannot write into {folder}: {error.strerror or error}; choose another --results"
            ) from error
        self._held[key] = lease
        try:
            for place in (folder, folder / "predictions", folder / "checkpoint"):
                if not place.is_symlink():  # what lies behind a link is not this folder's
                    clear_leftovers(place, locked=True)
            yield lease
        finally:
            del self._held[key]
            lease.release()


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
