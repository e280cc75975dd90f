"""What lies in a folder of results: every run's files by kind, with their sizes, and what is not the harness's.

Links are never followed: what lies behind one belongs to somebody else.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fedmeki_bench.files import leftovers
from fedmeki_bench.records.lease import GUARD, LEASE
from fedmeki_bench.records.store import is_key
from fedmeki_bench.runs.submitted import JOBS

RECORDS, PREDICTIONS, CHECKPOINTS, MODELS, LEFTOVERS = KINDS = (
    "records", "predictions", "checkpoints", "kept models", "leftovers",
)  # fmt: skip
"""Kinds of files; leftovers are what killed processes had half written, and their leases."""

_OWN = {
    RECORDS: r"record\.json|traceback\.txt",
    PREDICTIONS: r"predictions/[A-Za-z0-9][\w-]*\.[A-Za-z0-9][\w-]*(\.[a-z]+(-\d+(\.(valid|test))?)?)?\.parquet",
    CHECKPOINTS: r"checkpoint/(state\.pt|phase-\d+\.json)",
    MODELS: r"model/(model\.json|(model|injected)\.safetensors"
    r"|adapters/[^/]+/adapter_(config\.json|model\.safetensors))",
    LEFTOVERS: rf"{LEASE}|{GUARD}",
}
_PLACES = ("", "predictions", "checkpoint")  # where processes write under temporary names
_NAMED = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class Held:
    """A file of the harness; a half-written folder counts as one."""

    path: Path
    kind: str
    bytes: int


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A run's folder.

    Attributes:
        strange: what lies in it and is none of the run's: other files, links.
    """

    path: Path
    held: tuple[Held, ...]
    strange: tuple[Path, ...]

    @property
    def key(self) -> str:
        """The run's key."""
        return self.path.name

    def of(self, *kinds: str) -> tuple[Held, ...]:
        """The files of some kinds."""
        return tuple(one for one in self.held if one.kind in kinds)


@dataclass(frozen=True, slots=True)
class DiskUse:
    """Bytes per kind of a folder of results, over ``runs`` runs; ``others`` counts what is not the harness's."""

    runs: int
    kinds: dict[str, int]
    others: int

    @property
    def total(self) -> int:
        """All bytes of the harness."""
        return sum(self.kinds.values())

    @property
    def text(self) -> str:
        """Such as ``12 runs, 3.41 MB (records 0.40, predictions 3.01)``."""
        parts = ", ".join(f"{kind} {count / 1e6:.2f}" for kind, count in self.kinds.items() if count)
        runs = f"{self.runs} run{'s' * (self.runs != 1)}"
        return f"{runs}, {self.total / 1e6:.2f} MB" + (f" ({parts})" if parts else "")

    def as_json(self) -> dict[str, int | dict[str, int]]:
        """Runs and bytes, by names that JSON's readers know."""
        kinds = {kind.replace(" ", "_"): count for kind, count in self.kinds.items()}
        return {"runs": self.runs, "bytes": self.total, "kinds": kinds, "others": self.others}


@dataclass(frozen=True, slots=True)
class Survey:
    """A folder of results.

    Attributes:
        runs: in order of keys.
        halves: folders of runs that killed merges had half copied, by the run's key.
        strange: what lies beside the runs and is none of the harness's.
    """

    root: Path
    runs: tuple[RunFolder, ...]
    halves: tuple[tuple[str, Held], ...]
    strange: tuple[Path, ...]

    @property
    def use(self) -> DiskUse:
        """What takes up how much."""
        held = [*(one for run in self.runs for one in run.held), *(one for _, one in self.halves)]
        kinds = {kind: sum(one.bytes for one in held if one.kind == kind) for kind in KINDS}
        strange = [*self.strange, *(path for run in self.runs for path in run.strange)]
        with_record = sum((run.path / "record.json") in {one.path for one in run.held} for run in self.runs)
        return DiskUse(with_record, kinds, sum(map(size_of, strange)))


def survey(root: Path) -> Survey:
    """Look through a folder of results; one that does not exist is empty, and a cluster's jobs are none of its runs."""
    runs, halves, strange = [], [], []
    half = {path: key for path, key, _ in leftovers(root)}
    for path in sorted(root.iterdir()) if root.is_dir() else ():
        if path.name == JOBS:
            continue
        folder = path.is_dir() and not path.is_symlink()
        if folder and is_key(half.get(path, "")):
            halves.append((half[path], Held(path, LEFTOVERS, size_of(path))))
        elif folder and is_key(path.name) and _is_run(found := look(path)):
            runs.append(found)
        else:
            strange.append(path)
    return Survey(root, tuple(runs), tuple(halves), tuple(strange))


def look(folder: Path) -> RunFolder:
    """What lies in the folder of one run; nothing if there is none."""
    half = {path for place in _PLACES if not (folder / place).is_symlink() for path, *_ in leftovers(folder / place)}
    held, strange = [], []
    for path in _files(folder, half):
        relative = path.relative_to(folder).as_posix()
        kind = next((kind for kind, names in _OWN.items() if re.fullmatch(names, relative)), None)
        if path in half:
            held.append(Held(path, LEFTOVERS, size_of(path)))
        elif kind is None or path.is_symlink() or not path.is_file():
            strange.append(path)
        else:
            held.append(Held(path, kind, size_of(path)))
    return RunFolder(folder, tuple(held), tuple(strange))


def size_of(path: Path) -> int:
    """Bytes of a file, of a link itself, or of all that lies in a folder."""
    try:
        own = 0 if path.is_dir() and not path.is_symlink() else path.lstat().st_size
    except OSError:  # it has just been removed
        return 0
    return own + sum(size_of(one) for one in _inside(path))


def regular_file(folder: Path, relative: str) -> Path | None:
    """A file below a folder that is reached without a link; None where there is none."""
    path = folder
    for part in Path(relative).parts:
        path = path / part
        if part == ".." or path.is_symlink():
            return None
    return path if path.is_file() else None


def _is_run(found: RunFolder) -> bool:
    """Whether a folder is a run's: it holds something of one, or is named as runs are and holds a lease or nothing."""
    own = [one for one in found.held if one.path.name not in (LEASE, GUARD)]
    return bool(own) or (_NAMED.fullmatch(found.key) is not None and not found.strange)


def _files(folder: Path, half: Iterable[Path]) -> Iterator[Path]:
    """Files and links below a folder, and half-written folders as they are."""
    for path in _inside(folder):
        if path.is_dir() and not path.is_symlink() and path not in half:
            yield from _files(path, half)
        else:
            yield path


def _inside(folder: Path) -> list[Path]:
    if folder.is_symlink() or not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return sorted(folder / entry.name for entry in entries)
