"""Text metrics: by hand, and against NLTK and rouge-score where those define them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmeki_bench.evaluation import text_metrics
from fedmeki_bench.evaluation.intervals import estimate_text
from fedmeki_bench.evaluation.text_metrics import TEXT, normalise, parse_yes_no, words
from fedmeki_bench.kinds.kind import LabelSpec
from fedmeki_bench.task import Task

VOCABULARY = ["the", "lung", "lungs", "is", "not", "enlarged", "left", "2.5", "cm"]
sentences = st.lists(st.sampled_from(VOCABULARY), min_size=1, max_size=12).map(" ".join)


def value(name, gold, predicted):
    return TEXT[name].per_sample(gold, predicted)


def test_words_and_normalisation():
    assert words("The T2-weighted mass: 2.5 cm, 3.") == ("the", "t2", "weighted", "mass", "2.5", "cm", "3")
    assert words("…") == ()
    assert normalise(" The  T2-weighted, mass. ") == "t2weighted mass"
    assert normalise("A") == "a"  # a choice, not an article
    assert normalise("a an theatre") == "theatre"


@pytest.mark.parametrize(
    ("name", "gold", "predicted", "wanted"),
    [
        ("exact_match", "The left lung.", "left lung", 1),
        ("exact_match", "left lung", "lung left", 0),
        ("exact_match", "A", "a.", 1),
        # shared: left, lung; 2 of 2 gold words, 2 of 3 predicted ones
        ("token_f1", "the left lung", "left upper lung", 2 * 2 / (2 + 3)),
        ("token_f1", "left lung", "lung lung", 2 * 1 / 4),  # counted with repetition
        ("token_f1", "left lung", "right", 0),
        ("bleu1", "the left lung", "the left lung", 1),
        ("bleu1", "the left lung", "the the lung", 2 / 3),  # clipped
        ("bleu1", "the left lung", "left", math.exp(1 - 3)),  # too short
        ("bleu1", "left", "the left lung", 1 / 3),  # too long costs precision only
        ("bleu4", "yes", "yes", 1),
        ("bleu4", "left lung", "left lung", 1),
        # unigrams 3/4, pairs (1+1)/(3+1), triples (0+1)/(2+1), quadruples (0+1)/(1+1)
        ("bleu4", "a b c d", "a b x d", (3 / 4 * 2 / 4 * 1 / 3 * 1 / 2) ** (1 / 4)),
        ("rouge1", "left lung", "left upper lung", 4 / 5),
        ("rougeL", "a b c d", "a c b d", 2 * 3 / 8),
        ("rougeL", "a b", "b a", 2 * 1 / 4),
        # one match in one chunk: F 1, penalty 1/2
        ("meteor", "yes", "yes", 0.5),
        # all four match in one chunk: 1 - 0.5 (1/4)^3
        ("meteor", "heart size is normal", "heart size is normal", 1 - 0.5 / 64),
        # stems match: lungs, lung; recall 1/2, precision 1: F = PR / (0.9 P + 0.1 R), penalty 1/2
        ("meteor", "lungs zzz", "lung", 0.5 * 0.5 / (0.9 + 0.05)),
        ("closed_accuracy", "Yes", "yes, it is", 1),
        ("closed_accuracy", "no", "Yes", 0),
        ("closed_accuracy", "no", "yes and no", 0),
    ],
)
def test_by_hand(name, gold, predicted, wanted, monkeypatch):
    monkeypatch.setattr(text_metrics, "_wordnet", text_metrics._NoWordNet)
    assert value(name, gold, predicted) == pytest.approx(wanted, abs=1e-12)


def test_none_is_zero_everywhere_and_counted_once():
    for name, metric in TEXT.items():
        assert metric.per_sample("yes", None) == (name == "unparsed")
        assert metric.range == (0, 1)
        assert metric.kinds == (() if name == "unparsed" else ("generation",))
    assert TEXT["unparsed"].direction == "lower"


def test_texts_without_words_are_zero_and_do_not_fail():
    for name in ("token_f1", "bleu1", "bleu4", "rouge1", "rougeL", "meteor"):
        assert value(name, "…", "…") == (name == "token_f1")
        assert value(name, "lung", "!") == 0


def test_closed_accuracy_counts_yes_no_questions_only():
    gold, said = ["yes", "no", "left lung", "Yes."], ["yes", "yes", "left lung", None]
    metric = [TEXT["closed_accuracy"]]
    assert estimate_text(gold, said, range(4), metric, seed=0)["closed_accuracy"].value == pytest.approx(1 / 3)
    some = estimate_text(gold, said, range(4), metric, seed=0, closed=[True, False, True, False])
    assert some["closed_accuracy"].value == 1
    none = estimate_text(["mri"], ["mri"], [0], metric, seed=0)["closed_accuracy"]
    assert math.isnan(none.value)
    assert none.note == "undefined: no question has the gold answer yes or no"


@settings(max_examples=150, deadline=None)
@given(sentences, sentences)
def test_bleu_equals_nltk(gold, predicted):
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

    reference, hypothesis = [gold.split()], predicted.split()
    shared = set(gold.split()) & set(hypothesis)
    wanted = sentence_bleu(reference, hypothesis, weights=(1,)) if shared else 0
    assert value("bleu1", gold, predicted) == pytest.approx(wanted, abs=1e-12)
    if len(hypothesis) >= 4:
        wanted = sentence_bleu(reference, hypothesis, smoothing_function=SmoothingFunction().method2) if shared else 0
        assert value("bleu4", gold, predicted) == pytest.approx(wanted, abs=1e-12)


@settings(max_examples=150, deadline=None)
@given(sentences, sentences)
def test_rouge_equals_rouge_score(gold, predicted):
    rouge_scorer = pytest.importorskip("rouge_score.rouge_scorer")
    tokenizer = type("Words", (), {"tokenize": staticmethod(words)})
    wanted = rouge_scorer.RougeScorer(["rouge1", "rougeL"], tokenizer=tokenizer).score(gold, predicted)
    for name in ("rouge1", "rougeL"):
        assert value(name, gold, predicted) == pytest.approx(wanted[name].fmeasure, abs=1e-12)


@given(sentences, sentences)
def test_values_stay_in_range_and_a_perfect_answer_is_best(gold, predicted):
    for name, metric in TEXT.items():
        if name == "closed_accuracy":
            continue
        assert 0 <= metric.per_sample(gold, predicted) <= 1
        if name not in ("unparsed", "meteor"):
            assert metric.per_sample(gold, gold) == pytest.approx(1)


def test_meteor_says_when_wordnet_is_missing():
    meteor = TEXT["meteor"]
    if text_metrics.wordnet_folder() is None:
        assert meteor.title == "METEOR (no WordNet)"
        assert meteor.version == 1
        found = estimate_text(["mri", "ct"], ["mri", "x"], [0, 1], [meteor], seed=0)["meteor"]
        assert "no WordNet" in found.note
    else:
        assert meteor.title == "METEOR"
        assert meteor.version == 2


def test_wordnet_is_found_where_nltk_looks(monkeypatch, tmp_path):
    (tmp_path / "corpora").mkdir()
    monkeypatch.setenv("NLTK_DATA", f"/nowhere:{tmp_path}")
    look = text_metrics.wordnet_folder.__wrapped__
    assert look() != tmp_path
    (tmp_path / "corpora" / "wordnet.zip").touch()
    assert look() == tmp_path


def test_synonyms_of_a_wordnet_are_used(monkeypatch):
    class Lemma:
        def name(self):
            return "tumour"

    class Synset:
        def lemmas(self):
            return [Lemma()]

    class Tiny:
        def synsets(self, word):
            return [Synset()] if word == "neoplasm" else []

    assert value("meteor", "tumour", "neoplasm") == 0 or text_metrics.wordnet_folder()
    monkeypatch.setattr(text_metrics, "_wordnet", Tiny)
    assert value("meteor", "tumour", "neoplasm") == pytest.approx(0.5)


@pytest.mark.parametrize("text", ["Yes.", "no", "yes no", "yesterday", "not", "", "It is NOT so: no!", "yes, yes"])
def test_yes_no_is_parsed_as_tasks_do(text):
    class Closed(Task):
        meta = type("Meta", (), {"labels": LabelSpec("binary")})

    assert parse_yes_no(text) == Closed().parse(text)
