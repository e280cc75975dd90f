"""Checkpoints: everything a federation needs to go on to the same bits, replaced atomically after each round.

The file begins with a digest of the rest, so that a damaged one is refused: a flipped bit would train on unseen.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import torch

from fedmeki_bench.errors import RunFailed
from fedmeki_bench.files import replacing
from fedmeki_bench.models.flat import FlatTensors, Layout

_FLAT = "__flat__"
FILE = "state.pt"
_MAGIC = b"fedmeki-bench checkpoint 4\n"
_HEADER = len(_MAGIC) + 64 + 1  # the digest in hexadecimal, and a newline


def save(folder: Path, state: dict[str, Any], *, name: str = FILE) -> None:
    """Write ``state`` (tensors, flat tensors, numbers, texts, lists and dicts of these) to ``folder``."""
    with replacing(folder / name) as temporary, temporary.open("w+b") as file:
        file.write(b" " * _HEADER)
        sink = _Sink(file)
        try:
            torch.save(_pack(state), sink)  # type: ignore[arg-type]  # of a file, torch uses write and flush
        except RuntimeError:  # how torch reports that a write failed; the reason is the sink's
            raise (sink.error or RunFailed(f"the checkpoint {folder / name} can't be written")) from None
        file.seek(0)
        file.write(_MAGIC + sink.digest.hexdigest().encode() + b"\n")


def load(
    folder: Path, layout: Layout, device: torch.device | str = "cpu", *, others: Sequence[Layout] = (), name: str = FILE
) -> dict[str, Any] | None:
    """The last complete checkpoint, or None if there is none.

    Args:
        layout: of the server's model.
        others: of clients' models of another architecture.

    Raises:
        RunFailed: the file exists but is damaged or can't be read; the sentence says to start afresh.
    """
    path = folder / name
    if not path.is_file():
        return None
    try:
        content = _checked(path)
        unpacked: dict[str, Any] = _unpack(
            torch.load(content, map_location=device, weights_only=True), (layout, *others)
        )
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise RunFailed(f"the checkpoint {path} can't be read ({error}); run again with --fresh") from error
    return unpacked


class _Sink:
    """A file to write to that digests what passes, and remembers why it could not be written to."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.digest = hashlib.sha256()
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        try:
            self._file.write(data)
        except OSError as error:
            self.error = self.error or error
            raise
        self.digest.update(data)
        return len(data)

    def flush(self) -> None:
        self._file.flush()


def _checked(path: Path) -> io.BytesIO:
    """What was saved, once its digest is found right.

    Raises:
        ValueError: it is not, or the file is no checkpoint of this format.
    """
    with path.open("rb") as file:
        header, rest = file.read(_HEADER), file.read()
    if not header.startswith(_MAGIC):
        raise ValueError("it was not written by this version")
    if hashlib.sha256(rest).hexdigest().encode() != header[len(_MAGIC) :].strip():
        raise ValueError("it was damaged after it was written")
    return io.BytesIO(rest)


def _pack(value: Any) -> Any:
    if isinstance(value, FlatTensors):
        entries = value.layout.entries.values()
        return {
            _FLAT: value.flat, "names": [e.name for e in entries], "units": [e.unit for e in entries],
            "shapes": [list(e.shape) for e in entries], "trained": [e.trained for e in entries],
            "batch_norm": [e.batch_norm for e in entries],
        }  # fmt: skip
    if isinstance(value, dict):
        return {k: _pack(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_pack(v) for v in value]
    if value is None or isinstance(value, torch.Tensor | bool | int | float | str):
        return value
    raise TypeError(f"memory may hold tensors, numbers, texts, lists and dicts, not {type(value).__name__}")


def _unpack(value: Any, layouts: Sequence[Layout]) -> Any:
    if isinstance(value, dict):
        if _FLAT in value:
            return FlatTensors(_layout(value, layouts), value[_FLAT])
        return {k: _unpack(v, layouts) for k, v in value.items()}
    if isinstance(value, list):
        return [_unpack(v, layouts) for v in value]
    return value


def _layout(saved: dict[str, Any], models: Sequence[Layout]) -> Layout:
    """The layout of a saved vector: a part of a model's, the same object wherever it occurs, or one of its own.

    Raises:
        ValueError: it names tensors of the models, but has others beside them or of other shapes.
    """
    entries = list(zip(*(saved[k] for k in ("names", "units", "shapes", "trained", "batch_norm")), strict=True))
    for model in models:
        found = model.restrict(model.units, without=model.entries.keys() - saved["names"])
        if entries == [(e.name, e.unit, list(e.shape), e.trained, e.batch_norm) for e in found.entries.values()]:
            return found
    if any(name in model.entries for model in models for name in saved["names"]):
        raise ValueError("it holds tensors of another model")
    units: dict[str, list[tuple[str, tuple[int, ...], bool]]] = {}
    for name, unit, shape, trained, _ in entries:
        units.setdefault(unit, []).append((name, tuple(shape), trained))
    return Layout.build(units, batch_norm={name for name, *_, batch_norm in entries if batch_norm})
