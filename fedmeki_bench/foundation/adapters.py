"""LoRA and the mixture of LoRA experts (M3OE), one implementation: LoRA is one expert with gate 1.

Every adapted linear layer gives ``c = W h + (alpha / r) sum_p gate_p B_p A_p h`` with W frozen (FedKIM,
arXiv 2408.10276; LoRA, arXiv 2106.09685). The gate depends on the task alone, so it is one vector per forward
pass and the P experts of rank r are one LoRA of rank P r whose rank-space activations carry the gate. It is
computed that way, merged that way, and exported as an ordinary PEFT adapter. Layers that read the same tensor (q, k
and v; gate and up) share its dropout and one product with all their A, and B's product is added in place.

FedKIM's published code computes alpha / r and never applies it; here it is applied. FedKIM's gate sums to one, so
at a uniform gate each of the P experts acts with strength 1/P.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from fedmeki_bench import seeds
from fedmeki_bench.errors import InputError
from fedmeki_bench.foundation.language import Language
from fedmeki_bench.foundation.targets import EVERYTHING, adapted_layers, reading_together


class LowRank(nn.Module):
    """The P experts of one linear layer: A (P r, in) and B (out, P r), expert p in rows/columns p r to (p + 1) r.

    ``W`` (out, in) is what earlier adapters have left behind, where they are absorbed; else None.
    """

    def __init__(self, layer: nn.Linear, rank: int, experts: int, dtype: torch.dtype, *, absorbs: bool = False) -> None:
        super().__init__()
        device = layer.weight.device
        self.A = nn.Parameter(torch.empty(experts * rank, layer.in_features, dtype=dtype, device=device))
        self.B = nn.Parameter(torch.zeros(layer.out_features, experts * rank, dtype=dtype, device=device))
        left = torch.zeros(layer.weight.shape, dtype=dtype, device=device) if absorbs else None
        self.register_buffer("W", left)

    W: Tensor | None

    def gated(self, gate: Tensor, scale: float) -> Tensor:
        """A with each expert's rows times its gate and the scale alpha / r, (P r, in).

        Gating A instead of the activations A h is the same sum; it touches P r x in numbers instead of P r per
        token, and autograd need not keep A h for the gate's gradient.
        """
        weights = (gate.to(self.A) * scale).repeat_interleave(len(self.A) // len(gate))
        return self.A * weights.unsqueeze(1)

    def delta(self, gate: Tensor, scale: float) -> Tensor:
        """What the experts, and what was absorbed, add to the weight, (out, in)."""
        added = self.B @ self.gated(gate, scale)
        return added if self.W is None else added + scale * gate.to(self.W)[0] * self.W


class _AddProduct(torch.autograd.Function):
    """``output + inner B^T`` written into ``output``, a layer's fresh result; autograd's own form would copy it.

    Shapes: output (..., out), inner (tokens, P r), B (out, P r).
    """

    @staticmethod
    def forward(ctx: Any, output: Tensor, inner: Tensor, b: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(inner, b)
        ctx.mark_dirty(output)
        output.view(-1, output.shape[-1]).addmm_(inner, b.t())
        return output

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:  # type: ignore[override]
        inner, b = ctx.saved_tensors
        rows = grad.flatten(0, -2)
        wanted = ctx.needs_input_grad
        return grad, rows @ b if wanted[1] else None, rows.t() @ inner if wanted[2] else None


class Adapters(nn.Module):
    """Low-rank experts beside the linear layers of a frozen language model.

    The base modules and their weights stay as they are: forward hooks add the experts' part. Dropout draws from
    torch's global generator; it is active in training mode where gradients are recorded, and never in evaluation.
    Layers that read the same tensor see it with the same elements dropped, as a fused query-key-value layer does.

    Args:
        language: the model to adapt.
        rank: r, per expert.
        alpha: LoRA's alpha; the experts' sum is multiplied by alpha / r.
        dropout: on the experts' input h.
        experts: P; 1 is plain LoRA.
        targets: ``attention``, ``mlp``, ``head`` joined by ``+``; linear layers are found by type.
        seed: initial A; an expert's depends on this, the layer's name and its own number alone. B starts at 0.
        init: A's bound, ``lora``'s 1/sqrt(in), or 1/sqrt(in r) as FedKIM's published code has it.
        dtype: type of A and B; the arithmetic runs in the base model's type.
        absorbs: each layer also has a matrix W of its own size, which takes in the adapters of finished rounds; it acts
            with the same factor alpha / r. Of one expert alone.

    Raises:
        InputError: the model has no linear layer of the named kinds.
    """

    def __init__(
        self,
        language: Language,
        *,
        rank: int = 8,
        alpha: float = 32.0,
        dropout: float = 0.1,
        experts: int = 1,
        targets: str = EVERYTHING,
        seed: int = 0,
        init: Literal["lora", "published"] = "lora",
        dtype: torch.dtype = torch.float32,
        absorbs: bool = False,
    ) -> None:
        super().__init__()
        self.rank, self.alpha, self.dropout, self.experts = rank, alpha, dropout, experts
        self.layers = adapted_layers(language, targets)
        self.low_rank = nn.ModuleDict()
        for name, layer in self.layers.items():
            low = LowRank(layer, rank, experts, dtype, absorbs=absorbs)
            _initialise(low.A, rank, seed, name, narrow=init == "published")
            self.low_rank[_key(name)] = low
        self._name = language.name
        self._gate: Tensor | None = torch.ones(1) if experts == 1 else None
        self._idle = False
        self._followers = {group[0]: group[1:] for group in reading_together(language, self.layers)}
        self._ahead: dict[str, tuple[Tensor, Tensor]] = {}  # layer -> the input its leader read, its A h
        self._handles = [layer.register_forward_hook(self._hook(name)) for name, layer in self.layers.items()]
        self._recompute = language.recompute
        self._recompute.append(self._again)

    # `layers` holds the base model's modules: a plain dict, so that they are no parameters of the adapters
    layers: dict[str, nn.Linear]

    @property
    def scale(self) -> float:
        """alpha / r."""
        return self.alpha / self.rank

    @contextmanager
    def gated(self, gate: Tensor) -> Iterator[None]:
        """Forward passes inside use this gate, (P,); gradients flow to it.

        The backward pass may run outside: recomputed layers see the gate of their own forward pass. One expert
        needs no gate (it is 1); several have none until this is entered.
        """
        before, self._gate = self._gate, self._checked(gate)
        try:
            yield
        finally:
            self._gate = before

    @contextmanager
    def merged(self, gate: Tensor | None = None) -> Iterator[None]:
        """Inside, the experts are part of the weights: the speed of the base model. For evaluation.

        The layers hold new weights W + delta meanwhile and get their own parameter objects back at the end, so the
        original bits cannot change; a head tied to the embedding is merged without touching the embedding. Costs a
        second copy of the adapted weights while it lasts. Equal to unmerged up to rounding (in the base's type).

        Args:
            gate: (P,); None uses the gate in force.
        """
        used = self._current() if gate is None else self._checked(gate)
        original = {name: layer.weight for name, layer in self.layers.items()}
        try:
            with torch.no_grad():
                for name, layer in self.layers.items():
                    delta = self._low(name).delta(used, self.scale)
                    wide = layer.weight.to(torch.promote_types(layer.weight.dtype, delta.dtype)) + delta
                    layer.weight = nn.Parameter(wide.to(layer.weight.dtype), requires_grad=False)
            self._idle = True
            yield
        finally:
            self._idle = False
            for name, layer in self.layers.items():
                layer.weight = original[name]

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Inside, the model computes as if it had no adapters, whatever they hold."""
        before, self._idle = self._idle, True
        try:
            yield
        finally:
            self._idle = before

    def detach(self) -> None:
        """Take the adapters off the model for good; calling it twice is harmless."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        if self._again in self._recompute:
            self._recompute.remove(self._again)

    def expert(self, layer: str, number: int) -> tuple[Tensor, Tensor]:
        """A_p (r, in) and B_p (out, r) of one expert of the named layer."""
        low, span = self._low(layer), slice(number * self.rank, (number + 1) * self.rank)
        return low.A[span], low.B[:, span]

    def export_peft(self, folder: Path, gate: Tensor | None = None) -> None:
        """Write adapter_config.json and adapter_model.safetensors, which the peft library loads onto the base model.

        The experts become one LoRA of rank P r with the gate folded into B; lora_alpha = alpha P, so that peft's
        lora_alpha / r is this adapter's alpha / r.
        """
        from safetensors.torch import save_file

        if any(self._low(name).W is not None for name in self.layers):
            raise InputError("adapters that absorb earlier ones are no LoRA that peft could read")
        used = self._current() if gate is None else self._checked(gate)
        tensors: dict[str, Tensor] = {}
        for name in self.layers:
            low = self._low(name)
            weights = used.detach().to(low.B).repeat_interleave(self.rank)
            tensors[f"base_model.model.{name}.lora_A.weight"] = low.A.detach().cpu().contiguous()
            tensors[f"base_model.model.{name}.lora_B.weight"] = (low.B.detach() * weights).cpu().contiguous()
        settings: dict[str, Any] = {
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "base_model_name_or_path": self._name,
            "inference_mode": True,
            "r": self.experts * self.rank,
            "lora_alpha": self.alpha * self.experts,
            "lora_dropout": self.dropout,
            "target_modules": list(self.layers),
            "bias": "none",
            "fan_in_fan_out": False,
        }
        folder.mkdir(parents=True, exist_ok=True)
        save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
        (folder / "adapter_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")

    def _low(self, name: str) -> LowRank:
        return self.low_rank[_key(name)]  # type: ignore[return-value]

    def _hook(self, name: str) -> Any:
        low = self._low(name)

        def add(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
            if self._idle:
                return None
            read, inner = self._ahead.pop(name, (None, None))
            if inner is None or read is not inputs[0]:
                inner = self._inner(name, inputs[0])
            added: Tensor = _AddProduct.apply(output, inner, low.B.to(output.dtype))
            if low.W is None:
                return added
            left = (self._current()[0].to(low.W) * self.scale) * low.W
            return added + functional.linear(inputs[0], left.to(inputs[0].dtype))

        return add

    def _inner(self, name: str, read: Tensor) -> Tensor:
        """A h of a layer with gate and scale, (tokens, P r); and of those that will read the same input, put aside."""
        names = (name, *self._followers.get(name, ()))
        gate = self._current()
        drop = self.dropout if self.training and torch.is_grad_enabled() else 0.0
        h, kept = _dropped(read, drop)
        a = [self._low(each).gated(gate, self.scale / kept) for each in names]
        together = (torch.cat(a) if len(a) > 1 else a[0]).to(h.dtype)  # (layers P r, in)
        own, *others = functional.linear(h, together).flatten(0, -2).split(len(a[0]), dim=1)
        self._ahead = {each: (read, inner) for each, inner in zip(names[1:], others, strict=True)}
        return own

    def _current(self) -> Tensor:
        if self._gate is None:
            raise RuntimeError(f"{self.experts} experts and no gate; wrap the forward pass in adapters.gated(gate)")
        return self._gate

    def _checked(self, gate: Tensor) -> Tensor:
        if gate.shape != (self.experts,):
            raise ValueError(f"a gate of shape {tuple(gate.shape)} for {self.experts} experts")
        return gate

    def _again(self) -> AbstractContextManager[None]:
        """The gate now in force, for a layer's second forward pass under gradient checkpointing."""
        gate = self._gate

        @contextmanager
        def same() -> Iterator[None]:
            before, self._gate = self._gate, gate
            try:
                yield
            finally:
                self._gate = before

        return same()


def _dropped(h: Tensor, p: float) -> tuple[Tensor, float]:
    """h with elements set to 0 at random, and what it must be divided by for its mean to stay.

    On a CPU torch's own dropout takes longer than the experts' products; here four elements share one draw of 64
    bits, so that p is met to within 2^-17.
    """
    if p == 0.0:
        return h, 1.0
    if h.device.type != "cpu":
        return functional.dropout(h, p), 1.0  # scaled already
    dropped = round(p * 2**16)
    draws = torch.empty((h.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    keep = draws.view(torch.int16)[: h.numel()].view(h.shape) >= dropped - 2**15
    return h * keep, 1.0 - dropped / 2**16


def _key(name: str) -> str:
    return name.replace(".", "/")  # module names hold no dots


@torch.no_grad()
def _initialise(a: Tensor, rank: int, seed: int, name: str, *, narrow: bool) -> None:
    """LoRA's start: each expert's A uniform in +-1/sqrt(in) (Kaiming with a = sqrt 5); narrow: +-1/sqrt(in r)."""
    bound = 1.0 / math.sqrt(a.shape[1] * (rank if narrow else 1))
    for expert, rows in enumerate(a.split(rank)):
        stream = torch.Generator().manual_seed(seeds.derive(seed, "adapters", name, expert))
        rows.copy_(torch.empty(rows.shape).uniform_(-bound, bound, generator=stream))
