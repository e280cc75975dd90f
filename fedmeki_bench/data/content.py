"""Hashes of what a cohort holds: of values rather than of files, so that the same data has one hash everywhere."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

HEADER = 128  # bytes of an .npy version 1 header, written again with the final shape


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces or NaN: the same text for the same value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def text_digest(text: str) -> str:
    """SHA-256 of a text, in hexadecimal."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def array_digest(path: Path) -> str:
    """SHA-256 of the samples in an array file, without its header: what :meth:`ArrayWriter.finish` returned."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        stream.seek(HEADER)
        while piece := stream.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
