"""Messages between processes as bytes: a safetensors file of all tensors, and in its header everything else as JSON.

No padding travels: of a flat vector only the tensors that it names. Vectors that are laid out like a part of a model,
which both sides have, say which part by one bit per tensor; others carry their layout.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from fedmeki_bench.errors import RunFailed
from fedmeki_bench.federation.payload import Payload, Update
from fedmeki_bench.federation.seat import Seat
from fedmeki_bench.models.flat import FlatTensors, Layout

_BODY = "body"
_TENSOR, _ARRAY, _FLAT = "__tensor__", "__array__", "__flat__"


def pack(value: Any, layouts: Sequence[Layout] = ()) -> bytes:
    """A message of numbers, texts, tensors, arrays, flat vectors, lists and dicts of these.

    Args:
        layouts: of the models that the receiver has, too.
    """
    from safetensors.torch import save

    tensors: dict[str, torch.Tensor] = {}
    known = {digest_of(layout): layout for layout in layouts}

    def put(tensor: torch.Tensor) -> str:
        name = str(len(tensors))
        tensors[name] = tensor.detach().cpu().contiguous()
        return name

    def plain(value: Any) -> Any:
        if isinstance(value, FlatTensors):
            return {_FLAT: put(_packed(value)), **_described(value.layout, known)}
        if isinstance(value, torch.Tensor):
            return {_TENSOR: put(value)}
        if isinstance(value, np.ndarray):
            return {_ARRAY: put(torch.from_numpy(np.ascontiguousarray(value)))}
        if isinstance(value, Mapping):
            return {str(name): plain(each) for name, each in value.items()}
        if isinstance(value, list | tuple):
            return [plain(each) for each in value]
        if value is None or isinstance(value, bool | int | float | str):
            return value
        raise TypeError(f"a message may hold tensors, numbers, texts, lists and dicts, not {type(value).__name__}")

    body = plain(value)
    return save(tensors, metadata={_BODY: json.dumps(body, separators=(",", ":"))})


def unpack(data: bytes, layouts: Sequence[Layout] = (), device: torch.device | str = "cpu") -> Any:
    """What was packed, its tensors on ``device``.

    Raises:
        RunFailed: it is no message, or its vectors belong to another model.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    known = {digest_of(layout): layout for layout in layouts}
    try:
        length = int.from_bytes(data[:8], "little")
        body = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][_BODY])
        tensors = load(data)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        what = type(error).__name__
        raise RunFailed(f"a message can't be read ({what}): it was cut off or is from elsewhere") from None

    def full(value: Any) -> Any:
        if isinstance(value, dict):
            if _FLAT in value:
                return _unpacked(tensors[value[_FLAT]], _layout(value, known), device)
            if _TENSOR in value:
                return tensors[value[_TENSOR]].to(device)
            if _ARRAY in value:
                return tensors[value[_ARRAY]].numpy()
            return {name: full(each) for name, each in value.items()}
        return [full(each) for each in value] if isinstance(value, list) else value

    return full(body)


def payload_to(payload: Payload) -> dict[str, Any]:
    """A payload as what :func:`pack` takes."""
    return {"model": payload.model, "extra": payload.extra, "numbers": payload.numbers}


def payload_from(told: Mapping[str, Any]) -> Payload:
    """The payload again."""
    return Payload(told["model"], told["extra"], told["numbers"])


_SENT = ("client", "model", "samples", "reports", "extra", "numbers", "loss", "steps")


def update_to(update: Update) -> dict[str, Any]:
    """An update as what :func:`pack` takes: what the client says, not what the server's loop adds."""
    return {name: getattr(update, name) for name in _SENT}


def update_from(told: Mapping[str, Any]) -> Update:
    """The update again."""
    return Update(**told)


def seat_to(seat: Seat) -> dict[str, Any]:
    """Of a seat what the client can't know by itself."""
    return {"client": seat.client, "round": seat.round, "step": list(seat.step), "tasks": list(seat.tasks)}


def seat_from(told: Mapping[str, Any]) -> Seat:
    """The seat as the client sees it, which knows its own samples."""
    return Seat(told["client"], told["round"], (told["step"][0], told["step"][1]), tuple(told["tasks"]), {}, (), {})


def digest_of(layout: Layout) -> str:
    """What names a layout: equal digests, equal tensors in equal order."""
    entries = [(e.name, e.unit, e.shape, e.trained, e.batch_norm) for e in layout.entries.values()]
    return hashlib.sha256(repr(entries).encode()).hexdigest()[:12]


def _described(layout: Layout, known: Mapping[str, Layout]) -> dict[str, Any]:
    for digest, model in known.items():
        if layout is model or layout == model.restrict(
            model.units, without=model.entries.keys() - layout.entries.keys()
        ):
            bits = "".join("1" if name in layout.entries else "0" for name in model.entries)
            return {"of": digest, "has": hex(int("1" + bits, 2))[2:]}
    entries = layout.entries.values()
    return {
        "entries": [[e.name, e.unit, list(e.shape), e.trained] for e in entries],
        "batch_norm": [e.name for e in entries if e.batch_norm],
    }


def _layout(told: Mapping[str, Any], known: Mapping[str, Layout]) -> Layout:
    """The layout of a vector: the same object for the same part of a model.

    Raises:
        RunFailed: it is of a model that this side does not have.
    """
    if "of" in told:
        if (model := known.get(told["of"])) is None:
            raise RunFailed("a message is about another model: both sides need the same version and options")
        bits = bin(int(told["has"], 16))[3:]
        return model.restrict(
            model.units, without={n for n, bit in zip(model.entries, bits, strict=True) if bit == "0"}
        )
    units: dict[str, list[tuple[str, tuple[int, ...], bool]]] = {}
    for name, unit, shape, trained in told["entries"]:
        units.setdefault(unit, []).append((name, tuple(shape), trained))
    return Layout.build(units, batch_norm=told["batch_norm"])


def _packed(values: FlatTensors) -> torch.Tensor:
    """The vector without the padding between units."""
    parts = [values.segment(unit) for unit in values.units]
    return torch.cat(parts) if parts else values.flat[:0]


def _unpacked(data: torch.Tensor, layout: Layout, device: torch.device | str) -> FlatTensors:
    values = FlatTensors(layout, torch.zeros(layout.size, dtype=data.dtype, device=device))
    if data.numel() != layout.content:
        raise RunFailed("a message is cut off: a vector has fewer elements than its layout")
    start = 0
    for unit in layout.units:
        segment = values.segment(unit)
        segment.copy_(data[start : start + segment.numel()])
        start += segment.numel()
    return values
