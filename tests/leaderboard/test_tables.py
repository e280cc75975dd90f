from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

from board_fakes import TASKS, algorithm, board, cells, record

from fedmeki_bench.boards.cells import Cell
from fedmeki_bench.leaderboard.build import page_of
from fedmeki_bench.leaderboard.collect import collect, tidy
from fedmeki_bench.leaderboard.render import markdown
from fedmeki_bench.records.store import BadRecord

A = [algorithm("majority", view="constant"), algorithm("fedavg_s"), algorithm("fedprox_s")]
VALUES = {
    ("majority", "ecg_abnormal"): 0.5,
    ("majority", "lung_opacity"): 0.5,
    ("fedavg_s", "ecg_abnormal"): (0.8, 0.7, 0.9),
    ("fedavg_s", "lung_opacity"): (0.6, 0.55, 0.65),
    ("fedprox_s", "ecg_abnormal"): (0.7, 0.6, 0.8),
    ("fedprox_s", "lung_opacity"): (0.9, 0.85, 0.95),
}


def full(seeds=(0,)):
    made = cells(A, TASKS, list(seeds))
    return made, [record(c, {"auroc": VALUES[c.algorithm.name, c.task], "f1": 0.5}) for c in made]


def details(page):
    return [table for section in page.sections for table in section.details if table.key in TASKS]


def shown(page, table=None):
    table = table or page.main
    return {r.algorithm.name: [e.text for e in r.entries] for r in table.rows}


def test_one_seed_by_hand():
    page = page_of(board(), *full())
    placed = [(r.algorithm.name, r.section, r.rank) for r in page.main.rows]
    assert placed == [("majority", "bound", None), ("fedprox_s", "ranked", 1), ("fedavg_s", "ranked", 2)]
    assert [c.key for c in page.main.columns] == [*TASKS, "mean", "mb_up", "mb_down", "seconds", "coverage"]
    assert shown(page) == {
        "majority": ["0.500", "0.500", "0.500", "4.00", "6.00", "25.0", "2/2"],
        "fedprox_s": ["0.700 [0.60, 0.80]", "0.900 [0.85, 0.95]", "0.800", "4.00", "6.00", "25.0", "2/2"],
        "fedavg_s": ["0.800 [0.70, 0.90]", "0.600 [0.55, 0.65]", "0.700", "4.00", "6.00", "25.0", "2/2"],
    }
    best = {(r.algorithm.name, i) for r in page.main.rows for i, e in enumerate(r.entries) if e.best}
    assert best == {("fedavg_s", 0), ("fedprox_s", 1), ("fedprox_s", 2)}
    assert [t.key for t in details(page)] == TASKS
    assert page.title == "Toy board (SYNTHETIC)"
    assert page.gaps == ()
    # Equal at the digits shown: both are best, and the tie is visible.
    assert shown(page, details(page)[0])["fedavg_s"] == ["0.800 [0.70, 0.90]", "0.500 ="]


def test_two_and_three_seeds():
    for seeds, wanted in (([0, 1], "0.700, 0.800"), ([0, 1, 2], "0.800 ± 0.100")):
        made = cells(A[1:2], TASKS[:1], seeds)
        records = [record(c, {"auroc": 0.7 + 0.1 * c.seed}) for c in made]
        page = page_of(board(seeds=seeds, tasks=TASKS[:1]), made, records)
        assert page.main.rows[0].entries[0].text == wanted
        # No mean column with one task; costs are means over seeds.
        assert [e.text for e in page.main.rows[0].entries[1:]] == [
            "2.00",
            "3.00",
            "12.5",
            f"{len(seeds)}/{len(seeds)}",
        ]


def test_incomplete_rows_are_below_the_line_and_never_best():
    made, records = full()
    page = page_of(board(), made, [r for r in records if r.setting != "fedprox_s-ecg_abnormal-0"])
    last = page.main.rows[-1]
    assert (last.algorithm.name, last.section) == ("fedprox_s", "incomplete")
    assert [e.text for e in last.entries][:3] == ["missing", "0.900 [0.85, 0.95]", "–"]
    assert last.entries[-1].text == "1/2"
    assert not any(e.best for e in last.entries)
    assert [(g.status, g.reason, g.tasks) for g in page.gaps] == [("missing", "not run yet", ("ecg_abnormal",))]


def test_every_way_to_have_no_number_has_its_reason():
    made, records = full()
    error = {"type": "RunFailed", "message": "loss became nan"}
    records[2] = records[2].model_copy(update={"status": "failed", "evaluations": []})
    records[2] = type(records[2]).model_validate({**records[2].model_dump(by_alias=True), "error": error})
    records[3] = records[3].model_copy(update={"status": "interrupted"})
    records[4] = records[4].model_copy(
        update={"evaluations": [records[4].evaluations[0].model_copy(update={"split": "valid"})]}
    )
    bad = BadRecord(Path("r/torn/record.json"), "not valid JSON", records[5].setting)
    made.append(Cell(algorithm("central"), TASKS[0], 0, "", not_applicable="never trained on"))
    found = collect(made, [*records[:5], bad])
    said = {(o.cell.algorithm.name, o.cell.task): (o.status, o.reason) for o in found.outcomes}
    assert said["fedavg_s", "ecg_abnormal"] == ("failed", "RunFailed: loss became nan")
    assert said["fedavg_s", "lung_opacity"] == ("interrupted", "stopped after 2 rounds")
    assert said["fedprox_s", "ecg_abnormal"][0] == "missing"  # only a valid split: the test number is missing
    assert "no evaluation of view 'aggregated'" in said["fedprox_s", "ecg_abnormal"][1]
    assert said["fedprox_s", "lung_opacity"] == ("bad", "torn/record.json: not valid JSON")
    assert said["central", "ecg_abnormal"] == ("not_applicable", "never trained on")
    rows = tidy(found)
    assert {r.status for r in rows} == {"ok", "failed", "interrupted", "missing", "bad", "not_applicable"}
    assert all(r.reason for r in rows if r.status != "ok")


def test_undefined_main_metric_is_not_ranked():
    made, records = full()
    records[2] = record(made[2], {"auroc": float("nan"), "f1": 0.4})
    page = page_of(board(), made, records)
    assert shown(page)["fedavg_s"][:3] == ["undefined", "0.600 [0.55, 0.65]", "–"]
    assert page.main.rows[-1].section == "incomplete"


def test_a_board_shows_one_preparation_of_its_data_and_names_the_others():
    """Two preparations of a task: what most cells depend on counts, however late a lone other one was run."""
    made, records = full()
    card = [{"name": "e", "task": "ecg_abnormal", "card": "other", "synthetic": True}]
    newer = record(made[2], {"auroc": 0.91}, key="newer", cohorts=card, finished="2026-02-01T00:00:00+00:00")
    older = record(made[2], {"auroc": 0.11}, key="older", cohorts=card, finished="2025-02-01T00:00:00+00:00")
    for order in ([newer, *records, older], [older, *records, newer]):
        page = page_of(board(), made, order)
        assert shown(page)["fedavg_s"][0] == "0.800 [0.70, 0.90]"
        assert {r.mark for r in page.main.rows} == {""}
        (remark,) = page.collected.remarks
        assert remark.startswith("2 further records hold the same runs on other preparations of the data")
        assert "ecg_abnormal other" in remark
        assert remark in markdown(page)
    assert page_of(board(), made, records).collected.remarks == ()


def test_of_preparations_as_frequent_the_one_run_last_is_shown_throughout():
    made, records = full()
    again = [
        r.model_copy(update={"key": f"new-{r.key}", "finished": datetime(2026, 5, 1, tzinfo=timezone.utc),
                             "cohorts": [c.model_copy(update={"card": "new"}) for c in r.cohorts]})
        for r in records
    ]  # fmt: skip
    page = page_of(board(), made, [*again, *records])
    assert {r.key for r in page.rows} == {r.key for r in again}, "cells of two preparations never stand side by side"


def test_a_row_that_rests_on_other_data_is_marked():
    made, records = full()
    card = [{"name": "e", "task": "ecg_abnormal", "card": "other", "synthetic": True}]
    records[2] = record(made[2], {"auroc": 0.91}, cohorts=card)
    page = page_of(board(), made, records)
    marks = {r.algorithm.name: r.mark for r in page.main.rows}
    assert marks == {"majority": "", "fedavg_s": "‡", "fedprox_s": ""}
    assert any(w.startswith("Rows marked ‡ use different data") for w in page.main.warnings)
    assert [w for w in details(page)[1].warnings if "‡" in w] == []


def test_other_versions_and_published_split_are_marked():
    made, records = full()
    records[2] = record(made[2], {"auroc": 0.8}, versions={"tasks": {"ecg_abnormal": 2}, "metrics": {"auroc": 1}})
    cohorts = [{"name": "l", "task": "lung_opacity", "card": "c0ffee", "synthetic": False, "split": "published"}]
    records[5] = record(made[5], {"auroc": 0.8}, cohorts=cohorts)
    page = page_of(board(), made, records)
    warnings = " ".join(page.main.warnings)
    assert "task version" in warnings
    assert page.main.stamps == ("SYNTHETIC", "PUBLISHED SPLIT")
    assert page.stamp == "SYNTHETIC, PUBLISHED SPLIT"
    assert page.versions["task ecg_abnormal"] == ("1", "2")


def test_a_run_over_several_tasks_is_counted_once():
    a = algorithm("fedavg_m")
    made = cells([a], TASKS, [0])
    one = record(made[0], {"auroc": 0.7})
    other = one.evaluations[0].model_copy(update={"task": TASKS[1]})
    one = one.model_copy(update={"evaluations": [*one.evaluations, other]})
    page = page_of(board(algorithms=["fedavg_m"]), made, [one])
    assert shown(page)["fedavg_m"][2:] == ["0.700", "2.00", "3.00", "12.5", "2/2"]
    assert len(page.sections[0].grid.collected.records) == 1


def test_worse_than_constant_is_flagged():
    made, records = full()
    records[2] = record(made[2], {"auroc": 0.4})
    page = page_of(board(), made, records)
    assert shown(page)["fedavg_s"][0] == "0.400 ⚠"
    assert dict(page.terms)["⚠"] == "A value worse than the constant predictor's."


def test_different_main_metrics_are_ordered_by_the_mean_in_margins():
    made, records = full()
    records = [
        record(c, {"f1" if c.task == "lung_opacity" else "auroc": VALUES[c.algorithm.name, c.task]}) for c in made
    ]
    page = page_of(board(), made, records)
    assert "mean" not in [c.key for c in page.main.columns]
    assert "value / margin" in dict(page.terms)["Order"]
    assert [r.algorithm.name for r in page.main.rows] == ["majority", "fedprox_s", "fedavg_s"]  # 1.6 against 1.4
    # where a hundredth of F1 matters a hundred times less, the other task decides
    page = page_of(board(margins={"f1": 1.0}), made, records)
    assert [r.algorithm.name for r in page.main.rows] == ["majority", "fedavg_s", "fedprox_s"]


def test_seeds_and_patients_are_in_every_number():
    made = cells(A[1:2], TASKS[:1], [0, 1, 2])
    records = [record(c, {"auroc": (0.7 + 0.1 * c.seed, 0.6 + 0.1 * c.seed, 0.75 + 0.1 * c.seed)}) for c in made]
    page = page_of(board(seeds=[0, 1, 2], tasks=TASKS[:1]), made, records)
    seeds = 4.302653 * 0.1 / 3**0.5  # t with 2 degrees of freedom
    low, high = 0.8 - (0.1**2 + seeds**2) ** 0.5, 0.8 + (0.05**2 + seeds**2) ** 0.5
    assert page.main.rows[0].entries[0].text == f"0.800 ± 0.100 [{low:.2f}, {min(high, 1):.2f}]"


def test_a_bound_is_written_as_one_and_no_interval_is_said():
    made = cells(A[1:2], TASKS[:1], [0])
    found = record(made[0], {"auroc": (1.0, 0.88, 1.0), "auprc": 0.9, "f1": (1.0, 1.0, 1.0)})
    found.evaluations[0].metrics["auprc"].note = "no interval: fewer than 20 patients in a class"
    page = page_of(board(tasks=TASKS[:1]), made, [found])
    assert page.main.rows[0].entries[0].text == "1.000 [≥ 0.88]"
    (table,) = details(page)
    shown_there = [e.text for e in table.rows[0].entries]
    assert "0.900 [–]" in shown_there
    assert "1.000 [1.00, 1.00]" in shown_there  # a constant predictor's is not a bound
    assert dict(table.definitions)["[–]"] == "No interval: fewer than 20 patients in a class."


def test_the_mean_over_tasks_has_the_interval_of_its_patients():
    made = cells(A[1:2], TASKS, [0])
    bounds = {TASKS[0]: (0.8, 0.7, 0.88), TASKS[1]: (0.6, 0.3, 0.66)}
    (page,) = [page_of(board(), made, [record(c, {"auroc": bounds[c.task]}) for c in made])]
    grid = page.sections[0].grid
    apart = grid.mean_entry("fedavg_s", [[TASKS[0]], [TASKS[1]]])
    assert apart.number == "0.700"
    assert apart.interval == f"[{0.7 - (0.05**2 + 0.15**2) ** 0.5:.2f}, {0.7 + (0.04**2 + 0.03**2) ** 0.5:.2f}]"
    assert grid.mean_entry("fedavg_s", [TASKS]).interval == "[0.50, 0.77]"  # shared patients: 0.7 - 0.2, 0.7 + 0.07
    assert grid.mean_entry("fedavg_s", []).text == "0.700"
