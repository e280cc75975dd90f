from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fedmeki_bench import registry
from fedmeki_bench.errors import InputError, RunFailed
from fedmeki_bench.evaluation.interval_methods import METHODS
from fedmeki_bench.evaluation.intervals import estimate, estimate_text
from fedmeki_bench.evaluation.metrics import ACCURACY, AUROC, BUILT_IN, PRECISION, RECALL
from fedmeki_bench.evaluation.text_metrics import TEXT
from fedmeki_bench.statistics import resampling

ALL = list(BUILT_IN.values())
WITH_INTERVAL = [m for m in ALL if m.interval != "none"]
BOOTSTRAP = [replace(m, interval="resampled") for m in ALL]


def data(n=200, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    return y, np.clip(0.5 + 0.2 * (y - 0.5) + 0.2 * rng.normal(size=n), 0, 1), np.arange(n)


def test_deterministic_and_the_value_is_inside():
    y, s, g = data()
    for metrics in (BOOTSTRAP, WITH_INTERVAL):
        one, two = estimate(y, s, g, metrics, seed=3), estimate(y, s, g, metrics, seed=3)
        assert one == two
        assert (estimate(y, s, g, metrics, seed=4) != one) == (metrics is BOOTSTRAP)  # only a resampled one draws
        for name, e in one.items():
            assert e.note == ""
            if name not in ("ece", "ece_null"):  # their bootstrap is biased
                assert e.low < e.value < e.high


def test_every_method_is_used_and_every_metric_names_one():
    named = {registry.load("metrics", name).interval for name in registry.names("metrics")}
    assert named == set(METHODS)
    with pytest.raises(InputError, match=r"'auroc' asks for an unknown interval 'aurok'; did you mean 'auroc'"):
        estimate([0, 1], [0.1, 0.9], [0, 1], [replace(AUROC, interval="aurok")], seed=0)


def test_a_metric_of_its_own_does_not_borrow_an_interval():
    y, s, g = data()
    other = replace(ACCURACY, function=lambda y, s, w: 1 - ACCURACY.function(y, s, w))
    with pytest.raises(InputError, match="give a metric with a function of its own the interval 'resampled'"):
        estimate(y, s, g, [other], seed=0)
    found = estimate(y, s, g, [replace(other, interval="resampled")], seed=0)["accuracy"]
    assert found.low < found.value < found.high


def test_calibration_errors_have_no_interval():
    y, s, g = data()
    for e in estimate(y, s, g, [BUILT_IN["ece"], BUILT_IN["ece_null"]], seed=0).values():
        assert np.isfinite(e.value)
        assert np.isnan([e.low, e.high]).all()
        assert e.note.startswith("no interval: a calibration error on resampled patients is larger")


def test_a_perfect_model_on_few_patients_has_one_sided_intervals():
    y = np.repeat([0, 1], [27, 13])
    found = estimate(y, 0.1 + 0.8 * y, np.arange(40), ALL, seed=0)
    for name, low in (("auroc", 0.88), ("accuracy", 0.9), ("recall", 0.73), ("balanced_accuracy", 0.85)):
        assert (found[name].value, found[name].high, found[name].note) == (1.0, 1.0, "")
        assert found[name].low == pytest.approx(low, abs=0.01)
    worst = estimate(y, 0.9 - 0.8 * y, np.arange(40), ALL, seed=0)
    assert (worst["auroc"].value, worst["auroc"].low, worst["recall"].low) == (0.0, 0.0, 0.0)
    assert worst["auroc"].high == pytest.approx(1 - found["auroc"].low)


def test_a_constant_model_is_certain_to_be_worth_one_half():
    y = np.repeat([0, 1], [27, 13])
    found = estimate(y, np.full(40, 0.3), np.arange(40), ALL, seed=0)
    for name in ("auroc", "balanced_accuracy"):
        assert (found[name].value, found[name].low, found[name].high) == (0.5, 0.5, 0.5)
    # Scores whose patients' parts cancel are not constant.
    y, s, g = np.array([1, 1, 1, 1, 0, 0]), np.array([0.9, 0.1, 0.9, 0.1, 0.5, 0.5]), np.array([0, 0, 1, 1, 2, 3])
    cancelled = estimate(y, s, g, [AUROC], seed=0)["auroc"]
    assert cancelled.value == 0.5
    assert cancelled.high - cancelled.low > 0.3


@pytest.mark.parametrize(("positives", "given"), [(19, False), (20, True)])
def test_below_twenty_patients_in_a_class_some_metrics_have_no_interval(positives, given):
    rng = np.random.default_rng(0)
    y, g = np.repeat([1, 0], [3 * positives, 90]), np.repeat(np.arange(positives + 30), 3)  # samples do not help
    s = np.clip(0.5 + 0.2 * (y - 0.5) + 0.2 * rng.normal(size=len(y)), 0, 1)
    found = estimate(y, s, g, ALL, seed=0)
    for name in ("auprc", "f1", "mcc", "brier_skill"):
        assert np.isfinite(found[name].low) == given
        says = "" if given else "no interval: fewer than 20 patients in a class; no method tried holds there"
        assert found[name].note == says
    assert np.isfinite([found[name].low for name in ("auroc", "accuracy", "recall", "brier")]).all()


def test_clusters_widen_every_interval():
    y, s, g = data(120)
    y4, s4, g4 = (np.tile(x, 4) for x in (y, s, g))
    plain, copies, naive = (
        estimate(*case, WITH_INTERVAL, seed=0) for case in ((y, s, g), (y4, s4, g4), (y4, s4, np.arange(480)))
    )
    for name, e in plain.items():
        assert (copies[name].value, copies[name].low, copies[name].high) == pytest.approx(
            (e.value, e.low, e.high), abs=1e-9
        )
        assert naive[name].high - naive[name].low < 0.65 * (e.high - e.low)


def test_group_names_do_not_matter():
    y, s, g = data()
    named = np.array([f"p{i:04}" for i in g], dtype=object)
    assert estimate(y, s, named, [AUROC], seed=0) == estimate(y, s, g, [AUROC], seed=0)


def test_width_agrees_with_theory():
    rng = np.random.default_rng(1)
    right = rng.random(400) < 0.8
    y = rng.integers(0, 2, 400)
    s = np.where(right, y, 1 - y).astype(float)
    e = estimate(y, s, np.arange(400), [ACCURACY], seed=0)["accuracy"]
    theory = 2 * 1.96 * np.sqrt(e.value * (1 - e.value) / 400)
    assert e.high - e.low == pytest.approx(theory, rel=0.05)
    found = estimate(y, s, np.arange(400), [replace(ACCURACY, interval="resampled")], seed=0)["accuracy"]
    assert found.high - found.low == pytest.approx(theory, rel=0.15)


def test_simulated_coverage():
    rng = np.random.default_rng(2)
    hits = 0
    for trial in range(200):
        patient = rng.random(60) < 0.7  # each patient's two samples are right or wrong together
        s = np.repeat(patient, 2).astype(float)
        e = estimate(np.ones(120, int), s, np.repeat(np.arange(60), 2), [ACCURACY], seed=trial, resamples=300)
        hits += e["accuracy"].low <= 0.7 <= e["accuracy"].high
    assert 0.89 <= hits / 200 <= 0.99


def test_several_clients_are_averaged_and_their_errors_go_together():
    y, s, g = data()
    both = estimate(y, np.stack([s, 1 - s]), g, [AUROC], seed=0)["auroc"]
    # A model and its mirror always average to one half, on every resample.
    assert (both.value, both.low, both.high) == pytest.approx((0.5, 0.5, 0.5))
    other = np.clip(0.5 + 0.2 * (y - 0.5) + 0.2 * np.random.default_rng(5).normal(size=len(y)), 0, 1)
    widths = []
    for rows in ([s, s], [s, other], [other, other]):
        e = estimate(y, np.stack(rows), g, [AUROC], seed=0)["auroc"]
        widths.append(e.high - e.low)
    assert (
        widths[1] < 0.92 * (widths[0] + widths[2]) / 2
    )  # errors of two models go together less than one's with itself
    same = estimate(y, np.stack([s, s, s]), g, ALL, seed=0)
    for name, e in estimate(y, s, g, ALL, seed=0).items():
        assert (same[name].value, same[name].low) == pytest.approx((e.value, e.low), nan_ok=True)


def test_undefined_value_has_a_reason():
    e = estimate(np.zeros(10, int), np.linspace(0, 1, 10), np.arange(10), [AUROC, ACCURACY], seed=0)
    assert np.isnan([e["auroc"].value, e["auroc"].low, e["auroc"].high]).all()
    assert e["auroc"].note == "undefined: all samples have the same label"
    assert np.isfinite(e["accuracy"].value)


def test_undefined_resamples_are_left_out_and_counted():
    y = np.array([1] + [0] * 9)
    metrics = [replace(m, interval="resampled") for m in (RECALL, PRECISION, ACCURACY)]
    e = estimate(y, np.full(10, 0.7), np.arange(10), metrics, seed=0)
    assert e["recall"].value == e["recall"].low == 1.0
    share = int(e["recall"].note.split()[2]) / 1000
    assert share == pytest.approx(0.9**10, abs=0.06)  # no draw hits the one positive
    assert e["accuracy"].note == ""


def test_same_result_in_small_chunks_of_samples(monkeypatch):
    y, s, g = data(60)
    metric = [replace(AUROC, interval="resampled")]
    whole = estimate(y, s, g, metric, seed=0, resamples=50)
    monkeypatch.setattr(resampling, "CHUNK_ELEMENTS", 60)
    assert estimate(y, s, g, metric, seed=0, resamples=50) == whole


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
            (two[name].value, two[name].low, two[name].high), nan_ok=True
        )


@pytest.mark.parametrize("interval", ["its own", "resampled"])
def test_text_has_the_intervals_of_scores(interval):
    y, s, g = data()
    right = (s >= 0.5) == (y == 1)
    gold = ["yes" if label else "no" for label in y]
    said = [w if ok else "maybe" for w, ok in zip(gold, right, strict=True)]
    of_text, of_score = (
        m if interval == "its own" else replace(m, interval=interval) for m in (TEXT["exact_match"], ACCURACY)
    )
    by_text = estimate_text(gold, said, g // 2, [of_text], seed=5)["exact_match"]
    by_score = estimate(y, s, g // 2, [of_score], seed=5)["accuracy"]
    assert (by_text.value, by_text.low, by_text.high) == pytest.approx((by_score.value, by_score.low, by_score.high))


def test_text_per_sample_values_are_kept_apart_and_custom_functions_called():
    calls = []

    def once(gold, predicted):
        calls.append((gold, predicted))
        return float(gold == predicted)

    largest = replace(
        TEXT["exact_match"],
        name="largest",
        per_sample=once,
        interval="resampled",
        function=lambda y, v, w: np.where(w > 0, v, 0).max(axis=1),
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
