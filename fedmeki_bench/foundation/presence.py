"""Whether a foundation model is there and can be read, from its files alone, before anything is trained."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fedmeki_bench import registry
from fedmeki_bench.bounded import bounded_json, regular_text
from fedmeki_bench.errors import InputError
from fedmeki_bench.foundation.gguf_files import SUFFIX, gguf_file
from fedmeki_bench.foundation.tiny_config import STAND_INS

_LARGEST = 100_000_000  # bytes of a file of text
_ANSWERS = re.compile(r"(ForCausalLM|LMHeadModel|LMHeadCustomModel|ForConditionalGeneration)$")
_VOCABULARIES = (
    "tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "sentencepiece.bpe.model",
    "*.tiktoken", "tiktoken.model",
)  # fmt: skip


def check_presence(name_or_path: str | Path) -> None:
    """Refuse a foundation model that could not be loaded, as far as its files show; no weight is read.

    Args:
        name_or_path: a registered name, a folder saved by transformers, a GGUF file, or a name in the hub cache.

    Raises:
        InputError: it is not there, no language model, incomplete or cut off, in one sentence.
        UsageError: a registered one can't be loaded. One that needs more than its code checks that itself, in a method
            ``check_presence`` without arguments.
    """
    name = str(name_or_path)
    if name in STAND_INS:
        return
    if name in registry.names("foundations"):
        check = getattr(registry.load("foundations", name), "check_presence", None)
        if check is not None:
            check()
        return
    faults = _faults_of_folder if Path(name).is_dir() else _faults_of_file if Path(name).exists() else _faults_of_name
    fault = next(faults(Path(name)), None)
    if fault is not None:
        raise InputError(
            f"cannot load the foundation model '{name}': {fault}; expected are the name of one (fedmeki-bench list "
            "foundations), a folder saved by transformers (config.json, tokenizer, *.safetensors) or a GGUF file"
        )


def _faults_of_file(path: Path) -> Iterator[str]:
    if not path.is_file() or path.suffix.lower() != SUFFIX:
        yield f"it is no folder, and no file that ends in {SUFFIX}"
        return
    gguf_file(path)
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            yield "it does not begin as a GGUF file does"


def _faults_of_name(path: Path) -> Iterator[str]:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(str(path), "config.json")
    except HFValidationError:
        found = None
    if not isinstance(found, str):
        yield "there is no such folder or file, and no model of that name in the hub cache of this machine"


def _faults_of_folder(folder: Path) -> Iterator[str]:
    if (file := gguf_file(folder)) is not None:
        yield from _faults_of_file(file)
        return
    yield from _faults_of_config(folder)
    if not any(_nonempty(folder.glob(pattern)) for pattern in _VOCABULARIES):
        yield f"its tokenizer is missing: there is none of {', '.join(_VOCABULARIES[:4])}, ..."
    whole = folder / "tokenizer.json"
    if whole.is_file() and (fault := _fault(whole, _json)):
        yield fault
    yield from _faults_of_weights(folder)


def _faults_of_config(folder: Path) -> Iterator[str]:
    path = folder / "config.json"
    if not path.exists():
        yield "it has no config.json"
        return
    if fault := _fault(path, _json):
        yield fault
        return
    config = _json(path)
    kinds = config.get("architectures") or []
    own = config.get("auto_map") or {}
    if not config.get("model_type") and not own:
        yield "its config.json names no model_type"
    if kinds and not any(_ANSWERS.search(str(kind)) for kind in kinds) and "AutoModelForCausalLM" not in own:
        yield f"it is a {kinds[0]} and no causal language model"


def _faults_of_weights(folder: Path) -> Iterator[str]:
    index = folder / "model.safetensors.index.json"
    files = sorted(folder.glob("*.safetensors"))
    if index.exists():
        if fault := _fault(index, _json):
            yield fault
            return
        named = sorted({str(name) for name in _json(index).get("weight_map", {}).values()})
        lost = [name for name in named if not (folder / name).is_file()]
        if lost:
            yield f"{len(lost)} of its {len(named)} files of weights are missing, first {lost[0]}"
            return
        files = [folder / name for name in named]
    if not files:
        other = next((f.name for p in ("*.bin", "*.pt", "*.pth", "*.h5") for f in sorted(folder.glob(p))), None)
        yield "it has no *.safetensors" + (f" ({other} is not read: save it as safetensors)" if other else "")
    for file in files:
        if fault := _fault(file, _whole_tensors):
            yield fault


def _fault(path: Path, read: Callable[[Path], Any]) -> str:
    try:
        read(path)
    except Exception as error:  # damage shows wherever a reader happens to stumble over it
        reason = " ".join(str(error).removeprefix(f"{path}: ").split())[:120].rstrip(". ")
        return f"its {path.name} can't be read ({reason})"
    return ""


def _json(path: Path) -> dict[str, Any]:
    """A JSON file that holds a mapping."""
    text = regular_text(path, _LARGEST, "file of a model")
    if path.name == "tokenizer.json":  # megabytes, which transformers reads itself: only whether it is whole
        if not (text.lstrip().startswith("{") and text.rstrip().endswith("}")):
            raise ValueError("it is cut off")
        return {}
    content = bounded_json(text)
    if not isinstance(content, dict):
        raise ValueError("it is no mapping")
    return content


def _whole_tensors(path: Path) -> None:
    """Raise unless the header can be read and the file is as long as it says."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy"):  # type: ignore[no-untyped-call]
        pass


def _nonempty(files: Iterator[Path]) -> bool:
    return any(file.is_file() and file.stat().st_size for file in files)
