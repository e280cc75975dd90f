"""What a large foundation model needs: parameters of adapters and memory, from shapes alone (the meta device)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from fedmeki_bench.foundation.targets import EVERYTHING, kind_of, layers_of

# InternLM2-7B's shapes (the base of MMedLM-2) as a Llama configuration: same sizes, q, k, v apart instead of fused.
INTERNLM2_7B = {
    "model_type": "llama", "vocab_size": 92544, "hidden_size": 4096, "intermediate_size": 14336,
    "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "max_position_embeddings": 32768,
    "tie_word_embeddings": False,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class AdapterParameters:
    """Numbers of parameters: the base model's, the adapters' per kind of layer, and of adapted layers."""

    base: int
    attention: int
    mlp: int
    head: int
    layers: int

    @property
    def total(self) -> int:
        """All trainable numbers in the adapters."""
        return self.attention + self.mlp + self.head


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of one training step, by what they hold."""

    weights: int
    adapters: int
    checkpoints: int
    layer: int
    logits: int

    @property
    def total(self) -> int:
        """All of it, without the allocator's slack, the encoders and the framework's own."""
        return self.weights + self.adapters + self.checkpoints + self.layer + self.logits


def adapter_parameters(
    config: Any, *, rank: int = 8, experts: int = 1, targets: str = EVERYTHING, fused_qkv: bool = False
) -> AdapterParameters:
    """Count the adapters a model of that configuration would get, without building it.

    Args:
        config: a transformers configuration, or a dictionary with ``model_type`` (see ``INTERNLM2_7B``).
        rank: r per expert.
        experts: P.
        targets: as for :class:`Adapters`.
        fused_qkv: count q, k and v of a layer as one fused layer, as InternLM2 has them: A is then shared.
    """
    model = _on_meta(config)
    counts = {"attention": 0, "mlp": 0, "head": 0}
    found = layers_of(model, targets)
    width = rank * experts
    fused = 0
    for path, layer in found.items():
        kind = "head" if layer is model.get_output_embeddings() else kind_of(path)
        part_of_fused = fused_qkv and path.endswith((".k_proj", ".v_proj"))
        fused += part_of_fused
        counts[kind] += width * (layer.out_features + (0 if part_of_fused else layer.in_features))
    base = sum(p.numel() for p in model.parameters())
    return AdapterParameters(base, **counts, layers=len(found) - fused)


def training_memory(
    config: Any, *, rank: int = 8, experts: int = 12, batch: int = 4, tokens: int = 320, answer_tokens: int = 8
) -> Memory:
    """Estimated bytes of one training step with gradient checkpointing and adapters on everything.

    Weights and activations in bfloat16; adapters in float32 with gradient and two Adam moments (16 bytes a number);
    one checkpoint of (batch, tokens, hidden) per layer; the activations of one layer while it is recomputed; float32
    logits of the answer tokens with their gradient. Attention without a stored score matrix.

    Args:
        config: as in :func:`adapter_parameters`.
        rank: r per expert.
        experts: P.
        batch: rows of a micro-batch.
        tokens: length of a row: soft tokens, prompt and answer.
        answer_tokens: tokens of an answer with EOS.
    """
    model = _on_meta(config)
    settings = model.config
    adapters = adapter_parameters(config, rank=rank, experts=experts)
    rows, hidden, inner = batch * tokens, settings.hidden_size, settings.intermediate_size
    heads_dim = hidden // settings.num_attention_heads
    keys = settings.num_key_value_heads * heads_dim
    # kept by autograd for one layer (numbers a token): two norms (in, out), q k v with and without rotation,
    # attention's output, gate, up, their activation and product, rank space, and what the adapters read after dropout:
    # 4 inputs, each with a mask of a byte an element
    read = 3 * hidden + inner + (3 * hidden + inner) // 2
    numbers = 4 * hidden + 2 * (hidden + 2 * keys) + hidden + 4 * inner + read + 7 * rank * experts
    return Memory(
        weights=2 * adapters.base,
        adapters=16 * adapters.total,
        checkpoints=2 * settings.num_hidden_layers * rows * hidden,
        layer=2 * rows * numbers,
        logits=2 * 4 * batch * answer_tokens * settings.vocab_size,
    )


def _on_meta(config: Any) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    if isinstance(config, dict):
        options = {key: value for key, value in config.items() if key != "model_type"}
        config = AutoConfig.for_model(config["model_type"], **options)
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)
