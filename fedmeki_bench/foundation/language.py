"""A frozen causal language model that reads soft tokens among its words and answers in text.

The sequence of a sample is ``[BOS] soft tokens, prompt, answer, EOS`` (BOS where the model's own tokenizer puts
one), with the texts of a prompt format in between where the model wants them (see ``prompts.py``). A prompt is a text,
or texts and soft tokens in any order; then these stand where they stand there, and ``soft`` comes first if given.
Any Hugging Face causal LM will do: the code touches its input embeddings, its LM head and ``inputs_embeds``.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from functools import lru_cache
from typing import Any, Literal

import torch
from torch import Tensor, nn

from fedmeki_bench.errors import InputError
from fedmeki_bench.foundation import checkpointing
from fedmeki_bench.foundation.prompts import prompt_format
from fedmeki_bench.foundation.sequence import (
    Asked,
    Packed,
    Piece,
    Segment,
    answer_positions,
    lay,
    log_probabilities,
    only_at,
    pack,
    pad_ids,
    unpadded,
)


class Language:
    """A causal LM with its tokenizer, every weight frozen, in eval mode.

    Args:
        model: a Hugging Face causal LM (``AutoModelForCausalLM``).
        tokenizer: its tokenizer.
        name: what to call it in records and in exported adapters (the path it was loaded from).
        gradient_checkpointing: recompute the layers in the backward pass instead of keeping their activations.

    Attributes:
        hidden_size: width H of a soft token.
        recompute: functions that return a context for a layer's second forward pass under gradient checkpointing;
            whatever changes the model between two forward passes (the adapters' gate) registers itself here.
    """

    def __init__(self, model: Any, tokenizer: Any, *, name: str = "", gradient_checkpointing: bool = False) -> None:
        self.model = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.name = name
        self.recompute: list[Callable[[], AbstractContextManager[Any]]] = []
        self._table: nn.Module = model.get_input_embeddings()
        self.head: nn.Module | None = model.get_output_embeddings()
        if self.head is None or tokenizer.eos_token_id is None:
            raise InputError(f"{name or 'the model'} is no causal LM with an LM head and an end-of-text token")
        self.hidden_size = int(self._table.weight.shape[1])  # type: ignore[union-attr, index]
        self._eos = _stop_ids(model, tokenizer)
        self._takes_positions = "position_ids" in inspect.signature(model.forward).parameters
        self._limit: int | None = getattr(model.config, "max_position_embeddings", None)
        self._tokenised = lru_cache(maxsize=4096)(self._tokenise)
        self._answered = lru_cache(maxsize=4096)(self._answer_ids)
        self._checkpointed = checkpointing.enable(model, self.recompute) if gradient_checkpointing else []
        self.speak("plain")

    def speak(self, name: str) -> None:
        """Put all questions in the prompt format of that name from now on: ``plain``, ``chat`` or ``published``.

        Raises:
            InputError: the tokenizer has no such format.
        """
        self.format = prompt_format(name, self.tokenizer, self.name)
        self._bos = _bos(self.tokenizer) if self.format.bos else ()
        ids = self._tokenise(self.format.end) if self.format.end else (int(self.tokenizer.eos_token_id),)
        self._end = ids
        # an end of one token stops an answer by its id; a longer one by its text, which may be cut into other tokens
        further = torch.tensor(ids[:1] if len(ids) == 1 else (), dtype=torch.long)
        self._stop = torch.unique_consecutive(torch.cat([self._eos, further]))
        self._stop_text = self.format.end.strip() if len(ids) > 1 else ""
        self._answered.cache_clear()

    @property
    def device(self) -> torch.device:
        """Where the model lives."""
        return self._table.weight.device  # type: ignore[union-attr, return-value]

    @property
    def dtype(self) -> torch.dtype:
        """The type of the weights, and of the soft tokens once they enter the model."""
        return self._table.weight.dtype  # type: ignore[union-attr, return-value]

    @property
    def embedding_rms(self) -> float:
        """The typical size of an embedding: the median over the vocabulary of the root mean square of a token's.

        Of embeddings as the layers read them: some models (Gemma) scale the rows of their table first.
        """
        ids = torch.arange(len(self._table.weight), device=self.device)  # type: ignore[arg-type]
        sizes = [self.embed(some).float().square().mean(dim=1).sqrt() for some in ids.split(4096)]
        return float(torch.cat(sizes).detach().median())

    @property
    def embedding_mean(self) -> Tensor:
        """The mean embedding over the vocabulary, (H,), float32: what all texts have in common; scaled likewise."""
        ids = torch.arange(len(self._table.weight), device=self.device)  # type: ignore[arg-type]
        return torch.stack([self.embed(some).float().sum(dim=0) for some in ids.split(4096)]).sum(dim=0) / len(ids)

    def embed(self, ids: Tensor) -> Tensor:
        """Token ids (...) -> frozen embeddings (..., H)."""
        with torch.no_grad():
            return self._table(ids.to(self.device))

    def embed_text(self, text: str) -> Tensor:
        """The embeddings of a text's tokens, (tokens, H), without BOS; what the gate reads."""
        return self.embed(torch.tensor(self.tokens(text), dtype=torch.long))

    def tokens(self, text: str) -> tuple[int, ...]:
        """Token ids of a text without special tokens; the last 4,096 texts are remembered."""
        return self._tokenised(text)

    def answer_losses(
        self, soft: Tensor | None, soft_mask: Tensor | None, prompts: Sequence[Asked], answers: Sequence[str]
    ) -> tuple[Tensor, Tensor]:
        """Summed next-token loss of each row's answer and its EOS, (batch,), and their token counts, (batch,).

        Dividing the sums of several micro-batches by all their tokens gives the mean loss of the whole batch exactly.

        Args:
            soft: soft tokens (batch, S, H), or None; S may be 0.
            soft_mask: which of them are there (batch, S); None means all.
            prompts: one per row: a text, or texts and soft tokens (tokens, H) in order.
            answers: one text per row.

        Raises:
            InputError: a row is longer than the model allows.
        """
        before, last = self._before(soft, soft_mask, prompts)
        targets = [self._answered(text, a) for text, a in zip(last, answers, strict=True)]
        inputs = self._text([ids[:-1] for ids in targets])
        packed = pack([before, inputs], "right")
        lengths = packed.lengths - inputs.mask.sum(dim=1)
        rows, columns, tokens = answer_positions(lengths, targets, self._pad)
        with checkpointing.active(self._checkpointed), only_at(self._lm_head, rows, columns):
            # Right padding comes after everything a causal model looks at, so no mask is needed and attention may
            # take its fast causal path.
            logits = self._forward(packed, mask=None).logits[0]
        losses = -log_probabilities(logits, tokens)
        counts = torch.tensor([len(ids) for ids in targets], device=losses.device)
        return losses.new_zeros(len(targets)).index_add(0, rows, losses), counts

    @torch.no_grad()
    def score(
        self,
        soft: Tensor | None,
        soft_mask: Tensor | None,
        prompts: Sequence[Asked],
        candidates: Sequence[str],
        *,
        cache: bool = True,
    ) -> Tensor:
        """Log-likelihood of each candidate answer (with its end), (batch, candidates).

        ``softmax(score(..., ["no", "yes"]), dim=1)[:, 1]`` is the probability of yes against no. The end (EOS) is
        part of an answer, so that "no" does not win over "no finding" for being its beginning. The prompt is read once
        for all candidates.

        Args:
            soft: soft tokens (batch, S, H), or None.
            soft_mask: which of them are there (batch, S); None means all.
            prompts: one per row: a text, or texts and soft tokens (tokens, H) in order.
            candidates: the answers, the same for all rows.
            cache: keep the prompt's keys and values; without, every candidate reads it again (a check).
        """
        batch, many = len(prompts), len(candidates)
        piece, last = self._before(soft, soft_mask, prompts)
        targets = [self._answered(text, c) for text in last for c in candidates]
        before = pack([piece], "left")
        reply = self._forward(before, use_cache=cache, at=self._last(before)) if cache else None
        if reply is not None and hasattr(reply.past_key_values, "batch_repeat_interleave"):
            totals = self._continue(before, reply.logits[0], reply.past_key_values, targets, many)
        else:
            wide = Packed(*(t.repeat_interleave(many, dim=0) for t in (before.embeddings, before.mask, before.lengths)))
            totals = self._read_again(wide, targets)
        return totals.view(batch, many)

    @torch.no_grad()
    def generate(
        self,
        soft: Tensor | None,
        soft_mask: Tensor | None,
        prompts: Sequence[Asked],
        max_new_tokens: int,
        *,
        cache: bool = True,
    ) -> list[str]:
        """Greedy answers, one per row, each ended by the format's end, by EOS or after ``max_new_tokens``; stripped.

        Args:
            soft: soft tokens (batch, S, H), or None.
            soft_mask: which of them are there (batch, S); None means all.
            prompts: one per row: a text, or texts and soft tokens (tokens, H) in order.
            max_new_tokens: at most this many tokens.
            cache: keep keys and values between steps; without, every step reads everything again (a check).
        """
        packed = pack([self._before(soft, soft_mask, prompts)[0]], "left")
        return self._say(packed, max_new_tokens, cache=cache)

    @torch.no_grad()
    def answer(
        self,
        soft: Tensor | None,
        soft_mask: Tensor | None,
        prompts: Sequence[Asked],
        candidates: Sequence[str],
        max_new_tokens: int,
    ) -> tuple[list[str], Tensor]:
        """What :meth:`generate` says and what :meth:`score` gives, with the prompt read once for both."""
        piece, last = self._before(soft, soft_mask, prompts)
        packed = pack([piece], "left")
        reply = self._forward(packed, use_cache=True, at=self._last(packed))
        if not hasattr(reply.past_key_values, "batch_repeat_interleave"):
            scores = self.score(soft, soft_mask, prompts, candidates)
            return self.generate(soft, soft_mask, prompts, max_new_tokens), scores
        targets = [self._answered(text, c) for text in last for c in candidates]
        past = copy.deepcopy(reply.past_key_values)  # scoring widens it to a row per candidate
        totals = self._continue(packed, reply.logits[0], past, targets, len(candidates))
        return self._say(packed, max_new_tokens, read=reply), totals.view(len(prompts), len(candidates))

    # How a batch becomes a forward pass

    def _say(self, packed: Packed, max_new_tokens: int, *, cache: bool = True, read: Any = None) -> list[str]:
        """Greedy answers after packed prompts; ``read`` is the reply to them, if they have been read."""
        self._check_length(packed.mask.shape[1] + max_new_tokens)
        said: list[Tensor] = []
        open_rows = torch.ones(packed.mask.shape[0], dtype=torch.bool, device=self.device)
        past, step = None, packed
        for _ in range(max_new_tokens):
            reply, read = read, None
            if reply is None:
                reply = self._forward(step, mask=packed.mask, past=past, use_cache=cache, at=self._last(step))
            token = reply.logits[0].argmax(dim=-1)  # (batch,)
            open_rows = open_rows & ~torch.isin(token, self._stop.to(token.device))
            said.append(token.masked_fill(~open_rows, -1))
            if self._stop_text:
                open_rows = open_rows & ~self._ended(said)
            if not bool(open_rows.any()):
                break
            new = Piece(self.embed(token).unsqueeze(1), torch.ones_like(packed.mask[:, :1]))
            packed = Packed(
                packed.embeddings if cache else torch.cat([packed.embeddings, new.embeddings], dim=1),
                torch.cat([packed.mask, new.mask], dim=1),
                packed.lengths + 1,
            )
            past = reply.past_key_values if cache else None
            step = Packed(new.embeddings, new.mask, packed.lengths) if cache else packed
        return [text.strip() for text in self._texts(said)] if said else ["" for _ in open_rows]

    @property
    def _lm_head(self) -> nn.Module:
        assert self.head is not None
        return self.head

    @property
    def _pad(self) -> int:
        return int(self._eos[0])  # never attended to: any valid id will do

    def _texts(self, said: Sequence[Tensor]) -> list[str]:
        """What the generated tokens say, up to the format's end; -1 stands for no token."""
        rows = [[t for t in row if t >= 0] for row in torch.stack(list(said), dim=1).tolist()]
        texts = [str(self.tokenizer.decode(row, skip_special_tokens=True)) for row in rows]
        return [text.partition(self._stop_text)[0] for text in texts] if self._stop_text else texts

    def _ended(self, said: Sequence[Tensor]) -> Tensor:
        """Which rows have just written the end of their answer, (batch,)."""
        last = torch.stack(list(said[-len(self._stop_text) - 1 :]), dim=1).tolist()
        texts = [str(self.tokenizer.decode([t for t in row if t >= 0])) for row in last]
        return torch.tensor([self._stop_text in text for text in texts], device=self.device)

    def _tokenise(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _answer_ids(self, prompt: str, answer: str) -> tuple[int, ...]:
        """Ids of the answer as it continues the prompt (a space between them), and of its end (EOS)."""
        gap = "" if not prompt or prompt[-1].isspace() else " "
        before, whole = self.tokens(prompt), self._tokenise(prompt + gap + answer)
        joined = whole[: len(before)] == before
        ids = whole[len(before) :] if joined else self._tokenise(gap + answer)
        return (*ids, *self._end)

    def _text(self, rows: Sequence[Sequence[int]]) -> Piece:
        ids, mask = pad_ids(rows, self._pad, self.device)
        return Piece(self.embed(ids), mask)

    def _before(
        self, soft: Tensor | None, soft_mask: Tensor | None, prompts: Sequence[Asked]
    ) -> tuple[Piece, list[str]]:
        """Everything before the answer, as one piece, and the last text in each row, which the answer continues."""
        first = unpadded(soft, soft_mask, len(prompts))
        rows = [self.format.row(own, prompt) for own, prompt in zip(first, prompts, strict=True)]
        piece = lay([[self._bos, *map(self._part, row)] for row in rows], self.embed)
        return piece, [next((s for s in reversed(row) if isinstance(s, str) and s), "") for row in rows]

    def _part(self, segment: Segment) -> tuple[int, ...] | Tensor:
        """A segment's token ids or soft tokens."""
        if isinstance(segment, str):
            return self.tokens(segment) if segment else ()
        if segment.dim() != 2 or segment.shape[1] != self.hidden_size:
            raise ValueError(
                f"soft tokens {tuple(segment.shape)} of a row do not fit the hidden size {self.hidden_size}"
            )
        return segment.to(self.device, self.dtype)

    @staticmethod
    def _last(packed: Packed) -> tuple[Tensor, Tensor]:
        """The last column of every row of a left-padded batch."""
        rows = torch.arange(packed.embeddings.shape[0], device=packed.embeddings.device)
        return rows, torch.full_like(rows, packed.embeddings.shape[1] - 1)

    def _forward(
        self,
        packed: Packed,
        *,
        mask: Tensor | Literal["own"] | None = "own",
        past: Any = None,
        use_cache: bool = False,
        at: tuple[Tensor, Tensor] | None = None,
    ) -> Any:
        """One pass. ``mask`` covers the past too; ``at`` names the only positions whose logits are wanted."""
        whole = packed.mask if isinstance(mask, str) else mask
        new = packed.embeddings.shape[1]
        self._check_length(new if whole is None else whole.shape[1])
        options: dict[str, Any] = {"use_cache": use_cache}
        if whole is not None:
            options["attention_mask"] = whole.long()
            if self._takes_positions:
                options["position_ids"] = (whole.long().cumsum(dim=1) - 1).clamp(min=0)[:, whole.shape[1] - new :]
        if past is not None:
            options["past_key_values"] = past
        with ExitStack() as stack:
            if at is not None:
                stack.enter_context(only_at(self._lm_head, *at))
            return self.model(inputs_embeds=packed.embeddings, **options)

    def _continue(self, before: Packed, logits: Tensor, past: Any, targets: list[tuple[int, ...]], many: int) -> Tensor:
        """Scores (batch x candidates,) of ``targets`` after a prompt with these last logits, keys and values.

        ``past`` is widened to a row per candidate.
        """
        first = torch.tensor([ids[0] for ids in targets], device=self.device)
        totals = log_probabilities(logits.repeat_interleave(many, dim=0), first)
        rest = self._text([ids[:-1] for ids in targets])
        rows, columns, tokens = answer_positions(
            torch.ones(len(targets), dtype=torch.long, device=self.device), [ids[1:] for ids in targets], self._pad
        )
        if not len(rows):
            return totals
        past.batch_repeat_interleave(many)
        mask = torch.cat([before.mask.repeat_interleave(many, dim=0), rest.mask], dim=1)
        step = Packed(rest.embeddings, rest.mask, rest.mask.sum(dim=1))
        again = self._forward(step, mask=mask, past=past, use_cache=True, at=(rows, columns))
        return totals.index_add(0, rows, log_probabilities(again.logits[0], tokens))

    def _read_again(self, before: Packed, targets: list[tuple[int, ...]]) -> Tensor:
        """The same scores from one pass over prompt and candidate together."""
        inputs = self._text([ids[:-1] for ids in targets])
        packed = pack([Piece(before.embeddings, before.mask), inputs], "right")
        rows, columns, tokens = answer_positions(before.lengths, targets, self._pad)
        reply = self._forward(packed, mask=None, at=(rows, columns))
        found = log_probabilities(reply.logits[0], tokens)
        return found.new_zeros(len(targets)).index_add(0, rows, found)

    def _check_length(self, length: int) -> None:
        if self._limit is not None and length > self._limit:
            raise InputError(
                f"a row of {length} tokens is longer than the {self._limit} positions of the foundation model "
                f"'{self.name}'; set stage.latents to have that many soft tokens per modality, or use an encoder with "
                "fewer, a shorter prompt or another model"
            )


def _bos(tokenizer: Any) -> tuple[int, ...]:
    """The BOS that the tokenizer itself puts before a text, or nothing."""
    bos = tokenizer.bos_token_id
    return (bos,) if bos is not None and list(tokenizer("a")["input_ids"])[:1] == [bos] else ()


def _stop_ids(model: Any, tokenizer: Any) -> Tensor:
    """The tokenizer's EOS first, then any further ones of the model's generation settings."""
    more = getattr(getattr(model, "generation_config", None), "eos_token_id", None) or []
    further = [more] if isinstance(more, int) else list(more)
    return torch.tensor(list(dict.fromkeys([tokenizer.eos_token_id, *further])))
