"""FedKIM's gate over the experts, and the uniform gate that replaces it in ablations.

FedKIM (arXiv 2408.10276): with emb(M) and emb(T) the foundation model's token embeddings of the modality's and the
task's description,

    beta  = softmax((W_q emb(M)) (W_k emb(T))^T / sqrt(d)) W_v emb(T)
    alpha = softmax(MLP(pool(beta)))  in R^P

One vector per task, shared by all layers. It sums to one, as in the paper: at a uniform gate each of P experts acts
with strength 1/P, so the mixture starts weaker than one LoRA of the same rank and scale.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from fedmeki_bench import seeds


class Gate(nn.Module):
    """The attention gate of FedKIM.

    Args:
        hidden_size: width H of the foundation model's embeddings.
        experts: P.
        dim: d, width of queries, keys and values and of the MLP's hidden layer.
        seed: initial weights.
        use_task: false is the ablation without task description: one learned constant vector stands for emb(T).
            Attention then has a single place to look at, so the gate is one learned vector for all tasks and, by
            the formula, for all modalities.
        use_modality: false is the ablation without modality description, likewise for emb(M).
    """

    def __init__(
        self,
        hidden_size: int,
        experts: int,
        *,
        dim: int = 64,
        seed: int = 0,
        use_task: bool = True,
        use_modality: bool = True,
    ) -> None:
        super().__init__()
        self.experts, self.dim = experts, dim
        self.W_q = _linear(hidden_size, dim, seed, "q", bias=False)
        self.W_k = _linear(hidden_size, dim, seed, "k", bias=False)
        self.W_v = _linear(hidden_size, dim, seed, "v", bias=False)
        self.mlp = nn.Sequential(_linear(dim, dim, seed, "hidden"), nn.ReLU(), _linear(dim, experts, seed, "alpha"))
        self.no_task = None if use_task else _constant(hidden_size, seed, "task")
        self.no_modality = None if use_modality else _constant(hidden_size, seed, "modality")

    def forward(self, modality: Tensor, task: Tensor) -> Tensor:
        """alpha (P,) from the embedded modality description (Lm, H) and task description (Lt, H)."""
        m = modality if self.no_modality is None else self.no_modality
        t = task if self.no_task is None else self.no_task
        q, k, v = (w(x.to(w.weight)) for w, x in ((self.W_q, m), (self.W_k, t), (self.W_v, t)))
        beta = torch.softmax(q @ k.T / math.sqrt(self.dim), dim=-1) @ v  # (Lm, d)
        return torch.softmax(self.mlp(beta.mean(dim=0)), dim=-1)


class UniformGate(nn.Module):
    """1/P for every expert, whatever the task; nothing to learn. With one expert it is plain LoRA's gate."""

    def __init__(self, experts: int) -> None:
        super().__init__()
        self.experts = experts

    def forward(self, modality: Tensor, task: Tensor) -> Tensor:
        """alpha (P,); the descriptions tell only the device."""
        return torch.full((self.experts,), 1.0 / self.experts, device=task.device)


def _linear(before: int, after: int, seed: int, name: str, **options: Any) -> nn.Linear:
    """A linear layer uniform in +-1/sqrt(in) from its own stream."""
    layer = nn.Linear(before, after, **options)
    stream = torch.Generator().manual_seed(seeds.derive(seed, "gate", name))
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.uniform_(-1 / math.sqrt(before), 1 / math.sqrt(before), generator=stream)
    return layer


def _constant(width: int, seed: int, name: str) -> nn.Parameter:
    """A learned vector (1, H) of the size of a token embedding (0.02)."""
    stream = torch.Generator().manual_seed(seeds.derive(seed, "gate", "constant", name))
    return nn.Parameter(torch.randn(1, width, generator=stream) * 0.02)
