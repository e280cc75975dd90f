"""Putting BOS, soft tokens, prompt and answer into one padded sequence of input embeddings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

Side = Literal["left", "right"]

Segment = str | Tensor
"""A part of a row: a text, or soft tokens (tokens, hidden)."""

Asked = str | Sequence[Segment]
"""What a row asks: a text, or texts and soft tokens in the order in which they are read."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of every row: embeddings (batch, length, hidden) and which of them are there, (batch, length)."""

    embeddings: Tensor
    mask: Tensor


@dataclass(frozen=True, slots=True)
class Packed:
    """A padded batch: embeddings (batch, length, hidden), mask (batch, length), lengths (batch,), all on the device."""

    embeddings: Tensor
    mask: Tensor
    lengths: Tensor


def pad_ids(rows: Sequence[Sequence[int]], pad: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Token ids of several texts -> ids (batch, longest) padded on the right with ``pad``, mask (batch, longest)."""
    longest = max((len(row) for row in rows), default=0)
    ids = torch.tensor([[*row, *[pad] * (longest - len(row))] for row in rows], dtype=torch.long)
    mask = torch.tensor([[True] * len(row) + [False] * (longest - len(row)) for row in rows], dtype=torch.bool)
    shape = (len(rows), longest)
    return ids.reshape(shape).to(device), mask.reshape(shape).to(device)


def unpadded(soft: Tensor | None, mask: Tensor | None, rows: int) -> Sequence[Tensor | None]:
    """Soft tokens (batch, S, hidden) row by row, (tokens, hidden), without those that ``mask`` (batch, S) leaves out.

    Raises:
        ValueError: they are not those of so many rows.
    """
    if soft is None:
        return [None] * rows
    there = torch.ones(soft.shape[:2], dtype=torch.bool) if mask is None else mask.bool()
    if soft.shape[0] != rows or there.shape != soft.shape[:2]:
        raise ValueError(f"soft tokens {tuple(soft.shape)} with mask {tuple(there.shape)} do not fit {rows} prompts")
    there = there.to(soft.device)
    return [row if bool(real.all()) else row[real] for row, real in zip(soft, there, strict=True)]


def lay(rows: Sequence[Sequence[Sequence[int] | Tensor]], embed: Callable[[Tensor], Tensor]) -> Piece:
    """Rows of token ids and soft tokens (tokens, hidden), each in its own order, as one piece padded on the right.

    Differentiable in the soft tokens. All ids are embedded at once.
    """
    ids = torch.tensor([i for row in rows for part in row if not isinstance(part, Tensor) for i in part]).long()
    words = embed(ids)
    at, joined = 0, []
    for row in rows:
        parts = [words[:0]]
        for part in row:
            parts.append(part if isinstance(part, Tensor) else words[at : at + len(part)])
            at += 0 if isinstance(part, Tensor) else len(part)
        joined.append(torch.cat(parts))
    lengths = torch.tensor([len(row) for row in joined], device=words.device)
    embeddings = nn.utils.rnn.pad_sequence(joined, batch_first=True)
    return Piece(embeddings, torch.arange(embeddings.shape[1], device=words.device) < lengths.unsqueeze(1))


def pack(pieces: Sequence[Piece], side: Side) -> Packed:
    """Join the pieces of each row without gaps and pad all rows to the longest on ``side``.

    Differentiable in the embeddings. Padding is zero.
    """
    embeddings = torch.cat([piece.embeddings for piece in pieces], dim=1)
    mask = torch.cat([piece.mask for piece in pieces], dim=1)
    lengths = mask.sum(dim=1)
    if bool(mask.all()):
        return Packed(embeddings, mask, lengths)
    absent = ~mask if side == "right" else mask
    order = torch.argsort(absent.to(torch.uint8), dim=1, stable=True)  # keeps the order within a row
    longest = int(lengths.max())
    order = order[:, :longest] if side == "right" else order[:, order.shape[1] - longest :]
    mask = mask.gather(1, order)
    embeddings = embeddings.gather(1, order.unsqueeze(-1).expand(-1, -1, embeddings.shape[-1]))
    return Packed(embeddings.masked_fill(~mask.unsqueeze(-1), 0), mask, lengths)


@contextmanager
def only_at(head: nn.Module, rows: Tensor, columns: Tensor) -> Iterator[None]:
    """Let the LM head see the chosen positions only: its input becomes (1, n, hidden), the model's logits (1, n, V).

    With a vocabulary of 92,544 the logits of a whole prompt are the largest tensor of a step; the answer's few
    are all that is needed. Done at the head's input because not every model takes ``logits_to_keep``, and that
    option keeps the same columns for all rows.
    """

    def choose(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (inputs[0][rows, columns].unsqueeze(0), *inputs[1:])

    handle = head.register_forward_pre_hook(choose)
    try:
        yield
    finally:
        handle.remove()


def answer_positions(lengths: Tensor, answers: Sequence[Sequence[int]], pad: int) -> tuple[Tensor, Tensor, Tensor]:
    """Where the tokens of right-padded answers are predicted: rows (n,), columns (n,) and the tokens (n,).

    ``lengths`` (batch,) counts the tokens before each row's answer; token j is predicted one place before its own.
    """
    ids, there = pad_ids(answers, pad, lengths.device)
    columns = lengths.unsqueeze(1) - 1 + torch.arange(ids.shape[1], device=lengths.device)
    rows = torch.arange(len(answers), device=lengths.device).unsqueeze(1).expand_as(ids)
    return rows[there], columns[there], ids[there]


def log_probabilities(logits: Tensor, tokens: Tensor) -> Tensor:
    """Log-likelihood of each token, (n,) in float32 or wider, from logits (n, vocabulary)."""
    wide = logits if logits.dtype == torch.float64 else logits.float()
    return -nn.functional.cross_entropy(wide, tokens, reduction="none")
