"""Where this machine keeps what can be made again: the stand-in model, digests of large files."""

from __future__ import annotations

import os
import sys
from pathlib import Path

CACHE_VARIABLE = "FEDMEKI_BENCH_CACHE"


def cache_folder() -> Path:
    """``FEDMEKI_BENCH_CACHE``, else ``fedmeki-bench`` in the platform's user cache folder."""
    if named := os.environ.get(CACHE_VARIABLE):
        return Path(named)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", str(Path.home()))) / "fedmeki-bench" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "fedmeki-bench"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fedmeki-bench"
