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
    if not folder.is_dir():
        return
    with os.scandir(folder) as entries:
        found = [entry for entry in entries if entry.name.startswith(".")]
    for entry in found:
        match = _LEFTOVER.match(entry.name)
        if match is None or name not in (None, match["name"]):
            continue
        if not locked and is_running(int(match["process"])):
            continue
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path, ignore_errors=True)
        else:
            Path(entry.path).unlink(missing_ok=True)


def is_running(process: int) -> bool:
    """Whether a process of that number is there, this one or another."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # somebody else's
        return True
    return True
