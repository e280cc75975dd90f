"""From what a model says to the record: accuracy and its like come from the words, for every figure of the page."""

from __future__ import annotations

import numpy as np
import pytest

from fedmeki_bench import registry
from fedmeki_bench.algorithms import resolve
from fedmeki_bench.evaluation import scoring
from fedmeki_bench.evaluation.metrics import BUILT_IN
from fedmeki_bench.evaluation.view import Answers, view
from fedmeki_bench.evaluation.views_in_words import Foundation, FoundationBefore, FoundationBlind
from fedmeki_bench.runs.execute import open_cohorts
from fedmeki_bench.runs.spec import specify

TASK = "ecg_abnormal"


@pytest.fixture
def scored(build, cohorts, tmp_path, monkeypatch):
    """The evaluations of a foundation model that mumbles but finds the right answer probable."""

    def knows_but_mumbles(view, federation, task, part):
        n = len(part)
        return Answers(["mumble"] * n, [None] * n, np.where(np.asarray(part.targets) == 1, 0.9, 0.1))

    for chosen in (Foundation, FoundationBefore, FoundationBlind):
        monkeypatch.setattr(chosen, "predict", knows_but_mumbles)
    federation = build("fedavg_s", [TASK])
    (spec,) = specify(resolve("fedavg_s"), [TASK])
    opened = open_cohorts(spec, cohorts)
    tasks = {TASK: registry.load("tasks", TASK)()}
    found = scoring.score_test(
        federation, {name: view(name) for name in ("aggregated", "foundation")}, opened, tasks, BUILT_IN, seed=0,
        folder=tmp_path,
    )  # fmt: skip
    return {e.view: e for e in found}


def test_a_model_that_mumbles_is_wrong(scored):
    for scored_view in ("foundation", "foundation_before"):
        said = {name: m.value for name, m in scored[scored_view].metrics.items()}
        assert said["unparsed"] == 1.0
        assert said["accuracy"] == said["f1"] == said["recall"] == 0.0
        assert said["auroc"] == 1.0


def test_what_a_constant_answer_scores_stands_beside_it(scored):
    said = scored["constant_answer"]
    assert said.metrics["auroc"].value == 0.5
    assert said.metrics["accuracy"].value > 0
    assert "of all constant answers the best" in said.note
    assert said.n == scored["foundation"].n
