"""What a model says decides accuracy and its like, how probable it finds yes decides AUROC and its like: everywhere."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from fedmeki_bench.errors import InputError
from fedmeki_bench.evaluation.constant_answer import best_constant, constantly
from fedmeki_bench.evaluation.estimates import columns, readable, score_predictions, source, value_of
from fedmeki_bench.evaluation.intervals import estimate
from fedmeki_bench.evaluation.metrics import BUILT_IN
from fedmeki_bench.evaluation.predictions import Predictions, TextPredictions
from fedmeki_bench.evaluation.protocols import Answers, score_answers
from fedmeki_bench.evaluation.subgroups import subgroups
from fedmeki_bench.evaluation.text_metrics import TEXT

N = 40
LABELS = np.arange(N) % 2
RIGHT = np.where(LABELS == 1, 0.9, 0.2)  # probabilities that a threshold of 0.5 would get all right
SPECS = [BUILT_IN[n] for n in ("auroc", "accuracy", "precision", "recall", "f1", "mcc", "balanced_accuracy", "brier")]
BY_ANSWER = ("accuracy", "precision", "recall", "f1", "mcc", "balanced_accuracy")


def objects(values):
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return out


def said(texts, parsed, **changes) -> TextPredictions:
    ids = np.array([f"s{i}" for i in range(N)])
    made = TextPredictions(
        sample_id=ids, group_id=np.array([f"p{i // 2}" for i in range(N)]),
        site=np.array(["A", "B"] * (N // 2)), gold=LABELS, answer=objects(texts), parsed=objects(parsed), score=RIGHT,
    )  # fmt: skip
    return replace(made, **changes)


def values(found):
    return {name: e.value for name, e in found.items()}


def test_unparsed_answers_are_wrong_whatever_their_probabilities():
    found = values(score_predictions(said(["mumble"] * N, [None] * N), SPECS, seed=0, kind="binary"))
    assert {name: found[name] for name in BY_ANSWER} == pytest.approx(dict.fromkeys(BY_ANSWER, 0.0) | {"mcc": -1.0})
    assert found["auroc"] == 1.0  # by probability, the model knows
    assert found["brier"] == pytest.approx(np.mean((RIGHT - LABELS) ** 2))
    assert found["unparsed"] == 1.0


def test_answers_and_probabilities_are_kept_apart():
    half = [int(label) if i < N // 2 else 1 - int(label) for i, label in enumerate(LABELS)]
    texts = ["yes" if p else "no" for p in half]
    found = score_predictions(said(texts, half), SPECS, seed=3, kind="binary")
    assert found["accuracy"].value == 0.5
    assert found["auroc"].value == 1.0
    # the same as scoring the same answers from a file, intervals included
    rows = Answers([["no", "yes"][label] for label in LABELS], texts, list(RIGHT), said(texts, half).group_id)
    assert found == {name: score_answers(rows, kind="binary", seed=3)[name] for name in found}


def test_probabilities_alone_are_scored_as_before():
    p = Predictions(said(["yes"] * N, [1] * N).sample_id, np.arange(N), np.arange(N), LABELS, RIGHT)
    assert score_predictions(p, SPECS, seed=1, kind="binary") == estimate(LABELS, RIGHT, np.arange(N), SPECS, seed=1)
    assert {source(m, in_words=False) for m in SPECS} == {"probability"}
    assert {m.name for m in SPECS if source(m, in_words=True) == "answer"} == set(BY_ANSWER)


def test_groups_rest_on_the_same_columns_as_the_cell():
    answered = said(["yes"] * N, [1] * N)
    found = subgroups(answered, BUILT_IN["accuracy"], {"site": list(answered.site)}, seed=0)["site"]
    assert [(s.name, s.value) for s in found] == [("A", 0.0), ("B", 1.0)]  # A holds the noes
    taken = columns(answered, BUILT_IN["accuracy"])
    assert BUILT_IN["accuracy"](taken.labels, taken.scores[0]) == 0.5


def test_what_does_not_fit_is_refused():
    free = said(["a"] * N, ["a"] * N, gold=objects(["a"] * N), score=None)
    with pytest.raises(InputError, match="needs labels"):
        columns(free, BUILT_IN["accuracy"])
    with pytest.raises(InputError, match="not those of a binary task"):
        score_predictions(free, SPECS, seed=0, kind="binary")
    with pytest.raises(InputError, match="needs probabilities"):
        score_predictions(said(["yes"] * N, [1] * N, score=None), SPECS, seed=0, kind="binary")
    p = Predictions(free.sample_id, free.group_id, free.site, LABELS, RIGHT)
    with pytest.raises(InputError, match="compares texts"):
        score_predictions(p, [TEXT["token_f1"]], seed=0, kind="binary")
    with pytest.raises(InputError, match="scores of a binary task"):
        score_predictions(p, [TEXT["token_f1"]], seed=0, kind="generation")
    assert readable(said(["x"] * N, [None] * N)) == [None] * N


def test_the_best_constant_answer_is_the_one_that_scores_best():
    gold = objects(["No", "no", "yes", "left lung", "left lung base"] + ["right"] * (N - 5))
    free = replace(said([""] * N, [None] * N, score=None), gold=gold)
    answer, why = best_constant(free, lambda p: value_of(p, TEXT["token_f1"]))
    assert answer == "right"
    assert "best on these very samples" in why
    scored = {a: value_of(constantly(free, a), TEXT["token_f1"]) for a in ("yes", "no", "right", "left lung")}
    assert max(scored, key=scored.get) == "right"  # no candidate is better
    for positives, usual in ((N // 2, "no"), (N // 2 + 1, "yes"), (N // 2 - 1, "no")):  # AUROC ties: the most frequent
        labels = said([""] * N, [None] * N, gold=(np.arange(N) < positives).astype(int))
        assert best_constant(labels, lambda p: value_of(p, BUILT_IN["auroc"]))[0] == usual


def test_what_a_constant_answer_scores():
    found = values(score_predictions(constantly(said([""] * N, [None] * N), "yes"), SPECS, seed=0,
                                     kind="binary"))  # fmt: skip
    assert (found["auroc"], found["accuracy"], found["recall"], found["unparsed"]) == (0.5, 0.5, 1.0, 0.0)
    assert found["f1"] == pytest.approx(2 / 3)
    gold = objects(["yes", "no", "left lung", "yes"] * (N // 4))
    free = constantly(said(["x"] * N, ["x"] * N, gold=gold, score=None), "yes")
    found = score_predictions(free, [TEXT["token_f1"], TEXT["exact_match"]], seed=0, kind="generation")
    assert found["exact_match"].value == found["token_f1"].value == 0.5


def test_scoring_stored_predictions_needs_no_torch():
    code = "import sys, fedmeki_bench.evaluation.estimates, fedmeki_bench.evaluation.subgroups, "
    code += "fedmeki_bench.evaluation.constant_answer; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
