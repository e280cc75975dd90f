"""One flat buffer under a whole model, with named views.

Aggregation, byte counting, checkpoints and copies act on the buffer; federated rules see names. Each of a model's units
of exchange (``encoder.image``, ``decoder.lung_opacity``) is one contiguous segment, its parameters first and its
floating-point buffers (batch-norm statistics) after them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import prod

import torch
from torch import Tensor, nn

_ALIGNMENT = 16
"""Elements (64 bytes) at whose multiples units begin. Kernels sum in another order on unaligned memory, so without
it a unit's bits would depend on which other units lie before it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One named tensor: what it is and where it lies.

    Attributes:
        name: e.g. ``encoder.image.layers.1.weight``.
        unit: the unit of exchange that it belongs to, e.g. ``encoder.image``.
        offset, shape: in elements.
        trained: false for buffers (batch-norm statistics).
        batch_norm: whether it belongs to a batch-norm layer, as a parameter or as a statistic.
    """

    name: str
    unit: str
    offset: int
    shape: tuple[int, ...]
    trained: bool
    batch_norm: bool = False

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @property
    def variance(self) -> bool:
        """Whether it is a variance that batch norm divides by, which may not be negative."""
        return self.batch_norm and self.name.endswith(".running_var")


@dataclass(frozen=True, slots=True)
class Segment:
    """The elements of one unit: ``[start, trained_stop)`` parameters, ``[trained_stop, stop)`` buffers."""

    start: int
    trained_stop: int
    stop: int


@dataclass(frozen=True)
class Layout:
    """The order and shapes of all tensors of a model (or of some of its units) in a flat buffer."""

    entries: Mapping[str, Entry]
    segments: Mapping[str, Segment]
    size: int
    _restricted: dict[tuple[object, ...], Layout] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def build(
        cls, units: Mapping[str, list[tuple[str, tuple[int, ...], bool]]], *, batch_norm: Collection[str] = ()
    ) -> Layout:
        """From unit name to its (tensor name, shape, trained) triples, parameters before buffers.

        Args:
            units: the triples, unit by unit.
            batch_norm: names of the tensors that belong to batch-norm layers.
        """
        entries: dict[str, Entry] = {}
        segments: dict[str, Segment] = {}
        offset = 0
        for unit, tensors in units.items():
            offset = -(-offset // _ALIGNMENT) * _ALIGNMENT
            start = offset
            trained_stop = start
            for name, shape, trained in tensors:
                entries[name] = Entry(name, unit, offset, shape, trained, name in batch_norm)
                offset += prod(shape)
                if trained:
                    trained_stop = offset
            segments[unit] = Segment(start, trained_stop, offset)
        return cls(entries, segments, offset)

    @property
    def units(self) -> tuple[str, ...]:
        """Names of the units, in order."""
        return tuple(self.segments)

    @property
    def content(self) -> int:
        """Elements of the named tensors, without padding."""
        return sum(s.stop - s.start for s in self.segments.values())

    def restrict(self, units: Iterable[str], *, buffers: bool = True, without: Collection[str] = ()) -> Layout:
        """The layout of these units alone, packed, in this layout's order; units left empty are left out.

        Args:
            units: names of the units.
            buffers: whether to take their buffers.
            without: names of tensors to leave out.
        """
        wanted = set(units)
        kept = [e for e in self.entries.values() if e.unit in wanted and (buffers or e.trained)]
        kept = [e for e in kept if e.name not in without]
        if len(kept) == len(self.entries):
            return self
        key = tuple(e.name for e in kept)
        if key not in self._restricted:
            triples: dict[str, list[tuple[str, tuple[int, ...], bool]]] = {}
            for entry in kept:
                triples.setdefault(entry.unit, []).append((entry.name, entry.shape, entry.trained))
            self._restricted[key] = Layout.build(triples, batch_norm={e.name for e in kept if e.batch_norm})
        return self._restricted[key]

    def common(self, other: Layout) -> Iterator[tuple[str, slice, slice]]:
        """Where both layouts hold the same tensors: (unit, elements here, elements there).

        Neighbours that lie alike in both come as one slice, so a whole unit is one.
        """
        unit, mine, theirs, length = "", 0, 0, 0
        for entry in other.entries.values():
            here = self.entries.get(entry.name)
            if here is None:
                continue
            if entry.unit == unit and (here.offset, entry.offset) == (mine + length, theirs + length):
                length += entry.size
                continue
            if length:
                yield unit, slice(mine, mine + length), slice(theirs, theirs + length)
            unit, mine, theirs, length = entry.unit, here.offset, entry.offset, entry.size
        if length:
            yield unit, slice(mine, mine + length), slice(theirs, theirs + length)


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

    def __contains__(self, name: object) -> bool:
        return name in self.layout.entries

    @property
    def units(self) -> tuple[str, ...]:
        """Names of the units, in order."""
        return self.layout.units

    @property
    def nbytes(self) -> int:
        """Bytes of the named tensors; the padding between units does not count, and would not be sent."""
        return self.layout.content * self.flat.element_size()

    def segment(self, unit: str, *, trained_only: bool = False) -> Tensor:
        """The elements of one unit as a view."""
        s = self.layout.segments[unit]
        return self.flat[s.start : s.trained_stop if trained_only else s.stop]

    def restrict(self, units: Iterable[str], *, buffers: bool = True, without: Collection[str] = ()) -> FlatTensors:
        """A packed copy of these units, with or without their buffers, without the tensors named."""
        layout = self.layout.restrict(units, buffers=buffers, without=without)
        if layout is self.layout:
            return self.clone()
        packed = FlatTensors(layout, self.flat.new_zeros(layout.size))
        for _, here, there in self.layout.common(layout):
            packed.flat[there].copy_(self.flat[here])
        return packed

    def load(self, other: FlatTensors) -> None:
        """Overwrite the tensors that ``other`` holds with its values; the rest stays as it is.

        Raises:
            KeyError: ``other`` holds a tensor that is not here.
        """
        if other.layout is self.layout:
            self.flat.copy_(other.flat)
            return
        unknown = other.layout.entries.keys() - self.layout.entries.keys()
        if unknown:
            raise KeyError(min(unknown))
        for _, here, there in self.layout.common(other.layout):
            self.flat[here].copy_(other.flat[there])

    def buffers(self) -> dict[str, Tensor]:
        """Copies of the floating-point buffers by name."""
        return {e.name: self[e.name].clone() for e in self.layout.entries.values() if not e.trained}

    def clone(self) -> FlatTensors:
        """An independent copy."""
        return FlatTensors(self.layout, self.flat.clone())

    def zeros(self, *, buffers: bool = True) -> FlatTensors:
        """Zeros of the same layout, with or without its buffers, on the same device."""
        layout = self.layout.restrict(self.units, buffers=buffers)
        return FlatTensors(layout, self.flat.new_zeros(layout.size))

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
        if self.layout.entries.keys() - other.layout.entries.keys():
            raise ValueError(f"the tensors of units {self.units} and {other.units} do not match")
        aligned = self.zeros()
        for _, here, there in self.layout.common(other.layout):
            aligned.flat[here].copy_(other.flat[there])
        return aligned.flat


def flatten(model: nn.Module, submodules: Mapping[str, nn.Module]) -> tuple[FlatTensors, FlatTensors]:
    """Move a model's parameters, gradients and float buffers into two flat vectors, in place.

    Args:
        model: the model; afterwards its tensors are views into the first vector.
        submodules: unit of exchange -> the submodule that holds its tensors.

    Returns:
        The values and the gradients. Gradients accumulate into the second vector: zero it, never set it to None.
    """
    triples: dict[str, list[tuple[str, tuple[int, ...], bool]]] = {}
    for unit, module in submodules.items():
        named = [(f"{unit}.{n}", tuple(p.shape), True) for n, p in module.named_parameters()]
        named += [(f"{unit}.{n}", tuple(b.shape), False) for n, b in module.named_buffers() if b.is_floating_point()]
        triples[unit] = named
    layout = Layout.build(triples, batch_norm=_batch_norm(submodules))
    device = next(model.parameters()).device
    values = FlatTensors(layout, torch.zeros(layout.size, device=device))
    grads = FlatTensors(layout, torch.zeros(layout.size, device=device))
    for unit, module in submodules.items():
        for name, parameter in module.named_parameters():
            view = values[f"{unit}.{name}"]
            view.copy_(parameter.detach())
            parameter.data = view
            parameter.grad = grads[f"{unit}.{name}"]
        for name, buffer in list(module.named_buffers()):
            if buffer.is_floating_point():
                view = values[f"{unit}.{name}"]
                view.copy_(buffer)
                buffer.data = view  # the tensor itself, which another module may hold, too
    return values, grads


def _batch_norm(submodules: Mapping[str, nn.Module]) -> set[str]:
    """Names of all tensors that belong to batch-norm layers; layer, group and instance norm are none."""
    found = set()
    for unit, module in submodules.items():
        for path, layer in module.named_modules(prefix=unit):
            if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                found |= {f"{path}.{n}" for n, _ in (*layer.named_parameters(), *layer.named_buffers())}
    return found
