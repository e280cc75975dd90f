"""What a section can find: the plans of its tasks and of their mean, in step with the line on its page."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from board_fakes import TASKS, judged

from fedmeki_bench.leaderboard.build import page_of
from fedmeki_bench.leaderboard.planning import plans
from fedmeki_bench.statistics.power import in_words


def section_of(folder, seeds, tasks=TASKS, *, f1_first=False):
    toy, made, store = judged(folder, seeds, tasks)
    if f1_first:
        for record in list(store.all()):
            for evaluation in record.evaluations:
                if evaluation.task == tasks[-1]:
                    evaluation.metrics = dict(reversed(evaluation.metrics.items()))
            store.write(record)
    (section,) = page_of(toy, made, store).sections
    return section


def said_of(plan, metric):
    return in_words(plan.variances, metric, plan.separate, n_seeds=plan.seeds, each=plan.each)


def test_the_last_plan_is_of_what_is_judged_first_and_is_what_the_page_says(tmp_path):
    section = section_of(tmp_path / "r", [0, 1, 2])
    found = plans(section.grid, section.analysis)
    assert [p.task for p in found] == [*TASKS, ""]
    assert {found[-1].each} == {c.each for c in section.analysis.primary}
    assert {p.each for p in found[:-1]} == {c.each for c in section.analysis.per_task}
    assert found[-1].each != found[0].each
    assert section.verdict[-1] == said_of(found[-1], "AUROC")


def test_of_one_task_it_is_that_task(tmp_path):
    section = section_of(tmp_path / "r", [0], TASKS[:1])
    (found,) = plans(section.grid, section.analysis)
    assert (found.task, found.seeds, found.patients) == (TASKS[0], 1, 60)
    assert section.verdict[-1] == said_of(found, "AUROC")


def test_where_metrics_differ_the_mean_counts_in_margins(tmp_path):
    """0.05 on each task, with margins of 0.01, is 5 margins on the mean."""
    section = section_of(tmp_path / "r", [0, 1, 2], f1_first=True)
    found = plans(section.grid, section.analysis, separate=0.05)
    assert [p.metric for p in found] == ["auroc", "f1", ""]
    assert [p.separate for p in found] == [0.05, 0.05, pytest.approx(5.0)]
    by_default = plans(section.grid, section.analysis)[-1]
    assert by_default.separate == pytest.approx(1.0)
    assert section.verdict[-1] == said_of(by_default, "× the margin")


def test_no_difference_beyond_the_range_of_its_metric_is_promised(tmp_path):
    """With two positive patients the test has one degree of freedom, and no AUROC lies far enough from another."""
    toy, made, store = judged(tmp_path / "r", [0], TASKS[:1])
    (section,) = page_of(toy, made, store).sections
    panel = section.analysis.panels[TASKS[0]]
    strata = np.zeros_like(panel.data.strata)
    strata[np.flatnonzero(panel.data.strata)[:2]] = 1
    influences = panel.data.influences * np.where(strata == 1, 20.0, 1e-6)
    few = replace(panel, data=replace(panel.data, strata=strata, influences=influences))
    analysis = replace(section.analysis, panels={TASKS[0]: few}, mean=few)
    (found,) = plans(section.grid, analysis)
    assert found.variances.patients_df == pytest.approx(1.0, abs=0.01)
    assert found.smallest is None
    assert plans(section.grid, section.analysis)[0].smallest < 1


def test_where_nothing_was_compared_nothing_is_planned(tmp_path):
    toy, made, store = judged(tmp_path / "r", [0])
    (section,) = page_of(toy, made, store.all()).sections  # records alone, without their predictions
    assert plans(section.grid, section.analysis) == ()
