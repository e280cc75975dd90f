"""What the foundation model answers by itself, before anything is injected: asked once per machine, not once per run.

Every run of a board puts the same questions in words to the same frozen F, for the view ``foundation_before`` and for
what was forgotten. The answers depend on F, on how it is asked and on nothing that a run trains, so they are kept in
the cache folder. An entry is named by all that decides its bits: the weights, the tokenizer and the code of F, the code
of this room, the arithmetic (device, type, threads, versions), and the questions *in their order and batches*, because
padding rounds otherwise. So there is one way to compute an answer, and a kept one has the bits of a new one.

An entry holds answers and likelihoods and no question. It carries a digest: a damaged one is asked again. Whoever asks
the same at the same time waits for the first. The oldest entries go when there are too many; nothing else needs them.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from fedmeki_bench.cache import cache_folder
from fedmeki_bench.digests import file_digest
from fedmeki_bench.files import write_atomically
from fedmeki_bench.foundation.language import Language
from fedmeki_bench.foundation.sequence import Asked

if TYPE_CHECKING:
    from fedmeki_bench.foundation.injected import Injected

VERSION = 1
MOST = 128 << 20
"""Bytes of entries that are kept at most."""
_identities: WeakKeyDictionary[Language, str] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class Said:
    """Answers to prompts.

    Attributes:
        text: one per prompt.
        likelihood: (prompts, candidates) log-likelihoods on the CPU; None where there are no candidates.
    """

    text: list[str]
    likelihood: Tensor | None


def own_answers(
    injected: Injected, prompts: Sequence[Asked], candidates: Sequence[str], max_new_tokens: int, *, batch: int
) -> Said:
    """What F answers to prompts without soft tokens, as if nothing had been injected.

    Args:
        injected: whose F is asked, with its adapters switched off.
        prompts: each a text, or texts and empty stretches of soft tokens.
        candidates: answers whose likelihood is wanted; may be none.
        max_new_tokens: of an answer.
        batch: how many prompts are put at a time.
    """
    with torch.no_grad(), injected.silenced():
        entry = _entry(injected.language, prompts, candidates, max_new_tokens, batch)
        if (known := _read(entry)) is not None:
            return known
        with _alone(entry):
            if (known := _read(entry)) is not None:
                return known
            said = _ask(injected.language, prompts, candidates, max_new_tokens, batch)
            _write(entry, said)
    return said


def _ask(language: Language, prompts: Sequence[Asked], candidates: Sequence[str], tokens: int, batch: int) -> Said:
    text: list[str] = []
    likelihood: list[Tensor] = []
    for start in range(0, len(prompts), batch):
        some = prompts[start : start + batch]
        if candidates:
            said, scores = language.answer(None, None, some, candidates, tokens)
            likelihood.append(scores.cpu())
        else:
            said = language.generate(None, None, some, tokens)
        text += said
    return Said(text, torch.cat(likelihood) if likelihood else None)


def _entry(language: Language, prompts: Sequence[Asked], candidates: Sequence[str], tokens: int, batch: int) -> Path:
    """The file of an entry: its name is the digest of all that decides its bits."""
    named = {
        "version": VERSION, "room": _room(), "model": _identity(language), "format": astuple(language.format),
        "arithmetic": _arithmetic(language), "prompts": [_plain(prompt) for prompt in prompts],
        "candidates": list(candidates), "tokens": tokens, "batch": batch,
    }  # fmt: skip
    return cache_folder() / "answers" / f"{hashlib.sha256(json.dumps(named).encode()).hexdigest()}.json"


def _plain(prompt: Asked) -> list[str | None]:
    """A prompt's texts; None stands for an empty stretch of soft tokens."""
    parts: list[str | None] = []
    for part in (prompt,) if isinstance(prompt, str) else prompt:
        if not isinstance(part, str) and len(part):
            raise ValueError("questions to the foundation model by itself hold no soft tokens")
        parts.append(part if isinstance(part, str) else None)
    return parts


@cache
def _room() -> str:
    """The digest of the code that asks: all modules of this folder."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256("".join(file.name + file_digest(file) for file in files).encode()).hexdigest()


def _arithmetic(language: Language) -> list[str]:
    """What rounds sums in one way and not in another."""
    import transformers

    device = language.device
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else torch.backends.cpu.get_cpu_capability()
    matmul = f"{torch.get_float32_matmul_precision()} {torch.backends.cuda.matmul.allow_tf32}"
    return [
        device.type, where, str(language.dtype), str(torch.get_num_threads()), torch.__version__, matmul,
        transformers.__version__, sys.platform,
    ]  # fmt: skip


def _identity(language: Language) -> str:
    """The digest of F's weights, settings, code and tokenizer; of weights that are frozen, so it is taken once."""
    if language not in _identities:
        _identities[language] = _digest(language)
    return _identities[language]


def _digest(language: Language) -> str:
    digest = hashlib.sha256()
    model, tokenizer = language.model, language.tokenizer
    for name, value in sorted(model.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)};".encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    fast = getattr(tokenizer, "backend_tokenizer", None)
    words: Any = fast.to_str() if fast is not None else sorted(tokenizer.get_vocab().items())
    facts = {
        "settings": model.config.to_dict() | {"_name_or_path": ""}, "code": _code(type(model)),
        "tokenizer": [type(tokenizer).__name__, words, str(tokenizer.special_tokens_map), language._eos.tolist()],
        "limit": language._limit,
    }  # fmt: skip
    digest.update(json.dumps(facts, sort_keys=True, default=str).encode())
    return digest.hexdigest()


def _code(of: type) -> str:
    """Where a class comes from and what its file says."""
    file = inspect.getsourcefile(of)
    return f"{of.__module__}.{of.__qualname__} {file_digest(Path(file)) if file else ''}"


# Entries on disk


def _read(entry: Path) -> Said | None:
    """What an entry says; None if there is none or it is damaged."""
    try:
        digest, _, body = entry.read_bytes().partition(b"\n")
        if hashlib.sha256(entry.name.encode() + body).hexdigest().encode() != digest:
            return None
        found = json.loads(body)
        likelihood = found["likelihood"]
        if likelihood is not None:
            likelihood = torch.tensor(likelihood["values"], dtype=getattr(torch, likelihood["type"]))
        said = Said([str(text) for text in found["text"]], likelihood)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    with contextlib.suppress(OSError):
        os.utime(entry)  # the oldest go first
    return said


def _write(entry: Path, said: Said) -> None:
    """Leave an entry, whole or not at all; where the cache can't be written there is none."""
    scores = said.likelihood
    likelihood = None if scores is None else {"type": str(scores.dtype).split(".")[-1], "values": scores.tolist()}
    body = json.dumps({"text": said.text, "likelihood": likelihood}).encode()
    digest = hashlib.sha256(entry.name.encode() + body).hexdigest().encode()
    with contextlib.suppress(OSError):
        write_atomically(entry, digest + b"\n" + body)
        _prune(entry.parent)


def _prune(folder: Path) -> None:
    """Remove the entries that were not asked for the longest, and locks of entries that are gone."""
    entries = sorted((file.stat().st_mtime, file.stat().st_size, file) for file in folder.glob("*.json"))
    total = sum(size for _, size, _ in entries)
    for _, size, file in entries:
        if total <= MOST:
            break
        file.unlink(missing_ok=True)
        file.with_suffix(".lock").unlink(missing_ok=True)
        total -= size


@contextlib.contextmanager
def _alone(entry: Path) -> Iterator[None]:
    """Hold an entry while it is asked for; where the cache can't be written, nobody waits."""
    from filelock import FileLock

    lock = FileLock(entry.with_suffix(".lock"))
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError, NotImplementedError):
            entry.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(lock)
        yield
