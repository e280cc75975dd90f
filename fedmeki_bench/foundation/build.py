"""From a name or a folder to a frozen language model."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch

from fedmeki_bench import registry
from fedmeki_bench.errors import InputError
from fedmeki_bench.foundation.gguf_files import gguf_file, read_gguf
from fedmeki_bench.foundation.language import Language
from fedmeki_bench.foundation.quiet import quiet

TINY, TINY_UNRELATED = "tiny", "tiny_unrelated"


def build(
    name_or_path: str | Path,
    *,
    device: torch.device | str = "cpu",
    dtype: Literal["auto"] | torch.dtype = "auto",
    gradient_checkpointing: bool = False,
    local_files_only: bool = True,
    trust_remote_code: bool = False,
    prompt_format: str = "plain",
) -> Language:
    """The foundation model of that name: a registered one, a folder saved by transformers, a GGUF file or the folder of
    one, or a name in the hub cache.

    A plug-in of the entry-point group ``fedmeki_bench.foundations`` is a function that takes ``device``, ``dtype`` and
    ``gradient_checkpointing`` by keyword and returns a :class:`Language`; the stand-in ``tiny`` is one. It may have a
    method ``check_presence``, which raises :class:`InputError` where the model is not there.

    Args:
        name_or_path: see above. ``tiny`` is built on first use (about two minutes) and cached.
        device: where the model lives.
        dtype: ``auto`` is bfloat16 where the device has it, else float32.
        gradient_checkpointing: recompute the layers in the backward pass.
        local_files_only: never ask the network; set to false to let a name be downloaded.
        trust_remote_code: run the model's own Python code (InternLM2 and MMedLM-2 need it); only if asked.
        prompt_format: ``plain``, ``chat`` or ``published``, see :mod:`~fedmeki_bench.foundation.prompts`.

    Raises:
        InputError: the model cannot be found or read, or has no such format, in one sentence.
    """
    if str(name_or_path) in registry.names("foundations"):
        make = registry.load("foundations", str(name_or_path))
        language: Language = make(device=device, dtype=dtype, gradient_checkpointing=gradient_checkpointing)
    else:
        language = load(
            name_or_path,
            device=device,
            dtype=dtype,
            gradient_checkpointing=gradient_checkpointing,
            local_files_only=local_files_only,
            trust_remote_code=trust_remote_code,
        )
    language.speak(prompt_format)
    return language


def tiny(
    *,
    device: torch.device | str = "cpu",
    dtype: Literal["auto"] | torch.dtype = "auto",
    gradient_checkpointing: bool = False,
) -> Language:
    """The stand-in: a small decoder built once on this machine; it knows how names are related and no medicine."""
    return _stand_in(TINY, device, dtype, gradient_checkpointing)


def tiny_unrelated(
    *,
    device: torch.device | str = "cpu",
    dtype: Literal["auto"] | torch.dtype = "auto",
    gradient_checkpointing: bool = False,
) -> Language:
    """The stand-in's control: the same decoder, built on text in which other names belong together than in truth."""
    return _stand_in(TINY_UNRELATED, device, dtype, gradient_checkpointing)


def _stand_in(
    name: str, device: torch.device | str, dtype: Literal["auto"] | torch.dtype, gradient_checkpointing: bool
) -> Language:
    from fedmeki_bench.foundation.tiny import tiny_folder
    from fedmeki_bench.foundation.tiny_config import STAND_INS

    folder = tiny_folder(STAND_INS[name])
    language = load(folder, device=device, dtype=dtype, gradient_checkpointing=gradient_checkpointing)
    language.name = name
    return language


def load(
    name_or_path: str | Path,
    *,
    device: torch.device | str = "cpu",
    dtype: Literal["auto"] | torch.dtype = "auto",
    gradient_checkpointing: bool = False,
    local_files_only: bool = True,
    trust_remote_code: bool = False,
) -> Language:
    """Load any Hugging Face causal LM with its tokenizer, from safetensors or GGUF.

    Arguments and errors as :func:`build`. The weights of a GGUF file are unpacked to ``dtype``; it then takes as much
    memory as any other model.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    options = {"local_files_only": local_files_only, "trust_remote_code": trust_remote_code}
    chosen = _auto_dtype(torch.device(device)) if dtype == "auto" else dtype
    file = gguf_file(name_or_path)
    try:
        if file is not None:
            tokenizer, model = read_gguf(file, dtype=chosen, trust_remote_code=trust_remote_code)
        else:
            with quiet():
                tokenizer = AutoTokenizer.from_pretrained(str(name_or_path), **options)
                model = AutoModelForCausalLM.from_pretrained(
                    str(name_or_path), dtype=chosen, use_safetensors=True, **options
                )
    except (OSError, ValueError, KeyError, ImportError) as error:
        reason = " ".join(str(error).split())[:160].rstrip(". ")
        raise InputError(
            f"cannot load the foundation model '{name_or_path}': name 'tiny', a folder saved by transformers "
            f"(config.json, tokenizer, *.safetensors) or a GGUF file; it said: {reason}"
        ) from error
    return Language(model.to(device), tokenizer, name=str(name_or_path), gradient_checkpointing=gradient_checkpointing)


def _auto_dtype(device: torch.device) -> torch.dtype:
    has = device.type == "cuda" and torch.cuda.is_bf16_supported()
    return torch.bfloat16 if has else torch.float32
