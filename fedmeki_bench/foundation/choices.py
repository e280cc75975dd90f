"""What an injection is made of, as plain values: what is trained inside the foundation model, and how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class AdapterChoice:
    """Which adapters: none (FedPlug), lora (FedPlug_L) or m3oe (FedKIM), and their sizes.

    ``gate`` is ``learned``, ``uniform`` or ``oracle`` (one expert per context); ``use_task`` and ``use_modality`` are
    false in FedKIM's ablations. ``normalise`` centres and normalises what the gate reads, ``top_k`` keeps its largest
    weights only; ``routing`` and ``balance`` weigh the terms of :meth:`Injected.routing_loss`.
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


@dataclass(frozen=True, slots=True)
class InjectionTraining:
    """How the way in is trained; the defaults are the papers' and their code's.

    Attributes:
        epochs: passes over the public data per round; 0 trains nothing.
        optimizer: ``adamw`` or ``adam``, see ``OPTIMISERS`` in :mod:`fedmeki_bench.foundation.training`.
        lr, betas, eps, weight_decay: the optimiser's.
        warmup: share of all steps over which the rate rises; it decays linearly afterwards.
        micro_batch, accumulation: samples per forward pass, forward passes per step.
        clip: largest gradient norm.
        frozen: modalities whose encoder injection leaves as it is.
        answers: ``own``, or ``shuffled`` among the public samples of a task: a control.
    """

    epochs: int = 1
    optimizer: str = "adamw"
    lr: float = 5e-4
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-6
    weight_decay: float = 1e-4
    warmup: float = 0.1
    micro_batch: int = 4
    accumulation: int = 4
    clip: float = 1.0
    frozen: tuple[str, ...] = ()
    answers: Literal["own", "shuffled"] = "own"
