"""Writing a cohort so that no one ever sees half of it: hashes, one writer at a time, atomic renames."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedmeki_bench.data.content import HEADER
from fedmeki_bench.errors import InputError, RunFailed
from fedmeki_bench.files import is_running

if TYPE_CHECKING:
    import numpy as np

    from fedmeki_bench.data.contract import ArraySpec

_LEFTOVER = re.compile(r"^\.(?P<name>.+)\.(?P<what>partial|old)-\d+$")
_DEPTH = 6  # no release nests deeper; ends a loop of links
_LOCK = ".prepare.lock"


def folder_digest(folder: Path) -> str:
    """SHA-256 over the names and sizes of all files below ``folder``: cheap, and ignores timestamps."""
    digest = hashlib.sha256()
    for name, size in sorted(_sizes(folder, "")):
        digest.update(f"{name}\0{size}\n".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _sizes(folder: Path, prefix: str) -> Iterator[tuple[str, int]]:
    if not folder.is_dir() or prefix.count("/") > _DEPTH:
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from _sizes(Path(entry.path), f"{prefix}{entry.name}/")
            elif entry.is_file():
                yield f"{prefix}{entry.name}", entry.stat().st_size


class ArrayWriter:
    """Appends samples to an ``.npy`` file whose length is known only at the end; hashes as it goes.

    Plain writes rather than a memory map: on a full disk they raise instead of killing the process.
    """

    def __init__(self, path: Path, spec: ArraySpec) -> None:
        import numpy as np

        self._spec, self._dtype = spec, np.dtype(spec.dtype)
        self._stream = path.open("wb")
        self._stream.write(b"\0" * HEADER)
        self._digest = hashlib.sha256()
        self.count = 0

    def append(self, array: np.ndarray) -> None:
        """Write one sample, checked against the spec."""
        if array.shape != self._spec.shape or array.dtype != self._dtype:
            raise RunFailed(
                f"the preparer decoded {array.dtype}{array.shape} where its spec says {self._dtype}{self._spec.shape}"
            )
        data = array.tobytes()
        self._stream.write(data)
        self._digest.update(data)
        self.count += 1

    def finish(self) -> str:
        """Write the header and close; returns the SHA-256 of the samples' bytes."""
        shape = (self.count, *self._spec.shape)
        header = f"{{'descr': {self._dtype.str!r}, 'fortran_order': False, 'shape': {shape!r}, }}"
        room = HEADER - 10
        self._stream.seek(0)
        self._stream.write(b"\x93NUMPY\x01\x00" + room.to_bytes(2, "little"))
        self._stream.write(header.ljust(room - 1).encode("ascii") + b"\n")
        self.close()
        return self._digest.hexdigest()

    def close(self) -> None:
        """Close the file without a header, as after an error."""
        self._stream.close()


@contextlib.contextmanager
def one_writer(folder: Path, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold ``folder`` for writing; a second writer waits. The lock goes with the process, however it ends."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / _LOCK).open("a")
    except OSError as error:
        raise InputError(f"cannot write into {folder}: {error.strerror}") from None
    with lock:
        _acquire(lock.fileno(), on_wait)
        _clear_leftovers(folder)
        yield


def _acquire(descriptor: int, on_wait: Callable[[], None] | None) -> None:
    try:
        import fcntl
    except ImportError:  # not POSIX: unique partial names and renames still keep cohorts whole
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if on_wait:
            on_wait()
        fcntl.flock(descriptor, fcntl.LOCK_EX)


def _clear_leftovers(folder: Path) -> None:
    """Remove what killed writers left; give back a cohort whose replacement never arrived."""
    for entry in sorted(folder.iterdir()):
        match = _LEFTOVER.match(entry.name)
        if not match:
            continue
        final = folder / match["name"]
        if match["what"] == "old" and not final.exists():
            entry.rename(final)
        else:
            shutil.rmtree(entry, ignore_errors=True)


@contextlib.contextmanager
def partial_folder(final: Path) -> Iterator[Path]:
    """A hidden sibling of ``final`` to write into; gone at the end, unless :func:`install` took it."""
    for left in final.parent.glob(f".{glob.escape(final.name)}.partial-*"):  # of a process that was killed
        process = left.name.rpartition("-")[2]
        if process.isdecimal() and not is_running(int(process)):
            shutil.rmtree(left, ignore_errors=True)
    folder = final.parent / f".{final.name}.partial-{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def install(partial: Path, final: Path) -> None:
    """Put the finished ``partial`` in the place of ``final``, which is removed only once replaced."""
    if not final.exists():
        partial.rename(final)
        return
    old = final.parent / f".{final.name}.old-{os.getpid()}"
    shutil.rmtree(old, ignore_errors=True)
    final.rename(old)
    partial.rename(final)
    shutil.rmtree(old, ignore_errors=True)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Readable JSON, sorted, without NaN."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")
