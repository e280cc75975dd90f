"""What of a folder of results no board needs, and removing it.

Only files that the harness itself makes are removed, each under the lock of its run. A record goes first, so that a
removal that is killed leaves no record without its predictions.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from fedmeki_bench.errors import InputError, RunFailed
from fedmeki_bench.plain import one_line
from fedmeki_bench.records.lease import LEASE
from fedmeki_bench.records.record import Record
from fedmeki_bench.records.store import RecordStore, read_record
from fedmeki_bench.runs.folders import (
    CHECKPOINTS,
    KINDS,
    LEFTOVERS,
    MODELS,
    RECORDS,
    DiskUse,
    Held,
    RunFolder,
    look,
    regular_file,
    survey,
)

Needed = Callable[[Record, RunFolder], bool]
"""Whether some board needs a run."""


@dataclass(frozen=True, slots=True)
class Removal:
    """Something of a run that can go.

    Attributes:
        what: ``run`` (all of it), ``checkpoint``, ``leftovers``, or ``half copy``, which a merge left beside the
            run's folder.
        record: as it was when this was decided; None where there is none.
    """

    key: str
    what: str
    why: str
    files: tuple[Held, ...]
    record: Record | None = None

    @property
    def bytes(self) -> int:
        """How much it frees."""
        return sum(one.bytes for one in self.files)


@dataclass(frozen=True, slots=True)
class Cleaning:
    """What can be removed from a folder of results, or was.

    Attributes:
        left: what stays although no board may need it: path and reason.
        use: of the whole folder, before anything was removed.
        done: whether it was removed.
    """

    folder: Path
    removals: tuple[Removal, ...]
    left: tuple[tuple[Path, str], ...]
    use: DiskUse
    done: bool = False

    @property
    def bytes(self) -> int:
        """How much is freed."""
        return sum(one.bytes for one in self.removals)


def removable(store: RecordStore, needed: Needed | None = None) -> Cleaning:
    """What can go; nothing is written.

    Args:
        needed: given, runs with a record that it refuses can go, too.
    """
    found = survey(store.root)
    removals: list[Removal] = []
    left = [(path, _strange(path)) for path in found.strange]
    for key, half in found.halves:
        if holder := store.holder(key):
            left.append((half.path, f"is being run by {holder}"))
        else:
            removals.append(Removal(key, "half copy", "left by a merge that was killed", (half,)))
    for run in found.runs:
        left += [(path, _strange(path)) for path in run.strange]
        if holder := store.holder(run.key):
            left.append((run.path, f"is being run by {holder}"))
            continue
        try:
            record = _record(run)
        except InputError as error:
            left.append((run.path, f"its record can't be read: {one_line(str(error))}"))
            continue
        removals += _of_run(run, record, needed)
        if needed is not None and record is None and not any(one.key == run.key for one in removals):
            left.append((run.path, "has no record that says whether a board needs it"))
    return Cleaning(store.root, tuple(removals), tuple(left), found.use)


def remove(cleaning: Cleaning) -> Cleaning:
    """Remove it; what has come under way or changed meanwhile stays, with its reason.

    Raises:
        OSError: the folder can't be written to.
    """
    store, removed, left = RecordStore(cleaning.folder), [], list(cleaning.left)
    for one in cleaning.removals:
        folder = store.folder(one.key)
        if folder.is_symlink():
            left.append((folder, _strange(folder)))
            continue
        try:
            with store.lock(one.key):
                if one.what == "half copy" or _record(look(folder)) == one.record:
                    for held in one.files:
                        if held.path != folder / LEASE:  # ours by now, and gone with the lock
                            _remove(cleaning.folder, held.path)
                    removed.append(one)
                else:
                    left.append((folder, "changed meanwhile"))
        except (RunFailed, InputError) as error:
            left.append((folder, str(error)))
        _remove_if_empty(folder)
    return replace(cleaning, removals=tuple(removed), left=tuple(left), done=True)


def _of_run(run: RunFolder, record: Record | None, needed: Needed | None) -> Iterator[Removal]:
    if record is not None and needed is not None and not needed(record, run):
        order = sorted(run.held, key=lambda one: KINDS.index(one.kind))  # the record first
        yield Removal(run.key, "run", f"no board given needs it ({record.status})", tuple(order), record)
        return
    leftovers = run.of(LEFTOVERS)
    if record is None and not run.of(CHECKPOINTS, MODELS):
        leftovers = run.held  # predictions that no record will ever name
    if leftovers:
        yield Removal(run.key, "leftovers", "left by a process that was killed", leftovers, record)
    if record is not None and record.status == "ok" and run.of(CHECKPOINTS):
        yield Removal(run.key, "checkpoint", "its run is finished", run.of(CHECKPOINTS), record)


def _record(run: RunFolder) -> Record | None:
    """A run's record; None where there is none.

    Raises:
        InputError: there is one, and it can't be read, lies behind a link or is another run's.
    """
    path = run.path / "record.json"
    if path in run.strange:
        raise InputError("it is no regular file")
    if not any(one.path == path for one in run.of(RECORDS)):
        return None
    record = read_record(path)
    if record.key != run.key:
        raise InputError(f"says its key is {record.key!r}")
    return record


def _strange(path: Path) -> str:
    return "is a link, and links are not followed" if path.is_symlink() else "is not the harness's"


def _remove(root: Path, path: Path) -> None:
    """Remove a file, or a half-written folder, and the folders that held nothing else."""
    parents = [parent for parent in path.parents if parent.is_relative_to(root) and parent != root]
    if any(parent.is_symlink() for parent in parents):  # put there meanwhile
        return
    if regular_file(root, path.relative_to(root).as_posix()) is not None:
        path.unlink()
    elif path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    for parent in parents[:-1]:
        _remove_if_empty(parent)


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()
