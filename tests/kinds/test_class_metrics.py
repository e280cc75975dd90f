"""Metrics of classes, levels, findings and numbers equal scikit-learn's and scipy's, weighted and not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import pearsonr
from sklearn import metrics as sk

from fedmeki_bench import registry
from fedmeki_bench.boards.board import Board
from fedmeki_bench.evaluation.class_metrics import chosen, left_out
from fedmeki_bench.evaluation.intervals import estimate


def metric(name):
    return registry.load("metrics", name)


def classes(seed=0, n=200, k=4):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, k, n)
    logits = rng.normal(size=(n, k)) + 1.2 * np.eye(k)[labels]
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return labels, scores, rng.integers(0, 4, n).astype(float)


def findings(seed=0, n=200, k=3):
    rng = np.random.default_rng(seed)
    labels = (rng.random((n, k)) < [0.5, 0.2, 0.35]).astype(float)
    scores = 1 / (1 + np.exp(-(rng.normal(size=(n, k)) + 1.5 * labels - 0.7)))
    return labels, scores, rng.integers(0, 4, n).astype(float)


def weighed(name, labels, scores, weights):
    return float(metric(name).function(labels, scores, weights[None])[0])


@pytest.mark.parametrize("weight", [False, True])
def test_classes(weight):
    labels, scores, weights = classes()
    w = weights if weight else np.ones(len(labels))
    said = scores.argmax(axis=1)
    wanted = {
        "top1": sk.accuracy_score(labels, said, sample_weight=w),
        "balanced_accuracy_macro": sk.balanced_accuracy_score(labels, said, sample_weight=w),
        "f1_macro": sk.f1_score(labels, said, average="macro", sample_weight=w),
        "kappa_quadratic": sk.cohen_kappa_score(labels, said, weights="quadratic", sample_weight=w),
        "level_error": np.average(abs(labels - said), weights=w),
        "auroc_macro": np.mean([sk.roc_auc_score(labels == k, scores[:, k], sample_weight=w) for k in range(4)]),
        "auprc_macro": np.mean(
            [sk.average_precision_score(labels == k, scores[:, k], sample_weight=w) for k in range(4)]
        ),
    }
    for name, value in wanted.items():
        assert weighed(name, labels, scores, w) == pytest.approx(value, abs=1e-12), name
    if not weight:
        assert wanted["auroc_macro"] == pytest.approx(
            sk.roc_auc_score(labels, scores, multi_class="ovr", average="macro")
        )


@pytest.mark.parametrize("weight", [False, True])
def test_findings(weight):
    labels, scores, weights = findings()
    w = weights if weight else np.ones(len(labels))
    said = scores >= 0.5
    wanted = {
        "auroc_macro": sk.roc_auc_score(labels, scores, average="macro", sample_weight=w),
        "auprc_macro": sk.average_precision_score(labels, scores, average="macro", sample_weight=w),
        "f1_macro": sk.f1_score(labels, said, average="macro", sample_weight=w),
        "f1_micro": sk.f1_score(labels, said, average="micro", sample_weight=w),
    }
    for name, value in wanted.items():
        assert weighed(name, labels, scores, w) == pytest.approx(value, abs=1e-12), name


def test_what_is_not_annotated_does_not_count():
    labels, scores, _ = findings()
    gone = labels.copy()
    gone[::3, 1] = np.nan
    told = ~np.isnan(gone[:, 1])
    wanted = np.mean(
        [sk.roc_auc_score(labels[t, k], scores[t, k]) for k, t in enumerate((slice(None), told, slice(None)))]
    )
    assert metric("auroc_macro")(gone, scores) == pytest.approx(wanted, abs=1e-12)
    assert metric("f1_macro")(gone, scores) != metric("f1_macro")(labels, scores)


@pytest.mark.parametrize("weight", [False, True])
def test_numbers(weight):
    rng = np.random.default_rng(1)
    labels = rng.normal(50, 15, 300).astype(np.float32)
    scores = labels + rng.normal(2, 8, 300)
    w = rng.integers(0, 4, 300).astype(float) if weight else np.ones(300)
    wanted = {
        "mae": sk.mean_absolute_error(labels, scores, sample_weight=w),
        "rmse": sk.root_mean_squared_error(labels, scores, sample_weight=w),
        "r2": sk.r2_score(labels, scores, sample_weight=w),
        "pearson": pearsonr(np.repeat(labels, w.astype(int)), np.repeat(scores, w.astype(int))).statistic,
    }
    for name, value in wanted.items():
        assert weighed(name, labels, scores, w) == pytest.approx(value, rel=1e-6), name


def test_two_classes_are_yes_and_no():
    """Binary written as two classes gives the same AUROC, for a class and for a finding."""
    rng = np.random.default_rng(2)
    labels, p = rng.integers(0, 2, 150), rng.random(150)
    wanted = metric("auroc")(labels, p)
    assert metric("auroc_macro")(labels, np.stack([1 - p, p], axis=1)) == pytest.approx(wanted, abs=1e-6)
    assert metric("auroc_macro")(labels[:, None].astype(float), p[:, None]) == pytest.approx(wanted, abs=1e-12)
    assert metric("top1")(labels, np.stack([1 - p, p], axis=1)) == metric("accuracy")(labels, p)
    ours = estimate(labels, np.stack([1 - p, p], axis=1)[None], np.arange(150), [metric("auroc_macro")], seed=0)
    theirs = estimate(labels, p, np.arange(150), [metric("auroc")], seed=0)["auroc"]
    assert ours["auroc_macro"].low == pytest.approx(theirs.low, abs=1e-9)
    assert ours["auroc_macro"].high == pytest.approx(theirs.high, abs=1e-9)


def test_an_empty_class_is_left_out_and_named():
    labels, scores, _ = classes()
    labels = np.where(labels == 3, 0, labels)
    assert left_out(labels, ("a", "b", "c", "d")) == "without d: all or none of these samples"
    found = estimate(labels, scores[None], np.arange(200), [metric("auroc_macro"), metric("top1")], seed=0,
                     classes=("a", "b", "c", "d"))  # fmt: skip
    assert "without d" in found["auroc_macro"].note
    assert found["top1"].note == ""
    kept = [sk.roc_auc_score(labels == k, scores[:, k]) for k in range(3)]
    assert found["auroc_macro"].value == pytest.approx(np.mean(kept))
    one = np.zeros(5, dtype=int)
    assert np.isnan(metric("auroc_macro")(one, np.full((5, 2), 0.5)))


def test_an_answer_that_names_no_class_is_wrong_everywhere():
    labels, right = np.array([0, 1, 2, 2]), np.eye(3)[[0, 1, 2, 2]]
    silent = right.copy()
    silent[3] = 0
    assert chosen(silent).tolist() == [0, 1, 2, -1]
    for name in ("top1", "balanced_accuracy_macro", "f1_macro", "kappa_quadratic"):
        assert metric(name)(labels, silent) < metric(name)(labels, right) == 1, name
    assert metric("level_error")(labels, silent) == 0.5  # the furthest level: two of them off, in one of four


@pytest.mark.parametrize("name", ["auroc_macro", "auprc_macro", "f1_macro", "top1", "balanced_accuracy_macro"])
def test_intervals_hold_the_value_and_narrow_with_patients(name):
    widths = []
    for n in (200, 800):
        labels, scores, _ = classes(n=n)
        found = estimate(labels, scores[None], np.arange(n), [metric(name)], seed=0)[name]
        assert found.low < found.value < found.high
        widths.append(found.high - found.low)
    assert widths[1] < 0.65 * widths[0]


def test_intervals_of_numbers():
    rng = np.random.default_rng(3)
    labels = rng.normal(50, 15, 400)
    scores = labels + rng.normal(0, 8, 400)
    every = [metric(n) for n in ("mae", "rmse", "r2", "pearson")]
    found = estimate(labels, scores, np.arange(400), every, seed=0)
    for one in found.values():
        assert one.low < one.value < one.high
    few = estimate(labels[:12], scores[:12], np.arange(12), every, seed=0)
    assert all("fewer than 20 patients" in one.note for one in few.values())


def test_what_matters_is_said_in_the_units_of_the_metric():
    board = Board(name="b", profile="demo", seeds=[0], tasks=["t"], algorithms=["a"], margins={"rmse": 4})
    assert [board.margin(m) for m in ("auroc", "mae", "rmse", "level_error", "unknown")] == [0.01, 1, 4, 0.05, 0.01]
