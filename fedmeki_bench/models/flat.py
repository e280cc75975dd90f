"""One flat buffer under a whole model, with named views.

Aggregation, byte counting, checkpoints and copies act on the buffer; federated rules see names. A model's
*modules* here are the units of exchange (``encoder.image``, ``decoder.lung_opacity``); each is one contiguous
segment, its parameters first and its floating-point buffers (batch-norm statistics) after them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import prod

import torch
from torch import Tensor, nn

_ALIGNMENT = 16
"""Elements (64 bytes) at whose multiples modules begin. Kernels sum in another order on unaligned memory, so without
it a module's bits would depend on which other modules lie before it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Where one named tensor lies: offset and shape in elements; ``trained`` is false for buffers."""

    name: str
    module: str
    offset: int
    shape: tuple[int, ...]
    trained: bool

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)


@dataclass(frozen=True, slots=True)
class Segment:
    """The elements of one module: ``[start, trained_stop)`` parameters, ``[trained_stop, stop)`` buffers."""

    start: int
    trained_stop: int
    stop: int


@dataclass(frozen=True)
class Layout:
    """The order and shapes of all tensors of a model (or of some of its modules) in a flat buffer."""

    entries: Mapping[str, Entry]
    segments: Mapping[str, Segment]
    size: int
    _restricted: dict[tuple[object, ...], Layout] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def build(cls, modules: Mapping[str, list[tuple[str, tuple[int, ...], bool]]]) -> Layout:
        """From module name to its (tensor name, shape, trained) triples, parameters before buffers."""
        entries: dict[str, Entry] = {}
        segments: dict[str, Segment] = {}
        offset = 0
        for module, tensors in modules.items():
            offset = -(-offset // _ALIGNMENT) * _ALIGNMENT
            start = offset
            trained_stop = start
            for name, shape, trained in tensors:
                entries[name] = Entry(name, module, offset, shape, trained)
                offset += prod(shape)
                if trained:
                    trained_stop = offset
            segments[module] = Segment(start, trained_stop, offset)
        return cls(entries, segments, offset)

    @property
    def modules(self) -> tuple[str, ...]:
        """Names of the modules, in order."""
        return tuple(self.segments)

    @property
    def content(self) -> int:
        """Elements of the named tensors, without padding."""
        return sum(s.stop - s.start for s in self.segments.values())

    @property
    def has_buffers(self) -> bool:
        """Whether any tensor is a buffer."""
        return any(not entry.trained for entry in self.entries.values())

    def restrict(self, modules: Iterable[str], *, buffers: bool = True) -> Layout:
        """The layout of these modules alone, packed, in this layout's order; with or without their buffers."""
        wanted = set(modules)
        kept = tuple(m for m in self.segments if m in wanted)
        buffers = buffers or not self.has_buffers
        if len(kept) == len(self.segments) and buffers:
            return self
        key = (buffers, *kept)
        if key not in self._restricted:
            triples: dict[str, list[tuple[str, tuple[int, ...], bool]]] = {m: [] for m in kept}
            for entry in self.entries.values():
                if entry.module in triples and (entry.trained or buffers):
                    triples[entry.module].append((entry.name, entry.shape, entry.trained))
            self._restricted[key] = Layout.build(triples)
        return self._restricted[key]


class FlatTensors(Mapping[str, Tensor]):
    """Named tensors in one flat float32 vector: what rules read, what travels, what is averaged.

    Reading a name gives a view, so in-place changes reach the vector. ``+``, ``-`` and ``*`` (by a number) act on
    the whole vector and give a new one, so that a rule can be written as its paper writes it.
    """

    __slots__ = ("flat", "layout")

    def __init__(self, layout: Layout, flat: Tensor | None = None) -> None:
        self.layout = layout
        self.flat = torch.zeros(layout.size) if flat is None else flat
        if self.flat.numel() != layout.size:
            raise ValueError(f"a vector of {self.flat.numel()} elements does not fit a layout of {layout.size}")

    def __getitem__(self, name: str) -> Tensor:
        entry = self.layout.entries[name]
        return self.flat[entry.offset : entry.offset + entry.size].view(entry.shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self.layout.entries)

    def __len__(self) -> int:
        return len(self.layout.entries)

    @property
    def modules(self) -> tuple[str, ...]:
        """Names of the modules, in order."""
        return self.layout.modules

    @property
    def nbytes(self) -> int:
        """Bytes of the named tensors; the padding between modules does not count, and would not be sent."""
        return self.layout.content * self.flat.element_size()

    def segment(self, module: str, *, trained_only: bool = False) -> Tensor:
        """The elements of one module as a view."""
        s = self.layout.segments[module]
        return self.flat[s.start : s.trained_stop if trained_only else s.stop]

    def restrict(self, modules: Iterable[str], *, buffers: bool = True) -> FlatTensors:
        """A packed copy of these modules, with or without their buffers."""
        layout = self.layout.restrict(modules, buffers=buffers)
        if layout is self.layout:
            return self.clone()
        packed = FlatTensors(layout, self.flat.new_zeros(layout.size))
        for module in layout.modules:
            packed.segment(module).copy_(self.segment(module, trained_only=not buffers))
        return packed

    def load(self, other: FlatTensors) -> None:
        """Overwrite the modules that ``other`` holds with its values; buffers it lacks stay as they are."""
        if other.layout is self.layout:
            self.flat.copy_(other.flat)
            return
        for module in other.modules:
            values = other.segment(module)
            self.segment(module)[: values.numel()].copy_(values)

    def buffers(self) -> dict[str, Tensor]:
        """Copies of the floating-point buffers by name."""
        return {e.name: self[e.name].clone() for e in self.layout.entries.values() if not e.trained}

    def load_buffers(self, buffers: Mapping[str, Tensor]) -> None:
        """Overwrite buffers by name."""
        for name, value in buffers.items():
            self[name].copy_(value)

    def clone(self) -> FlatTensors:
        """An independent copy."""
        return FlatTensors(self.layout, self.flat.clone())

    def zeros(self) -> FlatTensors:
        """Zeros of the same layout, on the same device."""
        return FlatTensors(self.layout, torch.zeros_like(self.flat))

    def __add__(self, other: FlatTensors) -> FlatTensors:
        return FlatTensors(self.layout, self.flat + self._aligned(other))

    def __sub__(self, other: FlatTensors) -> FlatTensors:
        return FlatTensors(self.layout, self.flat - self._aligned(other))

    def __mul__(self, factor: float) -> FlatTensors:
        return FlatTensors(self.layout, self.flat * factor)

    __rmul__ = __mul__

    def _aligned(self, other: FlatTensors) -> Tensor:
        if other.layout is self.layout:
            return other.flat
        if set(self.modules) - set(other.modules):
            raise ValueError(f"modules {self.modules} and {other.modules} do not match")
        return other.restrict(self.modules).flat


def flatten(model: nn.Module, module_of: Mapping[str, nn.Module]) -> tuple[FlatTensors, FlatTensors]:
    """Move a model's parameters, gradients and float buffers into two flat vectors, in place.

    Args:
        model: the model; afterwards its tensors are views into the first vector.
        module_of: unit of exchange -> the submodule that holds its tensors.

    Returns:
        The values and the gradients. Gradients accumulate into the second vector: zero it, never set it to None.
    """
    triples: dict[str, list[tuple[str, tuple[int, ...], bool]]] = {}
    for unit, module in module_of.items():
        named = [(f"{unit}.{n}", tuple(p.shape), True) for n, p in module.named_parameters()]
        named += [(f"{unit}.{n}", tuple(b.shape), False) for n, b in module.named_buffers() if b.is_floating_point()]
        triples[unit] = named
    layout = Layout.build(triples)
    device = next(model.parameters()).device
    values = FlatTensors(layout, torch.zeros(layout.size, device=device))
    grads = FlatTensors(layout, torch.zeros(layout.size, device=device))
    for unit, module in module_of.items():
        for name, parameter in module.named_parameters():
            view = values[f"{unit}.{name}"]
            view.copy_(parameter.detach())
            parameter.data = view
            parameter.grad = grads[f"{unit}.{name}"]
        for name, buffer in list(module.named_buffers()):
            if buffer.is_floating_point():
                view = values[f"{unit}.{name}"]
                view.copy_(buffer)
                owner, _, leaf = name.rpartition(".")
                module.get_submodule(owner)._buffers[leaf] = view
    return values, grads
