"""Files and folders that appear whole or not at all, and what killed writers of them left behind."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LEFTOVER = re.compile(r"\.(?P<name>.+)\.(?P<process>\d+)\.(?:tmp|partial)$")

UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EFBIG)
"""What a full, read-only, forbidden or failing disk says."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path`` to write to; at the end it takes the place of ``path``, forced to disk.

    After an error the temporary file or folder is gone and ``path`` is as it was. What killed processes left of the
    same file goes, too.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    clear_leftovers(path.parent, path.name)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        if temporary.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path``: after a power cut there is the old file or the new one."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def clear_leftovers(folder: Path, name: str | None = None, *, locked: bool = False) -> None:
    """Remove temporary files and folders of processes that no longer run: those of ``name``, or all in the folder.

    Args:
        locked: this process alone may write here, so whatever others left is dead, wherever they ran.
    """
    for path, called, process in leftovers(folder):
        if name not in (None, called) or (not locked and is_running(process)):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def leftovers(folder: Path) -> list[tuple[Path, str, int]]:
    """Temporary files and folders in a folder: each with what it was to become and the process that wrote it."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries)
    found = [(folder / name, match) for name in names if (match := _LEFTOVER.match(name))]
    return [(path, match["name"], int(match["process"])) for path, match in found]


def is_running(process: int) -> bool:
    """Whether a process of that number is there, this one or another."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # somebody else's
        return True
    return True
