"""FedKIM's gate over the experts, and the uniform gate that replaces it in ablations.

FedKIM (arXiv 2408.10276): with emb(M) and emb(T) the foundation model's token embeddings of the modality's and the
task's description,

    beta  = softmax((W_q emb(M)) (W_k emb(T))^T / sqrt(d)) W_v emb(T)
    alpha = softmax(MLP(pool(beta)))  in R^P

One vector per task, shared by all layers. It sums to one, as in the paper: at a uniform gate each of P experts acts
with strength 1/P, so the mixture starts weaker than one LoRA of the same rank and scale.

Trained on the answers alone, this gate does not route: token embeddings of all descriptions are nearly alike, so it
starts blind, and while no expert differs from another nothing pulls the gates of two tasks apart (docs/foundation.md).
``_kim_routed`` therefore normalises and centres the embeddings and adds a routing term, :func:`mutual_information` of
task and expert, which needs the descriptions and no data. Two published means against idle experts can be compared:
keeping the k largest weights (Shazeer et al., "Outrageously Large Neural Networks", ICLR 2017) and the load-balancing
loss of Fedus et al. ("Switch Transformers", JMLR 23:120, 2022, eq. 4), which mixtures of LoRA experts use, too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
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
        centre: what is subtracted from every embedding, (H,), before it is divided by its root mean square; None leaves
            embeddings as they are, as in the paper.
        top_k: only so many of the largest weights are kept, and sum to one; 0 keeps all.
    """

    centre: Tensor | None

    def __init__(
        self,
        hidden_size: int,
        experts: int,
        *,
        dim: int = 64,
        seed: int = 0,
        use_task: bool = True,
        use_modality: bool = True,
        centre: Tensor | None = None,
        top_k: int = 0,
    ) -> None:
        super().__init__()
        self.experts, self.dim, self.top_k = experts, dim, top_k
        self.register_buffer("centre", centre, persistent=False)
        self.W_q = _linear(hidden_size, dim, seed, "q", bias=False)
        self.W_k = _linear(hidden_size, dim, seed, "k", bias=False)
        self.W_v = _linear(hidden_size, dim, seed, "v", bias=False)
        self.mlp = nn.Sequential(_linear(dim, dim, seed, "hidden"), nn.ReLU(), _linear(dim, experts, seed, "alpha"))
        self.no_task = None if use_task else _constant(hidden_size, seed, "task")
        self.no_modality = None if use_modality else _constant(hidden_size, seed, "modality")

    def forward(self, modality: Tensor, task: Tensor) -> Tensor:
        """alpha (P,) from the embedded modality description (Lm, H) and task description (Lt, H)."""
        m = self._read(modality) if self.no_modality is None else self.no_modality
        t = self._read(task) if self.no_task is None else self.no_task
        q, k, v = (w(x.to(w.weight)) for w, x in ((self.W_q, m), (self.W_k, t), (self.W_v, t)))
        beta = torch.softmax(q @ k.T / math.sqrt(self.dim), dim=-1) @ v  # (Lm, d)
        logits = self.mlp(beta.mean(dim=0))
        if self.top_k:
            kept = logits.topk(min(self.top_k, self.experts)).indices
            logits = torch.full_like(logits, -math.inf).index_copy(0, kept, logits[kept])
        return torch.softmax(logits, dim=-1)

    def _read(self, embeddings: Tensor) -> Tensor:
        if self.centre is None:
            return embeddings
        centred = embeddings - self.centre
        return centred * torch.rsqrt(centred.square().mean(dim=-1, keepdim=True) + 1e-8)


class UniformGate(nn.Module):
    """1/P for every expert, whatever the task; nothing to learn. With one expert it is plain LoRA's gate."""

    def __init__(self, experts: int) -> None:
        super().__init__()
        self.experts = experts

    def forward(self, modality: Tensor, task: Tensor) -> Tensor:
        """alpha (P,); the descriptions tell only the device."""
        return torch.full((self.experts,), 1.0 / self.experts, device=task.device)


class OracleGate(nn.Module):
    """One expert for each context, known beforehand: what perfect routing could do, a bound and no method.

    Args:
        experts: P.
        contexts: the contexts of the tasks trained on (``TaskMeta.context``); the i-th in order gets expert i modulo P.
    """

    def __init__(self, experts: int, contexts: Sequence[str]) -> None:
        super().__init__()
        self.experts = experts
        self._expert_of = {context: i % experts for i, context in enumerate(sorted(set(contexts)))}

    def of(self, context: str, device: torch.device) -> Tensor:
        """alpha (P,): one-hot, or uniform for a context that was never trained."""
        if context not in self._expert_of:
            return torch.full((self.experts,), 1.0 / self.experts, device=device)
        chosen = torch.tensor(self._expert_of[context], device=device)
        return nn.functional.one_hot(chosen, self.experts).float()


def mutual_information(alphas: Tensor) -> Tensor:
    """I(task; expert) in nats, a scalar: H(mean_t alpha_t) - mean_t H(alpha_t), for the gates (T, P) of T tasks.

    It is 0 where all tasks have the same gate and log min(T, P) where each has an expert of its own.
    """
    return _entropy(alphas.mean(dim=0)) - _entropy(alphas).mean()


def load_balance(alphas: Tensor) -> Tensor:
    """P sum_p f_p m_p, a scalar: f_p is the share of tasks whose largest weight is expert p's, m_p its mean weight.

    Fedus et al., eq. 4, over tasks instead of tokens; 1 where the load is even.
    """
    experts = alphas.shape[1]
    share = nn.functional.one_hot(alphas.argmax(dim=1), experts).float().mean(dim=0)
    return experts * (share * alphas.mean(dim=0)).sum()


def _entropy(p: Tensor) -> Tensor:
    return torch.special.entr(p).sum(dim=-1)


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
