"""The client model: one encoder per modality, one decoder per task, on one flat buffer.

Units of exchange are named ``encoder.<modality>`` and ``decoder.<task>``. Tasks that share a modality share its
encoder (multi-task scope); a task touches its own decoder and its modalities' encoders, nothing else.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from fedmeki_bench import registry, seeds
from fedmeki_bench.data.holdings import there
from fedmeki_bench.errors import InputError
from fedmeki_bench.kinds.kind import LabelSpec
from fedmeki_bench.models.batch import Batch
from fedmeki_bench.models.encoder import Encoder, Input
from fedmeki_bench.models.flat import FlatTensors, flatten
from fedmeki_bench.models.fusion import Fusing, pooled_over
from fedmeki_bench.models.shrunk import shrunk
from fedmeki_bench.options import parse_options
from fedmeki_bench.task import TEXT

if TYPE_CHECKING:
    from fedmeki_bench.data.cohort import CohortPart


@dataclass(frozen=True, slots=True)
class Outputs:
    """What the client model says about a batch: logits and pooled features (batch, width).

    Logits are (batch,) where the task's kind has one output, such as yes or no, else (batch, outputs). A model that
    answers in words gives the summed loss of each answer in their place, (batch,), and how many tokens it has.
    """

    logits: Tensor
    features: Tensor
    tokens: Tensor | None = None


class ClientModel(nn.Module):
    """Encoders and decoders for a set of tasks.

    Args:
        tasks: task name -> its modalities; ``text`` has no encoder, the foundation model reads it.
        inputs: modality -> how its encoder takes it, see :func:`fedmeki_bench.models.inputs.inputs_of`.
        encoders: modality -> (encoder name, its parameters), from the profile.
        hidden: modality -> hidden width of the decoder behind it; absent means a single linear layer.
        labels: task name -> what its labels are, which decides what its decoder gives; absent means yes or no.
        optional: task name -> modalities that a sample may lack; its decoder learns what stands in their place.
        seed: initial weights depend on this and on the unit's name alone, so a task more or less changes no other's.
        device: where the model lives.
    """

    def __init__(
        self,
        tasks: Mapping[str, Sequence[str]],
        inputs: Mapping[str, Input],
        encoders: Mapping[str, tuple[str, Mapping[str, Any]]],
        *,
        hidden: Mapping[str, int],
        seed: int,
        labels: Mapping[str, LabelSpec] | None = None,
        optional: Mapping[str, Collection[str]] | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__()
        self.tasks = {name: tuple(m for m in modalities if m != TEXT) for name, modalities in tasks.items()}
        for name, modalities in self.tasks.items():
            if not modalities:
                raise InputError(f"task {name!r} reads text alone: clients have nothing to train an encoder on")
        self.labels = {name: (labels or {}).get(name, LabelSpec("binary")) for name in tasks}
        self.inputs = dict(inputs)
        self.encoders = nn.ModuleDict()
        self.decoders = nn.ModuleDict()
        for modality in sorted({m for ms in self.tasks.values() for m in ms}):
            with _initialised(seed, f"encoder.{modality}"):
                self.encoders[modality] = _encoder(modality, self.inputs[modality], encoders)
        for task, modalities in self.tasks.items():
            widths = {m: _as_encoder(self.encoders[m]).width for m in modalities}
            absent = {m: width for m, width in widths.items() if m in (optional or {}).get(task, ())}
            with _initialised(seed, f"decoder.{task}"):
                decoder = self.make_decoder(task, sum(widths.values()), hidden.get(modalities[0], 0))
                self.decoders[task] = Fusing(decoder, absent) if absent else decoder
        self.to(device)
        self._units = self.make_units()
        self.values, self.grads = flatten(self, self._units)
        self._single = {name: spec.how.outputs(spec) == 1 for name, spec in self.labels.items()}
        self.least = 1  # samples that a training step needs
        self.frozen: frozenset[str] = frozenset()
        self._still: frozenset[str] = frozenset()

    @property
    def held_beside(self) -> int:
        """Bytes of weights that a client needs beside these to train, and that are never trained or sent."""
        return 0

    @property
    def device(self) -> torch.device:
        """Where the model lives."""
        return self.values.flat.device

    def make_decoder(self, task: str, width: int, hidden: int) -> nn.Module:
        """What reads the features (batch, width) of a task, with a layer of ``hidden`` features in between unless 0."""
        spec = self.labels[task]
        return _decoder(width, hidden, spec.how.outputs(spec))

    def make_units(self) -> dict[str, nn.Module]:
        """Unit of exchange -> the module that holds its tensors; called once, when encoders and decoders are there."""
        return {f"encoder.{m}": e for m, e in self.encoders.items()} | {
            f"decoder.{t}": d for t, d in self.decoders.items()
        }

    def targets(self, part: CohortPart) -> Tensor:
        """What the loss compares with, of all samples of a part."""
        return torch.from_numpy(part.targets)

    def batch(self, task: str, part: CohortPart, index: np.ndarray, labels: Tensor) -> Batch:
        """The samples at ``index`` of a part as a training step takes them.

        Args:
            labels: of all samples of the part, as the task's kind compares with them.
        """
        places = torch.from_numpy(index)
        return Batch(task, self.read(part, index), labels[places].to(self.device), places)

    def read(self, part: CohortPart, index: np.ndarray) -> dict[str, Tensor]:
        """What :meth:`to_inputs` gives of the samples at ``index`` of a part; pictures are shrunk once per cohort."""
        small = {m: shrunk(part.cohort, _as_encoder(e), self.inputs[m], self.device) for m, e in self.encoders.items()}
        kept = {modality: found for modality, found in small.items() if found is not None}
        inputs = self.to_inputs(part.batch(index, leaving=kept))
        for modality, found in kept.items():
            rows, present = part.arrays_at(modality, index)
            inputs[modality] = found.take(rows, _as_encoder(self.encoders[modality]))
            if present is not None:
                inputs[there(modality)] = torch.from_numpy(present).to(self.device)
        return part.altered(inputs)

    def loss(self, outputs: Outputs, batch: Batch) -> Tensor:
        """The mean loss of a batch under the kind of its task, a scalar."""
        return self.labels[batch.task].how.loss(outputs.logits, batch.labels)

    def imitation(self, outputs: Outputs, wanted: Tensor, task: str) -> Tensor:
        """How far outputs are from another model's logits, as the task's kind compares them, a scalar."""
        how = self.labels[task].how
        return how.loss(outputs.logits, how.soft(wanted))

    def units(self, task: str, lacking: Collection[str] = ()) -> tuple[str, ...]:
        """The units of exchange that a task uses, less the frozen ones, which are neither trained nor sent.

        Args:
            task: its name.
            lacking: modalities that are absent from all samples in question, which therefore use no such encoder.
        """
        encoders = (f"encoder.{m}" for m in self.tasks[task] if m not in lacking)
        return tuple(u for u in (*encoders, f"decoder.{task}") if u not in self.frozen)

    def columns(self, task: str) -> dict[str, slice]:
        """Modality -> its columns of :attr:`Outputs.features`, in the order in which the decoder reads them.

        Where a sample lacks the modality these hold what the decoder has learned in its place;
        ``CohortPart.having`` says which samples have it.
        """
        found, start = {}, 0
        for modality in self.tasks[task]:
            stop = start + _as_encoder(self.encoders[modality]).width
            found[modality], start = slice(start, stop), stop
        return found

    def freeze(self, units: Iterable[str]) -> None:
        """Leave these units as they are from now on: no gradient, no batch-norm statistic and no dropout.

        Everybody holds them from the start, so they are no units of exchange any more.
        """
        self.frozen = self.frozen.union(units)
        for unit in self.frozen:
            self._units[unit].requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> ClientModel:
        """As ever, but that units which stand still stay in evaluation mode."""
        super().train(mode)
        for unit in self.frozen | self._still:
            self._units[unit].eval()
        return self

    @contextmanager
    def standing_still(self, units: Collection[str]) -> Iterator[None]:
        """Inside, these units take no gradient, move no batch-norm statistic and drop nothing out."""
        if not units:
            yield
            return
        moving = [p for unit in units for p in self._units[unit].parameters() if p.requires_grad]
        self._still = frozenset(units)
        for parameter in moving:
            parameter.requires_grad_(False)
        self.train(self.training)
        try:
            yield
        finally:
            self._still = frozenset()
            for parameter in moving:
                parameter.requires_grad_(True)
            self.train(self.training)

    def parameters_of(self, task: str, lacking: Collection[str] = ()) -> dict[str, nn.Parameter]:
        """The parameters of :meth:`units` by name: the mapping a rule's ``local_loss`` gets."""
        return {f"{u}.{n}": p for u in self.units(task, lacking) for n, p in self._units[u].named_parameters()}

    def to_inputs(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Stored arrays (batch, *shape) -> physical float32 tensors on the model's device.

        Where samples have several arrays of a modality, or none, stored as (batch, K, *shape), those that are there
        follow one another, (present, *shape), and ``<modality>_there`` (batch, K) says whose they are.
        """
        inputs = {}
        for modality, array in batch.items():
            if modality not in self.encoders:
                continue
            encoder, taken, lengths = _as_encoder(self.encoders[modality]), self.inputs[modality], batch.get("hours")
            present = batch.get(there(modality))
            if present is not None:
                inputs[there(modality)] = torch.from_numpy(present).to(self.device)
                array = array[present]
                lengths = None if lengths is None else np.repeat(lengths, present.sum(axis=1))
                if not len(array):
                    inputs[modality] = torch.zeros((0, *taken.shape), device=self.device)
                    continue
            inputs[modality] = encoder.to_input(array, taken, lengths=lengths, device=self.device)
        return inputs

    def forward(self, task: str, inputs: Mapping[str, Tensor]) -> Outputs:
        """Outputs of one task on what :meth:`to_inputs` gave, per modality.

        Features of several modalities are joined. Of several arrays of one modality the mean counts; what the decoder
        has learned stands in the place of an absent modality.
        """
        features = self.features(task, inputs)
        logits = self.decoders[task](features)
        return Outputs(logits.squeeze(-1) if self._single[task] else logits, features)

    def head(self, task: str) -> nn.Module:
        """What reads a task's features, without what stands there for absent modalities."""
        decoder = self.decoders[task]
        return decoder.head if isinstance(decoder, Fusing) else decoder

    def features(self, task: str, inputs: Mapping[str, Tensor]) -> Tensor:
        """The features that a task's decoder reads, (batch, width)."""
        decoder = self.decoders[task]
        pooled = []
        for modality in self.tasks[task]:
            encoder, present = _as_encoder(self.encoders[modality]), inputs.get(there(modality))
            if present is None:
                pooled.append(encoder.pooled(inputs[modality]))
            else:
                absent = decoder.absent_of(modality) if isinstance(decoder, Fusing) else None
                pooled.append(pooled_over(encoder, inputs[modality], present, absent))
        return pooled[0] if len(pooled) == 1 else torch.cat(pooled, dim=-1)

    def functional(
        self, values: Mapping[str, Tensor], task: str, inputs: Mapping[str, Tensor], *, training: bool = False,
        dropout: int | None = None,
    ) -> Outputs:  # fmt: skip
        """The same computation with another set of weights (a previous model, the received one), without side effects.

        Buffers are copied first, so that no batch-norm statistic moves, here or in ``values``; what ``values`` lacks is
        taken from this model. The mode of every layer and the global random stream are afterwards as they were.

        Args:
            values: parameters and buffers by name.
            training: as in a training step, with batch statistics and dropout; by default as a model is scored.
            dropout: seed of the dropout masks; drawn from the global stream's present state if not given.
        """
        renamed = {_attribute(name): values[name] for name in values}
        renamed |= {name: renamed.get(name, buffer).clone() for name, buffer in self.named_buffers()}
        modes = [(module, module.training) for module in self.modules()]
        devices = [self.device] if self.device.type == "cuda" else []
        try:
            self.train(training)
            with torch.random.fork_rng(devices=devices):
                if dropout is not None:
                    seeds.restart(self.device, dropout)
                result: Outputs = torch.func.functional_call(self, renamed, (task, inputs), strict=False)
        finally:
            for module, mode in modes:
                module.training = mode
        return result

    def load(self, values: FlatTensors) -> None:
        """Overwrite the units that ``values`` holds."""
        with torch.no_grad():
            self.values.load(values)


def _attribute(name: str) -> str:
    """``encoder.image.layers.0.weight`` -> the attribute path inside the module."""
    kind, rest = name.split(".", 1)
    return f"{kind}s.{rest}"


def _as_encoder(module: nn.Module) -> Encoder:
    assert isinstance(module, Encoder)
    return module


def _encoder(modality: str, stored: Input, encoders: Mapping[str, tuple[str, Mapping[str, Any]]]) -> Encoder:
    if modality not in encoders:
        raise InputError(f"the profile names no encoder for the modality {modality!r}")
    name, options = encoders[modality]
    cls = registry.load("encoders", name)
    encoder = cls(stored.shape, parse_options(cls.Params, options, owner=f"encoder {name}"))
    assert isinstance(encoder, Encoder)
    return encoder


def _decoder(width: int, hidden: int, outputs: int) -> nn.Module:
    if hidden:
        return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, outputs))
    return nn.Linear(width, outputs)


class _initialised:
    """Build a unit from its own random stream and leave the global one as it was."""

    def __init__(self, seed: int, unit: str) -> None:
        self._seed = seeds.derive(seed, "init", unit)
        self._fork = torch.random.fork_rng(devices=[])

    def __enter__(self) -> None:
        self._fork.__enter__()
        torch.manual_seed(self._seed)

    def __exit__(self, *exc: object) -> None:
        self._fork.__exit__(*exc)  # type: ignore[arg-type]
