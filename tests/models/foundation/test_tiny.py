"""The stand-in model: its text, its determinism, its cache; the real build is marked slow."""

from __future__ import annotations

import threading
from collections import Counter
from itertools import islice

import pytest
import torch

from fedmeki_bench.cache import CACHE_VARIABLE
from fedmeki_bench.models.foundation import tiny as module
from fedmeki_bench.models.foundation import tiny_config
from fedmeki_bench.models.foundation.build import build, load
from fedmeki_bench.models.foundation.memory import INTERNLM2_7B, adapter_parameters, training_memory
from fedmeki_bench.models.foundation.tiny import accuracy, pretrain, tiny_folder
from fedmeki_bench.models.foundation.tiny_config import TinyConfig
from fedmeki_bench.models.foundation.tiny_text import is_held_out, plain_text_questions, training_questions

TASK = "Above is a frontal chest radiograph. Is there an opacity? Reply with yes or no.\nAnswer:"
SHORT = TinyConfig(
    hidden=32, layers=2, heads=2, intermediate=48, vocabulary=400, steps=3, batch=8, extra_prompts=(TASK,)
)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def test_held_out_questions_are_never_trained_on():
    held = plain_text_questions(200, seed=4)
    assert held == plain_text_questions(200, seed=4)
    assert held != plain_text_questions(200, seed=5)
    assert all(is_held_out(q.prompt) for q in held)
    seen = {q.prompt for q in islice(training_questions(0), 3000)}
    assert not seen & {q.prompt for q in held}


def test_the_text_has_both_answers_equally_and_every_kind():
    questions = list(islice(training_questions(0, (TASK,)), 3000))
    assert set(Counter(q.kind for q in questions)) == {"presence", "place", "value", "verdict"}
    for kind in ("presence", "verdict"):
        answers = Counter(q.answer for q in questions if q.kind == kind)
        assert set(answers) == {"yes", "no"}
        assert 0.4 < answers["yes"] / answers.total() < 0.6
    assert all(q.prompt.endswith("Answer:") for q in questions)


def test_two_builds_give_the_same_bits_whatever_the_threads(one_thread):
    torch.manual_seed(1)
    first, _, _ = pretrain(SHORT)
    state = torch.random.get_rng_state()
    torch.set_num_threads(2)
    second, _, loss = pretrain(SHORT)
    assert torch.get_num_threads() == 2
    assert torch.equal(torch.random.get_rng_state(), state)
    for (name, a), b in zip(first.state_dict().items(), second.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    assert loss > 0


def test_the_tokenizer_reads_back_any_text(cache):
    language = load(tiny_folder(SHORT, cache=cache))
    text = 'Ω-waves, 12 µg: "unseen" words\n'
    assert language.tokenizer.decode(language.tokens(text)) == text
    assert language.tokens(" yes") != language.tokens(" no")


def test_a_built_model_is_found_again(cache, monkeypatch, capfd):
    steps = []
    config = TinyConfig(**{**{f: getattr(SHORT, f) for f in SHORT.__slots__}, "seed": 1})
    capfd.readouterr()
    folder = tiny_folder(config, cache=cache, progress=lambda done, total, loss: steps.append((done, total)))
    assert steps == [(1, 3), (2, 3), (3, 3)]
    assert capfd.readouterr() == ("", "")
    monkeypatch.setattr(module, "pretrain", lambda *_: pytest.fail("built twice"))
    assert tiny_folder(config, cache=cache) == folder
    language = load(folder)
    assert language.hidden_size == 32
    assert 0 <= accuracy(language, plain_text_questions(5, 0)) <= 1
    assert not [f for f in cache.iterdir() if f.is_dir() and f.name.count(".")]


def test_anything_that_defines_the_model_changes_its_key():
    keys = {TinyConfig(**changed).key for changed in ({}, {"seed": 1}, {"steps": 5}, {"extra_prompts": (TASK,)})}
    assert len(keys) == 4


def test_two_builders_at_once_build_once(tmp_path, monkeypatch):
    built, real = [], module.pretrain
    monkeypatch.setattr(module, "pretrain", lambda *a: built.append(1) or real(*a))
    threads = [threading.Thread(target=tiny_folder, args=(SHORT,), kwargs={"cache": tmp_path}) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert built == [1]


def test_an_interrupted_build_leaves_nothing(tmp_path):
    def stop(done, total, loss):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tiny_folder(SHORT, cache=tmp_path, progress=stop)
    assert [f.suffix for f in tmp_path.iterdir()] in ([], [".lock"])


def test_the_cache_folder_can_be_named(tmp_path, monkeypatch):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    monkeypatch.setattr(tiny_config, "TinyConfig", lambda **changed: SHORT)
    assert build("tiny").name == "tiny"
    assert [f.name for f in tmp_path.iterdir() if f.is_dir()] == [f"tiny-{SHORT.key}"]


def test_adapter_parameters_of_a_7b_model_from_its_shapes():
    """Rank 8 by hand: A and B of a linear layer have r (in + out) numbers."""
    h, inner, kv, vocabulary, layers = 4096, 14336, 1024, 92544, 32
    lora = adapter_parameters(INTERNLM2_7B)
    assert lora.attention == layers * 8 * (2 * (h + h) + 2 * (h + kv))
    assert lora.mlp == layers * 8 * 3 * (h + inner)
    assert lora.head == 8 * (h + vocabulary)
    assert lora.layers == 7 * layers + 1
    assert adapter_parameters(INTERNLM2_7B, experts=12).total == 12 * lora.total
    fused = adapter_parameters(INTERNLM2_7B, fused_qkv=True)
    assert fused.attention == layers * 8 * ((h + h + 2 * kv) + (h + h))
    assert 7.7e9 < lora.base < 7.8e9
    assert training_memory(INTERNLM2_7B).weights == 2 * lora.base


@pytest.mark.slow
def test_the_real_build_answers_held_out_questions(tmp_path):
    language = load(tiny_folder(cache=tmp_path))
    assert accuracy(language, plain_text_questions(400, seed=1)) > 0.9
