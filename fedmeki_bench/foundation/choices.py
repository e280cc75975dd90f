"""What an injection is made of, as plain values: which foundation model, what is trained inside it, and how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, Field

from fedmeki_bench.options import later


@dataclass(frozen=True, slots=True)
class AdapterChoice:
    """Which adapters: none (FedPlug), lora (FedPlug_L) or m3oe (FedKIM), and their sizes.

    ``gate`` is ``learned``, ``uniform`` or ``oracle`` (one expert per context); ``use_task`` and ``use_modality`` are
    false in FedKIM's ablations. ``normalise`` centres and normalises what the gate reads, ``top_k`` keeps its largest
    weights only; ``routing`` and ``balance`` weigh the terms of :meth:`Injected.routing_loss`. With ``absorbs``
    finished adapters stay behind in a matrix per layer (one LoRA only).
    """

    kind: Literal["none", "lora", "m3oe"] = "none"
    rank: int = 8
    alpha: float = 32.0
    dropout: float = 0.1
    experts: int = 12
    gate: Literal["learned", "uniform", "oracle"] = "learned"
    use_task: bool = True
    use_modality: bool = True
    normalise: bool = False
    top_k: int = 0
    routing: float = 0.0
    balance: float = 0.0
    init: Literal["lora", "published"] = "lora"
    absorbs: bool = False


class FoundationModel(BaseModel):
    """Which foundation model, and how it is asked; part of a stage's parameters."""

    foundation: str = Field("tiny", description="F: 'tiny', or a causal LM: its folder, GGUF file or name")
    scale_soft: bool = Field(True, description="start soft tokens at the size of F's embeddings; published: false")
    direct: tuple[str, ...] = Field(
        (), description="modalities whose encoder ends in F's space, without projector; published: signal, clinical"
    )
    gradient_checkpointing: bool = Field(False, description="recompute F's layers in the backward pass")
    trust_remote_code: bool = Field(False, description="run the Python code that comes with F")
    prompt_format: str = later(
        "plain", since="0.1.0", pattern="^(plain|chat|published)$",
        description="how F is asked: plain text, its own chat template, or the published dialogue markers",
    )  # fmt: skip
    wording: int = later(
        0, since="0.2", ge=0, description="in which of each task's wordings F is trained and asked; 0: its own prompt"
    )  # fmt: skip
    variants: bool = later(
        False, since="0.2",
        description="ask the test questions also in every other wording, bare, and with swapped and blank arrays",
    )  # fmt: skip
    latents: int = later(
        0, since="0.1.0", ge=0, le=1024,
        description="soft tokens per array, made by a resampler in its projector; 0: as many as the encoder gives",
    )  # fmt: skip


class InjectionTraining(BaseModel):
    """How encoders, projectors, adapters and gate are trained; the defaults are the papers' and their code's."""

    epochs: int = Field(1, ge=0, le=1000, description="passes over the public data per round; 0 trains nothing")
    lr: float = Field(5e-4, gt=0, description="learning rate of encoders, projectors, adapters and gate")
    optimizer: Literal["adamw", "adam"] = Field(
        "adamw", description="adamw: decay beside the gradient, as published; adam: L2 penalty inside the gradient"
    )
    betas: tuple[float, float] = Field((0.9, 0.95), description="the optimiser's betas")
    eps: float = Field(1e-6, gt=0, description="the optimiser's epsilon")
    weight_decay: float = Field(1e-4, ge=0, description="weight decay")
    moments: Literal["kept", "fresh"] = Field(
        "kept", description="the optimiser's state of projectors, adapters and gate from round to round"
    )
    warmup: float = Field(
        0.1, ge=0, lt=1, description="share of all steps with rising learning rate, then linear decay"
    )
    micro_batch: int = Field(4, ge=1, description="samples per forward pass")
    accumulation: int = Field(4, ge=1, description="forward passes per optimiser step")
    clip: float = Field(1.0, gt=0, description="largest gradient norm")
    frozen: tuple[str, ...] = Field(
        (), description="modalities whose encoder injection leaves as it is; published: image"
    )
    answers: Literal["own", "shuffled"] = Field("own", description="shuffled: a control, answers of other samples")
