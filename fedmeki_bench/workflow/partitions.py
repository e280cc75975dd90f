"""The partition of a run, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def partition_in_words(partition: str, params: Mapping[str, Mapping[str, Any]]) -> str:
    """A partition with its parameters, as ``dirichlet alpha 0.3``."""
    return " ".join([partition, *(f"{key} {value}" for key, value in params.get("partition", {}).items())])
