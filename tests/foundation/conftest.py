"""Tiny random models of five architectures, with a word-level tokenizer of their own; nothing is downloaded."""

from __future__ import annotations

import pytest
import torch

ARCHITECTURES = ("llama", "qwen2", "gpt_neox", "mistral", "gemma3_text")
WORDS = (
    *("yes", "no", "is", "there", "an", "opacity", "in", "the", "left", "right", "lung", "?"),
    *("Answer", ":", "fever", "cough", "patient", "has", "a", "of", "chest"),
)


def random_tokenizer(*, bos: bool):
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate(["<unk>", "<bos>", "<eos>", *WORDS])}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    if bos:
        inner.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, unk_token="<unk>", bos_token="<bos>", eos_token="<eos>", pad_token="<eos>"
    )


def random_model(architecture: str, *, tied: bool = False, seed: int = 0):
    from transformers import AutoConfig, AutoModelForCausalLM

    options = {
        "vocab_size": 40, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
        "intermediate_size": 48, "max_position_embeddings": 64, "tie_word_embeddings": tied,
        "bos_token_id": 1, "eos_token_id": 2, "initializer_range": 0.3,
    }  # fmt: skip
    if architecture != "gpt_neox":
        options["num_key_value_heads"] = 2
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return AutoModelForCausalLM.from_config(AutoConfig.for_model(architecture, **options))


def random_language(architecture: str = "llama", *, tied: bool = False, checkpointing: bool = False, dtype=None):
    from fedmeki_bench.foundation.language import Language

    model = random_model(architecture, tied=tied)
    tokenizer = random_tokenizer(bos=architecture != "qwen2")
    return Language(model.to(dtype), tokenizer, name=architecture, gradient_checkpointing=checkpointing)


@pytest.fixture(params=ARCHITECTURES)
def language(request):
    return random_language(request.param)


@pytest.fixture(scope="session")
def make_language():
    return random_language


@pytest.fixture
def batch():
    """Soft tokens (3, 4, 32), a mask with holes, prompts and answers of different lengths."""
    soft = torch.randn(3, 4, 32, generator=torch.Generator().manual_seed(1)) * 0.3
    mask = torch.tensor([[1, 1, 1, 1], [1, 0, 1, 0], [0, 0, 0, 0]]).bool()
    prompts = [
        "is there an opacity ? Answer :",
        "fever ? Answer :",
        "has the patient a cough in the left lung ? Answer :",
    ]
    answers = ["yes", "no fever", "left lung cough"]
    return soft, mask, prompts, answers


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
