"""Which run of a sweep comes next: the longest, of those for which memory is left."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from fedmeki_bench import memory
from fedmeki_bench.errors import InputError
from fedmeki_bench.records.store import RecordStore
from fedmeki_bench.runs.expected import longest_first, peak_memory
from fedmeki_bench.runs.plan import Planned

_SHARE, _LARGEST = 0.05, 2_000_000_000
"""Of all memory, so much is left alone: less of it free, and a run more would be one too many."""


class Waiting:
    """The runs that wait.

    Args:
        entries: those to run.
        done: others of the same board, whose records say how long such runs take and how much memory they hold.
    """

    def __init__(self, entries: Sequence[Planned], done: Sequence[Planned], data: Path) -> None:
        self._left = longest_first(entries, done, data)
        self._known = [entry for entry in done if entry.status == "ok"]
        self._again: set[int] = set()

    def __len__(self) -> int:
        return len(self._left)

    def next(self, running: Iterable[tuple[Planned, int]], own: int = 0) -> Planned | None:
        """Take the longest run for which memory is left; None if there is none yet. One always runs.

        Args:
            running: the runs under way, each with the bytes that its process holds by now.
            own: bytes that the process holds which is to run it.
        """
        running, free = list(running), memory.available()
        if not self._left:
            return None
        if not running or free is None:
            return self._left.pop(0)
        left = free[0] - min(_SHARE * free[1], _LARGEST)
        left -= sum(max(0, self._peak(entry) - held) for entry, held in running)
        fits = (i for i, entry in enumerate(self._left) if max(0, self._peak(entry) - own) <= left)
        at = next(fits, None)
        return None if at is None else self._left.pop(at)

    def again(self, entry: Planned) -> bool:
        """Put a run whose process was killed at the end, when least else runs; False if that was done before."""
        if id(entry) in self._again:
            return False
        self._again.add(id(entry))
        self._left.append(entry)
        return True

    def learn(self, entry: Planned, store: RecordStore) -> None:
        """Take what a run that has just ended says of those like it."""
        record = None
        with contextlib.suppress(InputError):  # damaged the moment it was written: it will be found so
            record = store.load(entry.key) if entry.key else None
        if record is not None and record.status == "ok":
            entry.status, entry.record = "ok", record
            self._known.append(entry)

    def _peak(self, entry: Planned) -> int:
        return peak_memory(entry, self._known) or 0
