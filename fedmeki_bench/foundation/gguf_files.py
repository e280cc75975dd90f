"""Foundation models in GGUF, llama.cpp's format of one file, which transformers reads as ordinary weights."""

from __future__ import annotations

import importlib.util
import io
from contextlib import redirect_stderr
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedmeki_bench.errors import InputError
from fedmeki_bench.foundation.quiet import quiet

if TYPE_CHECKING:
    import torch

SUFFIX = ".gguf"


def gguf_file(name_or_path: str | Path) -> Path | None:
    """The GGUF file meant by a path: the file itself, or the only one of a folder without ``*.safetensors``.

    Raises:
        InputError: the folder holds several, or the package that reads them is missing.
    """
    path = Path(name_or_path)
    if path.is_file() and path.suffix.lower() == SUFFIX:
        found = [path]
    elif path.is_dir() and not any(path.glob("*.safetensors")):
        found = sorted(f for f in path.iterdir() if f.suffix.lower() == SUFFIX and f.is_file())
    else:
        return None
    if not found:
        return None
    if len(found) > 1:
        raise InputError(
            f"the folder '{path}' holds {len(found)} GGUF files ({', '.join(f.name for f in found)}): name one of them"
        )
    if importlib.util.find_spec("gguf") is None:
        raise InputError(f"reading '{found[0]}' needs the package gguf: pip install 'fedmeki-bench[gguf]'")
    return found[0]


def read_gguf(file: Path, *, dtype: torch.dtype, trust_remote_code: bool) -> tuple[Any, Any]:
    """Tokenizer and model of a GGUF file, its weights unpacked to ``dtype``.

    Raises:
        ValueError: the file is damaged, or holds a model that transformers does not read.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    options = {"gguf_file": file.name, "local_files_only": True, "trust_remote_code": trust_remote_code}
    try:
        with quiet(), redirect_stderr(io.StringIO()):  # its progress bar can't be switched off
            tokenizer = AutoTokenizer.from_pretrained(str(file.parent), **options)
            return tokenizer, AutoModelForCausalLM.from_pretrained(str(file.parent), dtype=dtype, **options)
    except Exception as error:  # damage shows wherever the reader happens to stumble over it
        raise ValueError(f"{type(error).__name__}: {error}") from error
