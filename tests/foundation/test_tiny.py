"""The stand-in model: its text, its determinism, its cache; the real build is marked slow."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import replace
from itertools import combinations, islice

import numpy as np
import pytest
import torch

from fedmeki_bench.cache import CACHE_VARIABLE
from fedmeki_bench.foundation import tiny as module
from fedmeki_bench.foundation import tiny_config
from fedmeki_bench.foundation.build import build, load
from fedmeki_bench.foundation.memory import INTERNLM2_7B, adapter_parameters, training_memory
from fedmeki_bench.foundation.tiny import accuracy, pretrain, tiny_folder
from fedmeki_bench.foundation.tiny_config import TinyConfig
from fedmeki_bench.foundation.tiny_text import (
    PHRASINGS,
    Question,
    is_held_out,
    passages,
    plain_text_questions,
    words,
)
from fedmeki_bench.signs import FINDINGS, SIGNS

SHORT = TinyConfig(hidden=32, layers=2, heads=2, intermediate=48, vocabulary=400, steps=3, batch=8)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def test_held_out_questions_are_never_trained_on():
    held = plain_text_questions(200, seed=4)
    assert held == plain_text_questions(200, seed=4)
    assert held != plain_text_questions(200, seed=5)
    reports = {q.prompt.partition("\n")[0] for q in held}
    assert all(is_held_out(report) for report in reports)
    assert not reports & {passage.report for passage in islice(passages(0), 3000)}


def test_the_text_has_both_answers_equally_and_every_kind():
    questions = [q for passage in islice(passages(0), 2000) for q in passage.questions]
    assert set(Counter(q.kind for q in questions)) == {"presence", "list", "class"}
    answers = Counter(q.answer for q in questions if q.kind == "presence")
    assert set(answers) == {"yes", "no"}
    assert 0.4 < answers["yes"] / answers.total() < 0.55  # of a report without findings all is absent


def test_answers_follow_from_the_report_and_from_what_names_mean():
    """Every presence question is answered again from the words alone, by the table of names."""
    asked = plain_text_questions(400, seed=2, certain=True)
    names = {name: thing for thing, known in words().things.items() for name in known}
    for question in asked:
        report, _, prompt = question.prompt.partition("\n")
        there = {names[word] for word in report.split() if word in names}
        assert question.answer == ("yes" if names[prompt.split()[-1]] in there else "no"), question


def test_a_compound_finding_stands_for_the_signs_it_may_be():
    known, stream = words(), np.random.default_rng(0)
    for sign in ("early", "sagging"):
        said = Counter(known.name(sign, {sign}, stream) for _ in range(400))
        assert 0.15 < said["abnormality"] / 400 < 0.35
    assert "sepsis" not in {known.name("shock", {"shock"}, stream) for _ in range(200)}
    assert "sepsis" in {known.name("shock", {"shock", "infection"}, stream) for _ in range(200)}


def test_the_unrelated_text_knows_as_many_names_and_keeps_no_two_of_one_thing_together():
    true, other = words().things, words(related=False).things
    assert sorted(n for names in true.values() for n in names) == sorted(n for names in other.values() for n in names)
    together = {frozenset(pair) for names in true.values() for pair in combinations(names, 2)}
    assert not together & {frozenset(pair) for names in other.values() for pair in combinations(names, 2)}
    for trained in ("lung_opacity", "covid19", "mortality"):  # nor does a trained name count for a compound finding
        (name,) = FINDINGS[trained].names
        thing = next(t for t, names in other.items() if name in names)
        assert not any(thing in f.signs for f in words(related=False).compound.values())


@pytest.mark.slow
def test_every_name_of_the_stand_ins_is_a_word_the_text_holds():
    held = {word for passage in islice(passages(0), 4000) for word in passage.report.split()}
    for facts in (*SIGNS.values(), *FINDINGS.values()):
        assert set(facts.names) <= held, facts


@pytest.mark.slow
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


@pytest.mark.slow
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
    keys = {TinyConfig(**changed).key for changed in ({}, {"seed": 1}, {"steps": 5}, {"related": False})}
    assert len(keys) == 4


@pytest.mark.slow
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
    monkeypatch.setitem(tiny_config.STAND_INS, "tiny", SHORT)
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
def test_the_real_build_finds_one_thing_among_sixteen_by_any_of_its_names(tmp_path):
    language = load(tiny_folder(cache=tmp_path))
    assert accuracy(language, plain_text_questions(400, seed=1, findings=16, certain=True)) >= 0.95
    assert accuracy(language, plain_text_questions(400, seed=1)) >= 0.95
    assert accuracy(language, plain_text_questions(200, seed=1, kind="class")) >= 0.95
    for phrasing in PHRASINGS:
        asked = plain_text_questions(200, seed=6, findings=8, phrasing=phrasing, certain=True)
        assert accuracy(language, asked) >= 0.93, phrasing
    blank = [replace(q, prompt="\n" + q.prompt.partition("\n")[2]) for q in plain_text_questions(400, seed=1)]
    assert accuracy(language, blank) < 0.65  # the control: without the report there is nothing to go by


@pytest.mark.slow
def test_other_names_are_known_to_the_related_build_alone(tmp_path):
    shares = {}
    for related in (True, False):
        language = load(tiny_folder(TinyConfig(related=related), cache=tmp_path))
        asked = [
            Question(f" clear {said} plain quiet.\nYes or no, is there {other}", "yes", "presence")
            for names in words().things.values()
            for said in names
            for other in names
            if said != other
        ]
        shares[related] = accuracy(language, asked)
    assert shares[True] >= 0.95
    assert shares[False] <= 0.2
    language = load(tiny_folder(TinyConfig(related=False), cache=tmp_path))  # which looks names up as well
    same = [
        Question(f" clear {n} plain quiet.\nYes or no, is there {n}", "yes", "presence") for _, n in words().askable
    ]
    assert accuracy(language, same) >= 0.95
