"""Which linear layers of a causal LM get adapters: found by module type, no architecture assumed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from fedmeki_bench.errors import InputError, nearest
from fedmeki_bench.foundation.language import Language

KINDS = ("attention", "mlp", "head")
EVERYTHING = "attention+mlp+head"


def adapted_layers(language: Language, targets: str = EVERYTHING) -> dict[str, nn.Linear]:
    """Name in the model -> layer: every ``nn.Linear`` inside the decoder layers of the named kinds, and the LM head.

    A fused query-key-value projection (GPT-NeoX, InternLM2) is one layer. A layer below a module with "attn" or
    "attention" in its name is of kind attention, any other in a decoder layer mlp. Fused experts of sparse models
    are no linear layers and stay without adapters.

    Raises:
        InputError: a kind is unknown, or the model has no such layer.
    """
    return layers_of(language.model, targets, name=language.name)


def layers_of(model: Any, targets: str, *, name: str = "") -> dict[str, nn.Linear]:
    """See :func:`adapted_layers`; works on a model on the meta device too."""
    kinds = [kind.strip() for kind in targets.split("+")]
    for kind in kinds:
        if kind not in KINDS:
            raise InputError(f"unknown kind of layer '{kind}' in targets '{targets}'; {nearest(kind, KINDS)}")
    found: dict[str, nn.Linear] = {}
    stack, layers = _decoder_layers(model, name)
    for path, module in layers.named_modules(prefix=stack):
        if isinstance(module, nn.Linear) and kind_of(path.removeprefix(stack)) in kinds:
            found[path] = module
    head = model.get_output_embeddings()
    if "head" in kinds and isinstance(head, nn.Linear):
        found[next(path for path, module in model.named_modules() if module is head)] = head
    if not found:
        raise InputError(f"the foundation model '{name}' has no linear layer for targets '{targets}'")
    return found


def reading_together(language: Language, layers: Mapping[str, nn.Linear]) -> list[tuple[str, ...]]:
    """The layers in groups that read the same tensor, in the order they run: q, k and v; gate and up.

    Found by running one token through the model, so that no architecture is assumed.
    """
    read: list[tuple[Tensor, list[str]]] = []  # holds the tensors, so that an object is met once

    def note(name: str) -> Any:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            if read and read[-1][0] is inputs[0]:
                read[-1][1].append(name)
            else:
                read.append((inputs[0], [name]))

        return hook

    handles = [layer.register_forward_pre_hook(note(name)) for name, layer in layers.items()]
    try:
        with torch.no_grad():
            language.model(input_ids=torch.zeros((1, 1), dtype=torch.long, device=language.device), use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    return [tuple(names) for _, names in read]


def kind_of(path: str) -> str:
    """``attention`` or ``mlp``, from a layer's path inside the decoder layers."""
    return "attention" if any("attn" in part or "attention" in part for part in path.split(".")[:-1]) else "mlp"


def _decoder_layers(model: Any, name: str) -> tuple[str, nn.ModuleList]:
    """The list of decoder layers: the outermost ModuleList as long as the config says."""
    depth = model.config.get_text_config().num_hidden_layers
    for path, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == depth:
            return path, module
    raise InputError(f"no list of {depth} decoder layers found in the foundation model '{name}'")
