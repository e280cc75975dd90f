"""What F says by itself: one way to compute it, kept or not, and nothing that a run trains enters it."""

from __future__ import annotations

import json
import threading
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch

from fedmeki_bench.cache import CACHE_VARIABLE
from fedmeki_bench.foundation import own_answers as kept
from fedmeki_bench.foundation.adapters import Adapters
from fedmeki_bench.foundation.own_answers import own_answers

QUESTIONS = [
    "fever ? Answer :", "is there an opacity ? Answer :", "cough ? Answer :",
    "has the patient a cough in the left lung ? Answer :",
    ["is there", torch.zeros(0, 32), "an opacity in the lung ? Answer :"],
]  # fmt: skip
CANDIDATES = ["no", "yes", "left lung"]


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache" / "answers"


@pytest.fixture
def asked(monkeypatch):
    """How often F was really asked."""
    calls = []
    plain = kept._ask
    monkeypatch.setattr(kept, "_ask", lambda *args: calls.append(1) or plain(*args))
    return calls


def around(language, adapters=None):
    """A foundation model with adapters, as far as it is needed here."""
    return SimpleNamespace(language=language, silenced=adapters.silent if adapters else nullcontext)


def ask(injected, questions=QUESTIONS, candidates=CANDIDATES, *, tokens=4, batch=2):
    return own_answers(injected, questions, candidates, tokens, batch=batch)


def same(one, other):
    return one.text == other.text and (
        one.likelihood is other.likelihood is None or torch.equal(one.likelihood, other.likelihood)
    )


@pytest.mark.parametrize("candidates", [CANDIDATES, []])
def test_kept_answers_have_the_bits_of_new_ones(make_language, cache, asked, monkeypatch, candidates):
    first = ask(around(make_language()), candidates=candidates)
    again = ask(around(make_language()), candidates=candidates)  # as another run loads it
    assert same(first, again)
    assert len(asked) == 1
    monkeypatch.setattr(kept, "_read", lambda entry: None)
    assert same(first, ask(around(make_language()), candidates=candidates))
    assert len(asked) == 2
    assert not any(question in file.read_text() for file in cache.glob("*.json") for question in QUESTIONS[:4])


def test_nothing_that_a_run_trains_enters(make_language, cache, asked):
    plain = ask(around(make_language()))
    for value in (0.5, float("nan")):
        language = make_language()
        adapters = Adapters(language, rank=2, experts=2, absorbs=False)
        with torch.no_grad():
            for low in adapters.low_rank.values():
                low.B.fill_(value)
        with adapters.gated(torch.tensor([0.5, 0.5])):
            loud = kept._ask(language, QUESTIONS, CANDIDATES, 4, 2)
            assert not same(plain, loud)  # the control
        assert same(plain, ask(around(language, adapters)))
        for file in cache.glob("*.json"):
            file.unlink()
        assert same(plain, ask(around(language, adapters)))  # computed beside adapters, not read
        del asked[:]


def test_whatever_decides_the_bits_names_the_entry(make_language, cache, asked):
    injected = around(make_language())
    ask(injected)
    other = make_language()
    with torch.no_grad():
        other.model.get_input_embeddings().weight[5, 5] += 2**-12
    published = make_language()
    published.speak("published")
    variants = [
        lambda: ask(around(other)),
        lambda: ask(around(published)),
        lambda: ask(around(make_language(dtype=torch.bfloat16))),
        lambda: ask(around(make_language("mistral"))),
        lambda: ask(injected, QUESTIONS[::-1]),  # other neighbours, another padding
        lambda: ask(injected, QUESTIONS, CANDIDATES[::-1]),
        lambda: ask(injected, QUESTIONS, []),
        lambda: ask(injected, tokens=3),
        lambda: ask(injected, batch=3),
    ]
    for number, variant in enumerate(variants, start=2):
        variant()
        assert len(asked) == number
    ask(injected)
    assert len(asked) == len(variants) + 1
    torch.set_num_threads(2)
    ask(injected)
    assert len(asked) == len(variants) + 2


def test_soft_tokens_are_refused(make_language, cache):
    with pytest.raises(ValueError, match="no soft tokens"):
        ask(around(make_language()), [["fever", torch.ones(2, 32), "? Answer :"]])


def swapped(file):
    """Another entry's content under this name."""
    body = json.dumps({"text": ["yes"] * 5, "likelihood": None}).encode()
    other = file.with_name("0" * 64 + ".json")
    kept._write(other, kept.Said(["yes"] * 5, None))
    assert body in other.read_bytes()
    return other.read_bytes()


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: b"", lambda file: file.read_bytes()[:-7], lambda file: file.read_bytes().replace(b"[", b"{", 1),
        lambda file: file.read_bytes().replace(b"-", b"", 1), lambda file: b"\xff\x00" * 40, swapped,
    ],
)  # fmt: skip
def test_a_damaged_entry_is_asked_again_and_mended(make_language, cache, asked, damage):
    injected = around(make_language())
    first = ask(injected)
    (file,) = cache.glob("*.json")
    whole = file.read_bytes()
    damaged = damage(file)
    assert damaged != whole
    file.write_bytes(damaged)
    assert same(first, ask(injected))
    assert len(asked) == 2
    assert file.read_bytes() == whole


def test_who_asks_the_same_at_the_same_time_waits(make_language, cache, monkeypatch):
    languages = [around(make_language()) for _ in range(4)]
    wanted = kept._ask(languages[0].language, QUESTIONS, CANDIDATES, 4, 2)
    for injected in languages:
        kept._identity(injected.language)
    calls, found = [], []

    def slowly(*args):
        calls.append(1)
        threading.Event().wait(0.3)
        return wanted

    monkeypatch.setattr(kept, "_ask", slowly)
    threads = [threading.Thread(target=lambda i=i: found.append(ask(i))) for i in languages]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1
    assert all(same(wanted, said) for said in found)
    assert len(found) == 4


def test_without_a_cache_folder_answers_are_the_same(make_language, cache, tmp_path, monkeypatch, asked):
    first = ask(around(make_language()))
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "file"))
    for _ in range(2):
        assert same(first, ask(around(make_language())))
    assert len(asked) == 3


def test_the_cache_is_bounded(make_language, cache, monkeypatch):
    injected = around(make_language())
    ask(injected)
    (oldest,) = cache.glob("*.json")
    size = oldest.stat().st_size
    monkeypatch.setattr(kept, "MOST", 3 * size)
    for tokens in (5, 6, 7, 8):
        ask(injected, tokens=tokens)
    assert sum(file.stat().st_size for file in cache.glob("*.json")) <= 3 * size
    assert not oldest.exists()
    assert len(list(cache.glob("*.lock"))) <= 3
