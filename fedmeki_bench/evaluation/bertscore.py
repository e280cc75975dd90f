"""BERTScore (Zhang et al., "BERTScore: Evaluating Text Generation with BERT", ICLR 2020) with a model from disk.

Each token of one text is matched with the most similar token of the other, by the cosine of their embeddings in one
layer of a BERT. Recall averages over the gold text's tokens, precision over the predicted text's. Tokens weigh alike
(no inverse document frequencies), values are as they are (no rescaling by a baseline), and the marks at the ends of
a text can be matched but do not count, as in the package bert-score.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedmeki_bench.errors import InputError
from fedmeki_bench.foundation.quiet import quiet

if TYPE_CHECKING:
    from torch import Tensor

VARIABLE = "FEDMEKI_BERTSCORE"
"""The environment variable that names the folder of a model, saved by transformers, with its tokenizer."""

LAYER_VARIABLE = "FEDMEKI_BERTSCORE_LAYER"
"""The environment variable that says which layer's output is compared, from 1; the last by default."""

_LONGEST = 512  # tokens, where a tokenizer does not say


@dataclass(frozen=True, slots=True)
class Named:
    """Which model, and which of its layers; None for the last."""

    folder: Path
    layer: int | None = None


@dataclass(frozen=True, slots=True)
class PairScore:
    """How alike two texts are: 1 for the same tokens; cosines may be negative."""

    precision: float
    recall: float
    f1: float


def named_model() -> Named | None:
    """What the environment names; None where it names no model.

    Raises:
        InputError: the layer is no whole number from 1.
    """
    folder, layer = _named(VARIABLE), _named(LAYER_VARIABLE)
    if not folder:
        return None
    if layer and not (layer.isascii() and layer.isdigit() and int(layer) > 0):
        raise InputError(f"{LAYER_VARIABLE} is {layer!r}; expected is the number of a layer, from 1")
    return Named(Path(folder), int(layer) if layer else None)


def model_used() -> str:
    """The model in words, for notes; empty without one."""
    folder, layer = _named(VARIABLE), _named(LAYER_VARIABLE)
    return f"model {Path(folder).name}, {f'layer {layer}' if layer else 'last layer'}" if folder else ""


def _named(variable: str) -> str:
    return os.environ.get(variable, "").strip()


def pair_score(named: Named, gold: str, predicted: str) -> PairScore:
    """BERTScore of one pair; 0 where a text has no token.

    Raises:
        InputError: the model can't be read, or has no such layer.
    """
    wanted, said = _embedded(named, gold), _embedded(named, predicted)
    if not wanted.counts.any() or not said.counts.any():
        return PairScore(0.0, 0.0, 0.0)
    alike = said.vectors @ wanted.vectors.T
    precision = float(alike.max(dim=1).values[said.counts].mean())
    recall = float(alike.max(dim=0).values[wanted.counts].mean())
    total = precision + recall
    return PairScore(precision, recall, 2 * precision * recall / total if total else 0.0)


@dataclass(frozen=True, slots=True)
class _Embedded:
    """A text: (tokens, width) vectors of length 1, and (tokens,) which of them count."""

    vectors: Tensor
    counts: Tensor


@lru_cache(1024)  # the gold answers of questions, which repeat
def _embedded(named: Named, text: str) -> _Embedded:
    import torch

    model = _model(named)
    longest = min(model.tokenizer.model_max_length, model.positions)
    ids = model.tokenizer(text.strip(), truncation=True, max_length=longest)["input_ids"]
    tokens = torch.tensor(ids, dtype=torch.long)
    counts = torch.tensor([token not in model.ends for token in ids], dtype=torch.bool)
    if not len(tokens):
        return _Embedded(torch.zeros(0, 1), counts)
    with torch.inference_mode():
        states = model.network(input_ids=tokens[None], output_hidden_states=True).hidden_states
        vectors = states[model.layer][0].float()
    return _Embedded(vectors / vectors.norm(dim=1, keepdim=True), counts)


@dataclass(frozen=True, slots=True)
class _Model:
    tokenizer: Any
    network: Any
    layer: int
    positions: int
    ends: frozenset[int]


@cache
def _model(named: Named) -> _Model:
    """The model, loaded once per process; only safetensors, and no code that comes with it."""
    folder = named.folder
    if not (folder / "config.json").is_file():
        raise InputError(
            f"{VARIABLE} names {folder}, which holds no config.json; expected is a folder saved by transformers"
        )
    from transformers import AutoModel, AutoTokenizer

    local = {"local_files_only": True, "trust_remote_code": False}
    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(folder, add_prefix_space=True, **local)
            network = AutoModel.from_pretrained(folder, use_safetensors=True, dtype="float32", **local).eval()
    except Exception as error:  # damage shows wherever a reader happens to stumble over it
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"the model for BERTScore in {folder} can't be read: {reason}") from error
    layers = int(network.config.num_hidden_layers)
    layer = named.layer or layers
    if layer > layers:
        raise InputError(f"{LAYER_VARIABLE} is {layer}, and the model in {folder} has {layers} layers")
    positions = int(getattr(network.config, "max_position_embeddings", _LONGEST))
    if getattr(network.config, "model_type", "").startswith(("roberta", "xlm-roberta", "camembert")):
        positions -= 2  # their positions are counted from behind the padding token's
    ends = frozenset(token for token in (tokenizer.cls_token_id, tokenizer.sep_token_id) if token is not None)
    return _Model(tokenizer, network, layer, positions, ends)
