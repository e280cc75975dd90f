"""SHA-256 of files, and a memory of them, so that an unchanged file is read once and not at every command."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

from fedmeki_bench.cache import cache_folder
from fedmeki_bench.files import write_atomically

_SETTLED = 2.0  # seconds; a file changed more recently could change again without its dates telling


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def known_digest(path: Path) -> str:
    """As :func:`file_digest`, but from memory where size, dates and inode of the file are those of last time.

    The memory lies in the cache folder; where that can't be written, every call reads the file. Damage that leaves the
    dates alone (a failing disk) is found by :func:`file_digest` only: ``audit --full`` and ``doctor`` use it.
    """
    path = path.resolve()
    facts = path.stat()
    now = {"size": facts.st_size, "mtime": facts.st_mtime_ns, "ctime": facts.st_ctime_ns, "inode": facts.st_ino}
    note = cache_folder() / "digests" / f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:32]}.json"
    remembered = _remembered(note)
    if {key: remembered.get(key) for key in now} == now and isinstance(remembered.get("sha256"), str):
        return str(remembered["sha256"])
    found = file_digest(path)
    if time.time() - max(facts.st_mtime, facts.st_ctime) > _SETTLED:
        with contextlib.suppress(OSError):
            write_atomically(note, json.dumps(now | {"sha256": found}).encode())
    return found


def _remembered(note: Path) -> dict[str, Any]:
    try:
        content = json.loads(note.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
