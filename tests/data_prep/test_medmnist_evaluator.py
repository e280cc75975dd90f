"""Our metrics on MedMNIST's tasks are those of its own evaluator, on random scores.

``medmnist`` (3.0.2) is no requirement: where it is not installed, its definitions are computed with scikit-learn, as
``medmnist/evaluator.py`` does (``getAUC``, ``getACC``), and the comparison with the package itself is skipped.
"""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, roc_auc_score

from fedmeki_bench import registry
from fedmeki_bench.evaluation.rescoring import metric

N = 500
TASKS = [
    name
    for name in registry.names("tasks")
    if registry.find("tasks", name).target.split(".")[-1].startswith("medmnist")
]
WORDS = {
    "binary": "binary-class", "multiclass": "multi-class", "ordinal": "ordinal-regression",
    "multilabel": "multi-label, binary-class",
}  # fmt: skip


def drawn(meta, seed=0):
    """Labels and random scores of a task, the scores as its kind gives them."""
    rng = np.random.default_rng(seed)
    if meta.kind == "binary":
        return rng.integers(0, 2, N).astype(float), rng.random(N)
    k = len(meta.classes)
    if meta.kind == "multilabel":
        return rng.integers(0, 2, (N, k)).astype(float), rng.random((N, k))
    scores = rng.random((N, k))
    return rng.integers(0, k, N), scores / scores.sum(axis=1, keepdims=True)


def by_definition(labels, scores, kind):
    """AUC and ACC as the evaluator defines them."""
    if kind == "binary":
        return roc_auc_score(labels, scores), accuracy_score(labels, scores > 0.5)
    if kind == "multilabel":
        each = range(labels.shape[1])
        return (
            np.mean([roc_auc_score(labels[:, k], scores[:, k]) for k in each]),
            np.mean([accuracy_score(labels[:, k], scores[:, k] > 0.5) for k in each]),
        )
    each = range(scores.shape[1])
    auc = np.mean([roc_auc_score(labels == k, scores[:, k]) for k in each])
    return auc, accuracy_score(labels, scores.argmax(axis=1))


def ours(labels, scores, kind):
    """The same by this project's metrics; of several findings the mean of the accuracy of each."""
    if kind == "binary":
        return metric("auroc")(labels, scores), metric("accuracy")(labels, scores)
    if kind == "multilabel":
        each = [metric("accuracy")(labels[:, k], scores[:, k]) for k in range(labels.shape[1])]
        return metric("auroc_macro")(labels, scores), np.mean(each)
    return metric("auroc_macro")(labels, scores), metric("top1")(labels, scores)


def test_there_are_eighteen_sets_of_all_kinds():
    kinds = [registry.load("tasks", name).meta.kind for name in TASKS]
    assert len(TASKS) >= 18
    assert set(kinds) == set(WORDS)


@pytest.mark.parametrize("name", TASKS)
def test_metrics_are_those_that_the_evaluator_defines(name):
    meta = registry.load("tasks", name).meta
    labels, scores = drawn(meta)
    assert ours(labels, scores, meta.kind) == pytest.approx(by_definition(labels, scores, meta.kind), abs=1e-12)
    # control: other scores have other values
    assert ours(*drawn(meta, 1), meta.kind) != pytest.approx(by_definition(labels, scores, meta.kind), abs=1e-12)


@pytest.mark.parametrize("name", TASKS)
def test_metrics_are_those_of_the_package(name):
    evaluator = pytest.importorskip("medmnist.evaluator", reason="pip install --no-deps medmnist==3.0.2")
    meta = registry.load("tasks", name).meta
    labels, scores = drawn(meta)
    said = WORDS[meta.kind]
    theirs = evaluator.getAUC(labels, scores, said), evaluator.getACC(labels, scores, said)
    assert ours(labels, scores, meta.kind) == pytest.approx(theirs, abs=1e-12)
