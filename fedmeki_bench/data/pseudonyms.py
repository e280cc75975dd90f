"""Keyed hashes in the place of ids, so that predictions can be shown without telling whose they are."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedmeki_bench.errors import InputError

KEY = "ids.key"
_DIGITS = 16


def write_key(folder: Path, dataset: str, evidence: Mapping[str, str]) -> None:
    """Write the key of a cohort's ids: the same for all tasks of a dataset, and wherever the same release is prepared.

    Args:
        evidence: name -> digest of everything the preparer read. Whoever knows it all holds the release itself.
    """
    text = "\n".join([f"fedmeki-bench ids of {dataset}", *(f"{k} {v}" for k, v in sorted(evidence.items()))])
    (folder / KEY).write_text(
        hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest() + "\n", encoding="ascii"
    )


def read_key(folder: Path, card: Mapping[str, Any]) -> bytes:
    """The key of a cohort's ids; one prepared before there were keys is keyed by its sample table.

    Raises:
        InputError: the key can't be read.
    """
    if KEY not in card["files"]:
        return hashlib.sha256(f"fedmeki-bench ids {card['content']['samples']}".encode()).digest()
    try:
        return bytes.fromhex((folder / KEY).read_text(encoding="ascii").strip())
    except (OSError, ValueError) as error:
        raise InputError(f"{folder / KEY} can't be read ({error}): prepare the cohort again") from None


def pseudonym(key: bytes, what: str, name: str) -> str:
    """The keyed hash of one id; ``what`` keeps samples and groups of one name apart."""
    text = f"{what}\0{name}".encode("utf-8", "surrogatepass")
    return hmac.new(key, text, hashlib.sha256).hexdigest()[:_DIGITS]
