from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fedmeki_bench.errors import InputError, RunFailed
from fedmeki_bench.evaluation import intervals
from fedmeki_bench.evaluation.intervals import estimate, estimate_text
from fedmeki_bench.evaluation.metrics import ACCURACY, AUROC, BUILT_IN, PRECISION, RECALL
from fedmeki_bench.evaluation.text_metrics import TEXT

ALL = list(BUILT_IN.values())


def data(n=200, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    return y, np.clip(0.5 + 0.2 * (y - 0.5) + 0.2 * rng.normal(size=n), 0, 1), np.arange(n)


def test_deterministic_and_the_value_is_inside():
    y, s, g = data()
    one, two = estimate(y, s, g, ALL, seed=3), estimate(y, s, g, ALL, seed=3)
    assert one == two
    assert estimate(y, s, g, ALL, seed=4) != one
    for e in one.values():
        assert e.low < e.value < e.high
        assert e.note == ""


def test_group_names_do_not_matter():
    y, s, g = data()
    named = np.array([f"p{i:04}" for i in g], dtype=object)
    assert estimate(y, s, named, [AUROC], seed=0) == estimate(y, s, g, [AUROC], seed=0)


def test_width_agrees_with_theory_and_grows_with_clusters():
    rng = np.random.default_rng(1)
    right = rng.random(400) < 0.8
    y = rng.integers(0, 2, 400)
    s = np.where(right, y, 1 - y).astype(float)
    e = estimate(y, s, np.arange(400), [ACCURACY], seed=0)["accuracy"]
    theory = 2 * 1.96 * np.sqrt(e.value * (1 - e.value) / 400)
    assert e.high - e.low == pytest.approx(theory, rel=0.15)
    # Every sample four times over, as four recordings of one patient: nothing new is known.
    y4, s4, g4 = np.tile(y, 4), np.tile(s, 4), np.tile(np.arange(400), 4)
    copies = estimate(y4, s4, g4, [ACCURACY], seed=0)["accuracy"]
    assert (copies.value, copies.low, copies.high) == pytest.approx((e.value, e.low, e.high))
    naive = estimate(y4, s4, np.arange(1600), [ACCURACY], seed=0)["accuracy"]
    assert naive.high - naive.low < 0.6 * (e.high - e.low)


def test_simulated_coverage():
    rng = np.random.default_rng(2)
    hits = 0
    for trial in range(200):
        patient = rng.random(60) < 0.7  # each patient's two samples are right or wrong together
        s = np.repeat(patient, 2).astype(float)
        e = estimate(np.ones(120, int), s, np.repeat(np.arange(60), 2), [ACCURACY], seed=trial, resamples=300)
        hits += e["accuracy"].low <= 0.7 <= e["accuracy"].high
    assert 0.89 <= hits / 200 <= 0.99


def test_several_clients_are_averaged_and_resampled_jointly():
    y, s, g = data()
    both = estimate(y, np.stack([s, 1 - s]), g, [AUROC], seed=0)["auroc"]
    # A model and its mirror always average to one half, on every resample.
    assert (both.value, both.low, both.high) == pytest.approx((0.5, 0.5, 0.5))
    same = estimate(y, np.stack([s, s, s]), g, ALL, seed=0)
    for name, e in estimate(y, s, g, ALL, seed=0).items():
        assert (same[name].value, same[name].low) == pytest.approx((e.value, e.low))


def test_undefined_value_has_a_reason():
    e = estimate(np.zeros(10, int), np.linspace(0, 1, 10), np.arange(10), [AUROC, ACCURACY], seed=0)
    assert np.isnan([e["auroc"].value, e["auroc"].low, e["auroc"].high]).all()
    assert e["auroc"].note == "undefined: all samples have the same label"
    assert np.isfinite(e["accuracy"].value)


def test_undefined_resamples_are_left_out_and_counted():
    y = np.array([1] + [0] * 9)
    e = estimate(y, np.full(10, 0.7), np.arange(10), [RECALL, PRECISION, ACCURACY], seed=0)
    assert e["recall"].value == e["recall"].low == 1.0
    share = int(e["recall"].note.split()[2]) / 1000
    assert share == pytest.approx(0.9**10, abs=0.06)  # no draw hits the one positive
    assert e["accuracy"].note == ""


def test_same_result_in_small_chunks_of_samples(monkeypatch):
    y, s, g = data(60)
    whole = estimate(y, s, g, [AUROC], seed=0, resamples=50)
    monkeypatch.setattr(intervals, "_CHUNK_ELEMENTS", 60)
    assert estimate(y, s, g, [AUROC], seed=0, resamples=50) == whole


def test_no_resamples_no_interval():
    y, s, g = data()
    e = estimate(y, s, g, [AUROC], seed=0, resamples=0)["auroc"]
    assert e.value == estimate(y, s, g, [AUROC], seed=0)["auroc"].value
    assert np.isnan([e.low, e.high]).all()
    assert e.note == ""


def test_order_of_samples_does_not_matter():
    y, s, g = data()
    shuffled = np.random.default_rng(9).permutation(len(y))
    one, two = estimate(y, s, g, ALL, seed=0), estimate(y[shuffled], s[shuffled], g[shuffled], ALL, seed=0)
    for name in one:
        assert (one[name].value, one[name].low, one[name].high) == pytest.approx(
            (two[name].value, two[name].low, two[name].high)
        )


def test_text_is_resampled_like_scores():
    y, s, g = data()
    right = (s >= 0.5) == (y == 1)
    gold = ["yes" if label else "no" for label in y]
    said = [w if ok else "maybe" for w, ok in zip(gold, right, strict=True)]
    by_text = estimate_text(gold, said, g // 2, [TEXT["exact_match"]], seed=5)["exact_match"]
    by_score = estimate(y, s, g // 2, [ACCURACY], seed=5)["accuracy"]
    assert (by_text.value, by_text.low, by_text.high) == pytest.approx((by_score.value, by_score.low, by_score.high))


def test_text_per_sample_values_are_kept_apart_and_custom_functions_called():
    calls = []

    def once(gold, predicted):
        calls.append((gold, predicted))
        return float(gold == predicted)

    largest = replace(
        TEXT["exact_match"], name="largest", per_sample=once, function=lambda y, v, w: np.where(w > 0, v, 0).max(axis=1)
    )
    found = estimate_text(["a", "b", "a"], ["a", "c", "a"], range(3), [largest, TEXT["unparsed"]], seed=0, resamples=20)
    assert calls == [("a", "a"), ("b", "c")]  # a repeated pair is computed once
    assert (found["largest"].value, found["largest"].low) == (1.0, pytest.approx(0.0, abs=1))
    assert found["unparsed"].value == 0


@pytest.mark.parametrize(
    ("gold", "predicted", "groups", "metrics", "says"),
    [
        ([], [], [], ["bleu1"], "no samples"),
        (["x"], [], [0], ["bleu1"], "differ in length"),
        (["x"], ["x"], [0], ["auroc"], "'auroc' needs probabilities"),
    ],
)
def test_bad_text(gold, predicted, groups, metrics, says):
    with pytest.raises(InputError, match=says):
        estimate_text(gold, predicted, groups, [{**TEXT, **BUILT_IN}[m] for m in metrics], seed=0)


@pytest.mark.parametrize(
    ("labels", "scores", "groups", "error", "says"),
    [
        ([], [], [], InputError, "no samples"),
        ([0, 1], [0.1], [0, 1], InputError, "do not fit"),
        ([0, 2], [0.1, 0.2], [0, 1], InputError, "0 or 1"),
        ([0, 1], [0.1, float("nan")], [0, 1], RunFailed, "1 of 2 test scores"),
    ],
)
def test_bad_input(labels, scores, groups, error, says):
    with pytest.raises(error, match=says):
        estimate(labels, scores, groups, [AUROC], seed=0)
