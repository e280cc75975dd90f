"""What comparisons depend on: the same samples, patients and seeds; rows that can't be among them say why."""

from __future__ import annotations

import numpy as np
import pytest
from board_fakes import TASKS, judged

from fedmeki_bench.evaluation.metrics import AUROC, BALANCED_ACCURACY, F1
from fedmeki_bench.evaluation.predictions import Predictions, predictions_path, read_predictions, write_predictions
from fedmeki_bench.leaderboard.build import page_of
from fedmeki_bench.leaderboard.comparing import Column, compare_rows
from fedmeki_bench.leaderboard.judging import Comparison, Scale, answer_to, judge, placed, word_of
from fedmeki_bench.leaderboard.panels import cohorts, mean_panel, panel
from fedmeki_bench.leaderboard.reading import reader


@pytest.fixture
def filled(tmp_path):
    toy, made, store = judged(tmp_path / "r", [0, 1, 2])
    return page_of(toy, made, store).sections[0].grid, store


def outcomes(grid, task=TASKS[0], rows=("fedavg_s", "fedprox_s", "fedavg_m")):
    return {row: grid.outcomes[row, task] for row in rows}


def change(store, outcome, **changes):
    """Rewrite the predictions behind an outcome, and read them again without their digest."""
    from dataclasses import replace

    path = predictions_path(store.folder(outcome.record.key), outcome.cell.algorithm.view, outcome.cell.task)
    write_predictions(path, replace(read_predictions(path), **changes))


@pytest.mark.parametrize("metric", [AUROC, F1, BALANCED_ACCURACY])
def test_values_are_those_of_the_metric_and_influences_add_up_to_its_variance(filled, metric):
    grid, store = filled
    one = panel(TASKS[0], metric, outcomes(grid), [0, 1, 2], reader(store.folder))
    assert one.rows == ("fedavg_s", "fedprox_s", "fedavg_m")
    for k, row in enumerate(one.rows):
        for s in range(3):
            o = grid.outcomes[row, TASKS[0]][s]
            said = reader(store.folder)(o.record, o.evaluation)
            assert one.data.values[k, s] == pytest.approx(metric(said.label, said.score), abs=1e-12)
    u = one.data.influences[0, 0]
    rng = np.random.default_rng(0)
    said = reader(store.folder)(grid.outcomes["fedavg_s", TASKS[0]][0].record,
                                grid.outcomes["fedavg_s", TASKS[0]][0].evaluation)  # fmt: skip
    drawn = rng.multinomial(60, np.full(60, 1 / 60), size=3000).astype(float)
    spread = np.nanstd(metric.function(said.label, said.score, drawn))
    assert np.sqrt(u @ u) == pytest.approx(spread, rel=0.2)


def test_the_order_of_samples_does_not_matter_and_other_samples_do(filled):
    grid, store = filled
    before = panel(TASKS[0], AUROC, outcomes(grid), [0], reader(store.folder))
    o = grid.outcomes["fedprox_s", TASKS[0]][0]
    said = reader(store.folder)(o.record, o.evaluation)
    back = np.arange(60)[::-1]
    change(
        store, o, **{name: getattr(said, name)[back] for name in ("sample_id", "group_id", "site", "label", "score")}
    )
    after = panel(TASKS[0], AUROC, outcomes(grid), [0], reader(store.folder))
    assert (after.data.values == before.data.values).all()
    assert (after.data.influences == before.data.influences).all()
    change(store, o, sample_id=np.array([f"other{i}" for i in range(60)]))
    other = panel(TASKS[0], AUROC, outcomes(grid), [0], reader(store.folder))
    assert "not scored on the same samples" in other.absent["fedprox_s"]
    change(store, o, sample_id=said.sample_id, label=1 - said.label)
    other = panel(TASKS[0], AUROC, outcomes(grid), [0], reader(store.folder))
    assert "they use other data" in other.absent["fedprox_s"]


def test_a_row_without_a_seed_is_absent_and_says_which(filled):
    grid, store = filled
    given = outcomes(grid) | {"fedavg_m": grid.outcomes["fedavg_m", TASKS[0]][:2]}
    one = panel(TASKS[0], AUROC, given, [0, 1, 2], reader(store.folder))
    assert one.rows == ("fedavg_s", "fedprox_s")
    assert one.absent == {"fedavg_m": "no number of seed 2"}
    (found,) = judge([(one, Scale("auroc", 0.01, True))], lambda _: [("fedavg_m", "fedavg_s")], alpha=0.05)
    assert (found.difference, found.note) == (None, "no number of seed 2")


def test_models_without_error_are_not_certainly_equal(filled):
    grid, store = filled
    for row, noise in (("fedavg_s", 0.0), ("fedprox_s", 0.01)):
        for o in grid.outcomes[row, TASKS[0]]:
            said = reader(store.folder)(o.record, o.evaluation)
            change(store, o, score=0.2 + 0.5 * said.label + noise * np.linspace(0, 1, 60))
    one = panel(TASKS[0], AUROC, outcomes(grid), [0, 1, 2], reader(store.folder))
    assert (one.data.values[:2] == 1).all()
    (found,) = judge([(one, Scale("auroc", 0.01, True))], lambda _: [("fedprox_s", "fedavg_s")], alpha=0.05)
    assert found.difference == 0
    assert found.word == "undecided"  # not equivalent: sixty patients don't say so
    assert 0.01 < found.high < 0.1
    constant = outcomes(grid) | {"fedavg_m": grid.outcomes["fedavg_m", TASKS[0]]}
    for o in constant["fedavg_m"]:
        change(store, o, score=np.full(60, 0.3))
    one = panel(TASKS[0], AUROC, constant, [0, 1, 2], reader(store.folder))
    assert one.data.floor[one.rows.index("fedavg_m")] == 0  # a constant is 0.5 on any patients


def test_tasks_that_share_patients_are_one_cohort(filled):
    grid, store = filled
    panels = [panel(t, AUROC, outcomes(grid, t), [0, 1, 2], reader(store.folder)) for t in TASKS]
    assert cohorts(panels, {}) == [TASKS]  # the fakes put both tasks to the same sixty patients
    for o in (o for row in outcomes(grid) for o in grid.outcomes[row, TASKS[1]]):
        said = reader(store.folder)(o.record, o.evaluation)
        change(store, o, group_id=np.array([f"b{i}" for i in range(60)]), sample_id=said.sample_id)
    apart = [panels[0], panel(TASKS[1], AUROC, outcomes(grid, TASKS[1]), [0, 1, 2], reader(store.folder))]
    assert cohorts(apart, {}) == [[TASKS[0]], [TASKS[1]]]
    assert cohorts(apart, dict.fromkeys(TASKS, "ptbxl")) == [TASKS]
    mean = mean_panel(apart, dict.fromkeys(TASKS, 0.5))
    assert len(mean.patients) == 120
    # one collection under two keys: no sharing of patients can make the variance larger than this
    bounded = mean_panel(apart, dict.fromkeys(TASKS, 0.5), dict.fromkeys(TASKS, "ptbxl"))
    assert bounded.data.influences == pytest.approx(2**0.5 * mean.data.influences)
    shared = mean_panel(panels, dict.fromkeys(TASKS, 0.5), dict.fromkeys(TASKS, "ptbxl"))
    plain = mean_panel(panels, dict.fromkeys(TASKS, 0.5))
    assert (shared.data.influences == plain.data.influences).all()  # ids tell who is who
    assert mean.data.values == pytest.approx((apart[0].data.values + apart[1].data.values) / 2)


def test_models_that_no_patient_tells_apart_are_not_equal(filled):
    grid, store = filled
    o, other = (grid.outcomes[row, TASKS[0]][0] for row in ("fedprox_s", "fedavg_s"))
    said = reader(store.folder)(other.record, other.evaluation)
    change(store, o, score=np.where(said.score >= 0.5, 0.5 + said.score / 2, said.score / 2))  # the same side of 0.5
    one = panel(TASKS[0], F1, outcomes(grid), [0], reader(store.folder))
    (found,) = judge([(one, Scale("f1", 0.01, True))], lambda _: [("fedprox_s", "fedavg_s")], alpha=0.05)
    assert (found.difference, found.low, found.word) == (0, None, "undecided")
    assert "no patient tells" in found.note


def test_no_interval_reaches_beyond_the_metric(filled):
    grid, store = filled
    for row in ("fedavg_s", "fedprox_s"):
        for o in grid.outcomes[row, TASKS[0]]:
            labels = np.array([1, 1] + [0] * 58)
            said = reader(store.folder)(o.record, o.evaluation)
            change(store, o, label=labels, score=np.roll(said.score, 7 * (row == "fedprox_s")))
    rows = outcomes(grid, rows=("fedavg_s", "fedprox_s"))
    one = panel(TASKS[0], AUROC, rows, [0], reader(store.folder))
    scale = Scale("auroc", 0.01, True, 1.0)
    (found,) = judge([(one, scale)], lambda _: [("fedprox_s", "fedavg_s")], alpha=0.0001)
    assert (found.low, found.high) == (-1.0, 1.0)


def test_words_and_answers():
    same = Comparison("a", "b", "", "auroc", 0.01, 0.0, word="identical")
    assert answer_to("not_worse", same, higher=True) == "yes"
    assert answer_to("better", same, higher=True) == "no"

    def word(*interval, higher=True):
        return word_of(*interval, 0.01, higher=higher)

    assert word(0.001, 0.03) == "better"
    assert word(0.001, 0.03, higher=False) == "worse"
    assert word(-0.03, -0.001) == "worse"
    assert word(0.001, 0.007) == "equivalent"  # certain, and too small to matter
    assert word(-0.02, 0.02) == "undecided"

    def asked(question, low, high, higher=True):
        found = Comparison("a", "b", "", "auroc", 0.01, (low + high) / 2, low, high)
        return answer_to(question, found, higher=higher)

    assert asked("better", 0.001, 0.1) == "yes"
    assert asked("better", -0.1, -0.001) == "no"
    assert asked("better", -0.1, 0.1) == "undecided"
    assert asked("not_worse", -0.009, 0.1) == "yes"
    assert asked("not_worse", -0.1, -0.011) == "no"
    assert asked("not_worse", -0.02, -0.005) == "undecided"
    assert asked("not_worse", -0.1, 0.009, higher=False) == "yes"


def test_places_follow_the_mean(filled):
    grid, store = filled
    one = panel(TASKS[0], AUROC, outcomes(grid), [0, 1, 2], reader(store.folder))
    found = placed(one, Scale("auroc", 0.01, True), list(one.rows), alpha=0.05)
    assert found["fedavg_m"].low == found["fedavg_m"].high == 3
    turned = placed(one, Scale("auroc", 0.01, False), list(one.rows), alpha=0.05)
    assert turned["fedavg_m"].low == turned["fedavg_m"].high == 1


def test_dealings_of_a_task_are_averaged_before_cohorts_are_flipped(filled):
    grid, store = filled
    twice = [Column(t, d, AUROC, 0.01, outcomes(grid, t)) for t in TASKS for d in ("iid", "skewed")]
    found, over = compare_rows("fedavg_s", "fedavg_m", twice, reader(store.folder), dict(zip(TASKS, "xy", strict=True)))
    assert len(found) == 4
    assert over.cohorts == 1  # one set of patients, whatever the tasks and partitions
    assert over.flip_p == over.smallest == 1
    once = [Column(t, "", AUROC, 0.01, outcomes(grid, t)) for t in TASKS]
    _, single = compare_rows("fedavg_s", "fedavg_m", once, reader(store.folder), {})
    assert over.found.difference == pytest.approx(single.found.difference, abs=1e-12)
    assert over.found.low == pytest.approx(
        single.found.low, abs=1e-9
    )  # the same training runs twice are no more evidence


def test_clients_with_models_of_their_own_count_by_their_mean(filled):
    grid, store = filled
    o = grid.outcomes["fedprox_s", TASKS[0]][0]
    said = reader(store.folder)(o.record, o.evaluation)
    path = predictions_path(store.folder(o.record.key), "aggregated", TASKS[0])
    both = np.stack([said.score, 1 - said.score])
    write_predictions(path, Predictions(said.sample_id, said.group_id, said.site, said.label, both))
    one = panel(TASKS[0], AUROC, outcomes(grid), [0], reader(store.folder))
    assert one.data.values[1, 0] == pytest.approx(0.5)
    assert np.abs(one.data.influences[1, 0]).max() < 1e-12  # what one client gains the other loses
