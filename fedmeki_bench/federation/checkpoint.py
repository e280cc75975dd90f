"""Checkpoints: everything a federation needs to go on to the same bits, replaced atomically after each round."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import torch

from fedmeki_bench.errors import RunFailed
from fedmeki_bench.models.flat import FlatTensors, Layout

_FLAT = "__flat__"
FILE = "state.pt"


def save(folder: Path, state: dict[str, Any]) -> None:
    """Write ``state`` (tensors, flat tensors, numbers, texts, lists and dicts of these) to ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f"{FILE}.partial"
    with temporary.open("wb") as file:
        torch.save(_pack(state), file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(folder / FILE)


def load(folder: Path, layout: Layout, device: torch.device | str = "cpu") -> dict[str, Any] | None:
    """The last complete checkpoint, or None if there is none.

    Raises:
        RunFailed: the file exists but can't be read; the sentence says to start afresh.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        unpacked: dict[str, Any] = _unpack(torch.load(path, map_location=device, weights_only=True), layout)
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise RunFailed(f"the checkpoint {path} can't be read ({error}); run again with --fresh") from error
    return unpacked


def _pack(value: Any) -> Any:
    if isinstance(value, FlatTensors):
        return {_FLAT: value.flat, "names": list(value)}
    if isinstance(value, dict):
        return {k: _pack(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_pack(v) for v in value]
    if value is None or isinstance(value, torch.Tensor | bool | int | float | str):
        return value
    raise TypeError(f"memory may hold tensors, numbers, texts, lists and dicts, not {type(value).__name__}")


def _unpack(value: Any, layout: Layout) -> Any:
    if isinstance(value, dict):
        if _FLAT in value:
            names = value["names"]
            return FlatTensors(layout.restrict(layout.modules, without=layout.entries.keys() - names), value[_FLAT])
        return {k: _unpack(v, layout) for k, v in value.items()}
    if isinstance(value, list):
        return [_unpack(v, layout) for v in value]
    return value
