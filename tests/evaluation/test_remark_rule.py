"""The rule of thumb itself: what counts as no better than a constant, in either direction of a metric."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from fedmeki_bench.evaluation.metrics import BUILT_IN
from fedmeki_bench.evaluation.remarks import LEAST_GAIN, _against_constant
from fedmeki_bench.kinds.kind import LabelSpec

LABELS = np.arange(40) % 2


def told(scores, metric):
    class Part:
        learnt = LABELS
        cohort = SimpleNamespace(learnt=LabelSpec("binary"))

        def __len__(self):
            return 40

    part = Part()
    client = SimpleNamespace(number=0, data={"t": part})
    federation = SimpleNamespace(clients=[client])
    return _against_constant(federation, "t", part, lambda f, t, p: np.asarray(scores), BUILT_IN[metric])


@pytest.mark.parametrize(
    ("scores", "metric", "remark"),
    [
        (np.full(40, 0.7), "auroc", True),
        (np.where(LABELS == 1, 0.9, 0.1), "auroc", False),
        (np.where(LABELS == 1, 0.1, 0.9), "auroc", True),  # worse is no better
        (np.where(LABELS == 1, 0.9, 0.1), "brier", False),  # lower is better
        (np.full(40, 0.5), "brier", True),
        (np.stack([np.full(40, 0.5), np.full(40, 0.5)]), "auroc", True),  # a model per client: their mean
        (np.stack([np.full(40, 0.5), np.where(LABELS == 1, 0.9, 0.1)]), "auroc", False),
    ],
)
def test_no_better_than_a_constant(scores, metric, remark):
    assert bool(told(scores, metric)) is remark


def test_a_gain_below_the_threshold_is_none():
    scores = np.full(40, 0.5)
    scores[1] = 0.6  # one positive of twenty first: AUROC 0.525
    assert told(scores, "auroc") == ""
    scores[0] = 0.6  # and one negative with it: 0.5 again
    assert "a constant has 0.500" in told(scores, "auroc")
    assert LEAST_GAIN == 0.02
