"""Tables with rows that answer in words: which column depends on what, who mumbles, and what a constant would score."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from board_fakes import algorithm, board, record

from fedmeki_bench.boards.cells import Cell
from fedmeki_bench.evaluation.constant_answer import constantly
from fedmeki_bench.evaluation.estimates import score_predictions
from fedmeki_bench.evaluation.metrics import BUILT_IN
from fedmeki_bench.evaluation.predictions import TextPredictions, predictions_path, write_text_predictions
from fedmeki_bench.evaluation.text_metrics import UNPARSED
from fedmeki_bench.leaderboard.build import page_of, render
from fedmeki_bench.leaderboard.judging import Scale, judge
from fedmeki_bench.leaderboard.page import Context
from fedmeki_bench.leaderboard.panels import panel
from fedmeki_bench.leaderboard.reading import reader
from fedmeki_bench.records.record import Evaluation, MetricValue
from fedmeki_bench.records.store import RecordStore

TASK = "ecg_abnormal"
ROWS = [algorithm("fedavg_m_fm", view="foundation", sup="F"), algorithm("fedprox_m_fm", view="foundation", sup="F")]
SPECS = [BUILT_IN["auroc"], BUILT_IN["f1"], BUILT_IN["accuracy"]]
N = 60
METRICS = BUILT_IN | {"unparsed": UNPARSED}


def objects(values):
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return out


def predictions(mumbling: float) -> TextPredictions:
    labels = np.arange(N) % 2
    parsed = [None if i < mumbling * N else int(label) for i, label in enumerate(labels)]
    return TextPredictions(
        sample_id=np.array([f"s{i}" for i in range(N)]), group_id=np.array([f"p{i}" for i in range(N)]),
        site=np.array(["A"] * N), gold=labels, answer=objects(["x"] * N), parsed=objects(parsed),
        score=np.where(labels == 1, 0.8, 0.3),
    )  # fmt: skip


@pytest.fixture
def filled(tmp_path):
    """The first row mumbles in half of its answers, the second in none; both know by probability."""
    store, made, tasks = RecordStore(tmp_path), [], [TASK]
    for row, mumbling in zip(ROWS, (0.5, 0.0), strict=True):
        cell = Cell(row, TASK, 0, f"{row.name}-0")
        said, evaluations = predictions(mumbling), []
        for view, p in (("foundation", said), ("constant_answer", constantly(said, "yes"))):
            found = score_predictions(p, SPECS, seed=0, kind="binary")
            path = predictions_path(store.folder(f"k-{cell.setting}"), view, TASK)
            write_text_predictions(path, p)
            evaluations.append(
                Evaluation(
                    view=view, task=TASK, n=N, groups=N, predictions=f"predictions/{path.name}",
                    metrics={n: MetricValue(value=e.value, low=e.low, high=e.high) for n, e in found.items()},
                    note="always answers 'yes': the task has no training answers" if view != "foundation" else "",
                )
            )  # fmt: skip
        store.write(record(cell, {}, evaluations=[e.model_dump() for e in evaluations]))
        made.append(cell)
    return board(algorithms=[a.name for a in ROWS], tasks=tasks, reference=ROWS[1].name), made, store


def test_a_difference_rests_on_the_vector_of_its_cell(filled):
    toy, made, store = filled
    page = page_of(toy, made, store, Context(metrics=METRICS))
    grid, read = page.sections[0].grid, reader(store.folder)
    outcomes = {a.name: grid.outcomes[a.name, TASK] for a in ROWS}

    def compared(spec):
        one = panel(TASK, spec, outcomes, [0], read)
        scale = Scale(spec.name, 0.01, spec.direction == "higher")
        return judge([(one, scale)], lambda _: [(ROWS[0].name, ROWS[1].name)], alpha=0.05)[0]

    for spec in (*SPECS, UNPARSED):
        found = compared(spec)
        cells = [grid.mean(a.name, TASK, spec.name) for a in ROWS]
        assert found.difference == pytest.approx(cells[0] - cells[1], abs=1e-12), spec.name
    assert grid.mean(ROWS[0].name, TASK, "accuracy") == 0.5
    assert compared(BUILT_IN["auroc"]).difference == 0


def test_every_column_says_what_it_rests_on_and_who_mumbles_is_marked(filled):
    page = page_of(*filled, Context(metrics=METRICS))
    (section,) = page.sections
    table = next(t for t in section.details if t.key == TASK)
    said = {c.key: c.definition for c in table.columns}
    assert "answers" in said["f1"]
    assert "answers" in said["accuracy"]
    assert "probability of yes against no" in said["auroc"]
    assert "answers" not in said["unparsed"].removeprefix(UNPARSED.definition)
    for shown in (table, section.table):
        marks = {r.algorithm.name: r.mark for r in shown.rows}
        assert marks[ROWS[0].name] == "§"
        assert marks[ROWS[1].name] == ""
        assert "10 %" in dict(shown.definitions)["§"]
    for name, content in render(page, ["md", "tex", "html"]).items():
        text = content.decode()
        assert "10 %" in text.replace(r"\%", "%"), name
        assert ("§" if not name.endswith("tex") else r"\S") in text, name


def test_a_table_without_words_says_nothing_about_them(filled):
    _, made, _ = filled
    plain = replace(made[0], algorithm=algorithm("fedavg_s"), setting="plain")
    page = page_of(board(tasks=[TASK], algorithms=["fedavg_s"]), [plain], [record(plain, {"auroc": 0.8, "f1": 0.4})])
    assert "words" not in render(page, ["md"])["leaderboard.md"].decode()


def test_what_a_constant_answer_scores_is_a_bound_on_the_same_table(filled):
    page = page_of(*filled, Context(metrics=METRICS))
    (section,) = page.sections
    row = next(r for r in section.table.rows if r.algorithm.name == "constant_answer")
    assert (row.section, row.rank) == ("bound", None)
    assert row.entries[0].value == 0.5
    assert any("always answers 'yes': the task has no training answers" in note for note in section.table.notes)
    table = next(t for t in section.details if t.key == TASK)
    row = next(r for r in table.rows if r.algorithm.name == "constant_answer")
    assert dict(zip([c.key for c in table.columns], [e.value for e in row.entries], strict=True))["f1"] == (
        pytest.approx(2 / 3)
    )
    assert not any(c.algorithm == "constant_answer" for c in section.analysis.primary)
    assert "constant_answer" not in {r.algorithm for r in page.rows if r.metric == ""}
    text = {name: content.decode() for name, content in render(page, ["md", "tex", "html", "json", "csv"]).items()}
    assert all("Constant" in text[f"leaderboard.{f}"] for f in ("md", "tex", "html", "json"))
    assert "constant_answer" in text["leaderboard.csv"]


def test_where_the_board_has_a_majority_row_there_is_one_bound_not_two(filled):
    toy, made, store = filled
    constant = Cell(algorithm("majority", view="constant"), TASK, 0, "majority-0")
    store.write(record(constant, {"auroc": 0.5, "f1": 0.0, "accuracy": 0.5}))
    page = page_of(toy, [constant, *made], store, Context(metrics=METRICS))
    assert [r.algorithm.name for r in page.main.rows if r.section == "bound"] == ["majority"]


def test_a_run_that_left_a_remark_is_marked_with_a_footnote(filled):
    _, made, _ = filled
    cells = [replace(made[0], algorithm=algorithm(name), setting=name) for name in ("fedavg_s", "fedprox_s")]
    records = [record(c, {"auroc": 0.5}) for c in cells]
    told = "ecg_abnormal: the model never moved: its parameters are the initial ones, bit for bit"
    records[0].evaluations[0].note = told
    page = page_of(board(tasks=[TASK], algorithms=["fedavg_s", "fedprox_s"]), cells, records)
    assert {r.algorithm.name: r.mark for r in page.main.rows} == {"fedavg_s": "¶", "fedprox_s": ""}
    text = {name: content.decode() for name, content in render(page, ["md", "tex", "html", "json"]).items()}
    for name, content in text.items():
        assert "never moved" in content, name
        assert ("¶" if not name.endswith("tex") else r"\P") in content, name
    assert "iid partition" in text["leaderboard.tex"]


def test_equal_scores_of_different_answers_are_not_the_same_predictions(filled):
    toy, made, store = filled
    grid = page_of(toy, made, store, Context(metrics=METRICS)).sections[0].grid
    outcomes = {a.name: grid.outcomes[a.name, TASK] for a in ROWS}
    one = panel(TASK, BUILT_IN["auroc"], outcomes, [0], reader(store.folder))
    assert len(set(one.data.values[:, 0])) == 1  # one probability of yes behind both rows' answers
    assert one.twins == {}
