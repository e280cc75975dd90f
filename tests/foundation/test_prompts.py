"""Prompt formats: what a model reads, where an answer ends, and what is said when a format can't be had."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from fedmeki_bench.errors import InputError
from fedmeki_bench.foundation.language import Language
from fedmeki_bench.foundation.prompts import PromptFormat, prompt_format

from .gguf_models import TEMPLATE

QUESTION = "is there an opacity ?"


def byte_tokenizer(template: str | None = TEMPLATE, *, bos: bool = True):
    """Every byte a token, so that no text is lost; the template's marks are tokens of their own."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    marks = ["<pad>", "<bos>", "<eos>", "<|im_start|>", "<|im_end|>"]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(models.BPE({token: i for i, token in enumerate([*marks, *letters])}, []))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    if bos:
        inner.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 1)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>",
        additional_special_tokens=marks[3:],
    )  # fmt: skip
    tokenizer.chat_template = template
    return tokenizer


def speaking(name: str, **options) -> Language:
    from transformers import LlamaConfig, LlamaForCausalLM

    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=261, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
            max_position_embeddings=512, initializer_range=0.3, bos_token_id=1, eos_token_id=2,
        )  # fmt: skip
        language = Language(LlamaForCausalLM(config), byte_tokenizer(**options), name="some model")
    language.speak(name)
    return language


def expected_row(language: Language, name: str, soft: torch.Tensor, answer: str) -> tuple[torch.Tensor, list[int]]:
    """Input embeddings of one row written out from the format's definition, and the target ids."""
    before, between, after, end, start = {
        "plain": ("", "", "", "<eos>", "<bos>"),
        "chat": ("<|im_start|>user\n", "\n", "<|im_end|>\n<|im_start|>assistant\n", "<|im_end|>", ""),
        "published": ("### Human: <Img>", "</Img> ", "\n### Assistant: ", "\n###", "<bos>"),
    }[name]
    gap = " " if name == "plain" else ""
    ids = lambda text: language.tokenizer(text, add_special_tokens=False)["input_ids"]  # noqa: E731
    table = language.model.get_input_embeddings()
    target = ids(gap + answer + end)
    words = [table(torch.tensor(ids(text), dtype=torch.long)) for text in (start + before, between + QUESTION + after)]
    return torch.cat([words[0], soft, words[1], table(torch.tensor(target))]), target


@pytest.mark.parametrize("name", ["plain", "chat", "published"])
def test_loss_and_score_are_those_of_the_written_out_sequence(name):
    language = speaking(name)
    soft = torch.randn(1, 3, 32, generator=torch.Generator().manual_seed(1))
    found = []
    for answer in ("yes", "no opacity"):
        row, target = expected_row(language, name, soft[0], answer)
        with torch.no_grad():
            logits = language.model(inputs_embeds=row.unsqueeze(0)).logits[0]
        places = torch.arange(len(row) - len(target) - 1, len(row) - 1)
        each = functional.log_softmax(logits[places], dim=-1)[torch.arange(len(target)), torch.tensor(target)]
        sums, counts = language.answer_losses(soft, None, [QUESTION], [answer])
        assert counts.tolist() == [len(target)]
        assert float(sums) == pytest.approx(-float(each.sum()), abs=1e-3)
        found.append(float(each.sum()))
    assert language.score(soft, None, [QUESTION], ["yes", "no opacity"])[0].tolist() == pytest.approx(found, abs=1e-3)


def says(language: Language, text: str, monkeypatch) -> None:
    """Let the model say these tokens, one after another, whatever it reads."""
    ids = language.tokenizer(text, add_special_tokens=False)["input_ids"]
    inner, at = language._forward, iter(ids)

    def forward(*arguments, **options):
        reply = inner(*arguments, **options)
        logits = torch.zeros_like(reply.logits)
        logits[..., next(at)] = 1.0
        reply.logits = logits
        return reply

    monkeypatch.setattr(language, "_forward", forward)


@pytest.mark.parametrize(
    ("name", "text", "answer"),
    [
        ("plain", "yes<eos>more", "yes"),
        ("chat", "yes.<|im_end|>\n<|im_start|>user", "yes."),
        ("chat", "yes<eos>more", "yes"),
        ("published", "the left lung\n### Human: why", "the left lung"),
        ("published", "no # or ##\n###", "no # or ##"),
        ("published", "no<eos>\n###", "no"),
    ],
)
def test_an_answer_ends_where_its_format_says(monkeypatch, name, text, answer):
    language = speaking(name)
    says(language, text, monkeypatch)
    assert language.generate(None, None, [QUESTION], 40) == [answer]


def test_the_end_of_chat_is_no_end_of_plain(monkeypatch):
    language = speaking("plain")
    says(language, "yes<|im_end|>no<eos>", monkeypatch)
    assert language.generate(None, None, [QUESTION], 40) == ["yesno"]


def test_a_finished_row_does_not_end_the_others(monkeypatch):
    language = speaking("published")
    soft = torch.randn(2, 3, 32, generator=torch.Generator().manual_seed(1))
    alone = [language.generate(soft[i : i + 1], None, [QUESTION], 12) for i in range(2)]
    assert language.generate(soft, None, [QUESTION] * 2, 12) == [a for (a,) in alone]


def test_a_template_that_brings_its_own_start_gets_no_second_one():
    with_start = speaking("chat", template="{{ bos_token }}" + TEMPLATE)
    piece, _ = with_start._before(None, None, [QUESTION])
    table = with_start.model.get_input_embeddings()
    assert torch.equal(piece.embeddings[0, 0], table.weight[1])
    assert not torch.equal(piece.embeddings[0, 1], table.weight[1])
    assert not torch.equal(speaking("chat")._before(None, None, [QUESTION])[0].embeddings[0, 0], table.weight[1])


def test_an_answer_is_trained_where_the_template_puts_a_finished_one():
    """Some templates open an answer with an empty train of thought: the answer comes after it."""
    thinking = TEMPLATE.replace("m['content']", "('<t></t>' if m['role'] == 'assistant' else '') + m['content']")
    format = prompt_format("chat", byte_tokenizer(thinking))
    assert format.after == "<|im_end|>\n<|im_start|>assistant\n<t></t>"
    assert format.end == "<|im_end|>"


def test_formats_that_cannot_be_had_are_told_in_a_sentence():
    language = speaking("plain", template=None)
    with pytest.raises(InputError, match=r"'some model' has no chat template: use prompt_format=plain"):
        language.speak("chat")
    with pytest.raises(InputError, match=r"unknown prompt format 'chatt'.*chat"):
        language.speak("chatt")
    with pytest.raises(InputError, match="it said: alternate"):
        prompt_format("chat", byte_tokenizer("{{ raise_exception('alternate, please') }}"), "m")
    with pytest.raises(InputError, match="as they are"):
        prompt_format("chat", byte_tokenizer("{{ messages[0]['content'] | upper }}"), "m")


def test_plain_is_as_nothing():
    assert prompt_format("plain", None) == PromptFormat()
