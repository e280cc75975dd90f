"""``plan`` on boards made up for tests: what it prints, and every way it can fail."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from fedmeki_bench.boards.loading import load_board
from fedmeki_bench.records.store import RecordStore
from fedmeki_bench.runs.plan import cells
from fedmeki_bench.statistics.power import Variances, needed, smallest_difference

STRENGTH = {"majority": 0.0, "local": 1.0, "fedavg_s": 1.6, "fedprox_s": 1.7, "feddyn_s": 1.4}
TASKS = ["ecg_abnormal", "lung_opacity"]


@pytest.fixture
def made(bench, tmp_path, monkeypatch):
    """``made(seeds=[0, 1, 2])`` writes toy.yaml and a record with predictions for each of its cells."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "leaderboard"))
    from board_fakes import scored

    def make(**changes):
        content = {"name": "toy", "profile": "demo", "seeds": [0, 1, 2], "clients": 2, "tasks": TASKS,
                   "algorithms": list(STRENGTH), "reference": "fedavg_s"} | changes  # fmt: skip
        Path("toy.yaml").write_text(yaml.safe_dump(content))
        store = RecordStore(tmp_path / "results")
        for cell in cells(load_board(Path("toy.yaml")), []):
            scored(store, cell, strength=STRENGTH[cell.algorithm.name])

    return make


def plan(bench, *args):
    ended = bench("plan", "toy.yaml", "--json", *args)
    assert ended.code == 0, ended.err
    return json.loads(ended.out)


def test_it_plans_each_task_and_their_mean(bench, made):
    made()
    found = plan(bench, "--separate", "0.05", "--power", "0.9")
    assert (found["board"], found["power"]) == ("toy", 0.9)
    (section,) = found["sections"]
    tasks = {p["task"]: p for p in section["plans"]}
    assert list(tasks) == [*TASKS, ""]
    for one in tasks.values():
        assert (one["metric"], one["seeds"], one["separate"]) == ("auroc", 3, pytest.approx(0.05))
        variances = Variances(**one["variances"])
        again = needed(variances, 0.05, each=one["each"], power=0.9)
        assert one["needed"]["seeds"] == again.seeds
        assert one["needed"]["patients"] == {str(k): v for k, v in again.patients.items()}
        assert one["smallest"] == pytest.approx(smallest_difference(
            variances, n_seeds=3, n_patients=one["patients"], each=one["each"], power=0.9
        ))  # fmt: skip
    assert [one["patients"] for one in tasks.values()] == [60, 60, 60]  # the same 60 names in both tasks
    assert tasks[""]["smallest"] < max(tasks[t]["smallest"] for t in TASKS)
    assert tasks[TASKS[0]]["each"] == tasks[TASKS[1]]["each"] < 0.05


def test_what_is_easier_needs_less(bench, made):
    made()
    hard, easy = plan(bench, "--separate", "0.05"), plan(bench, "--separate", "0.2")
    for a, b in zip(hard["sections"][0]["plans"], easy["sections"][0]["plans"], strict=True):
        assert a["smallest"] == b["smallest"]
        for seeds, patients in b["needed"]["patients"].items():
            assert patients is not None
            assert a["needed"]["patients"][seeds] is None or a["needed"]["patients"][seeds] >= patients
    sure = plan(bench, "--separate", "0.2", "--power", "0.95")
    assert sure["sections"][0]["plans"][0]["smallest"] > easy["sections"][0]["plans"][0]["smallest"]


def test_the_board_declares_what_matters(bench, made):
    for margins, wanted in (({"auroc": 0.03}, 0.03), ({}, 0.01)):
        made(margins=margins)
        for one in plan(bench)["sections"][0]["plans"]:
            assert one["separate"] == pytest.approx(wanted)


def test_the_table_says_what_it_means(bench, made):
    made()
    ended = bench("plan", "toy.yaml", "--separate", "0.1")
    assert ended.code == 0, ended.err
    header, *rows = ended.out.splitlines()
    assert header.split("\t")[2:] == [
        "patients", "seeds", "found now", "to find", "seeds needed",
        *(f"patients at {seeds} seeds" for seeds in (3, 5, 10, 20)),
    ]  # fmt: skip
    assert [row.split("\t")[0] for row in rows[:3]][-1] == "mean over tasks"
    assert "found with 80 % probability" in ended.out
    assert "3 seeds is a rough guide" in ended.out


def test_of_one_seed_it_plans_for_trained_models_and_says_so(bench, made):
    made(seeds=[0])
    (section,) = plan(bench)["sections"]
    for one in section["plans"]:
        assert one["variances"]["seeds"] is None
        assert one["needed"]["seeds"] is None
        assert list(one["needed"]["patients"]) == ["1"]
    text = bench("plan", "toy.yaml").out
    assert "patients needed" in text
    assert "seeds needed" not in text
    assert "run at least 3" in text


def test_one_task_has_one_plan(bench, made):
    made(tasks=TASKS[:1])
    assert [p["task"] for p in plan(bench)["sections"][0]["plans"]] == TASKS[:1]


def test_every_dealing_is_planned(bench, made):
    made(partitions=["iid", {"dirichlet": {"alpha": 0.3}}], tasks=TASKS[:1])
    assert [s["partition"] for s in plan(bench)["sections"]] == ["iid", "dirichlet alpha 0.3"]


def refused(ended, code, *words):
    assert ended.code == code, ended.out + ended.err
    assert "Traceback" not in ended.err
    for word in words:
        assert word in ended.err


@pytest.mark.parametrize("wrong", [["--separate", "0"], ["--separate", "-1"], ["--separate", "nan"],
                                   ["--separate", "inf"], ["--power", "1"], ["--power", "0.01"]])  # fmt: skip
def test_a_bad_option_is_usage(bench, made, wrong):
    made(seeds=[0], tasks=TASKS[:1])
    refused(bench("plan", "toy.yaml", *wrong), 2, wrong[0])


def test_no_board_no_records_no_predictions(bench, made, tmp_path):
    refused(bench("plan", "nosuch"), 2, "unknown board 'nosuch'")
    made(seeds=[0], tasks=TASKS[:1])
    refused(bench("plan", "toy.yaml", "--results", "empty"), 3, "no record in empty", "sweep toy")
    for folder in (tmp_path / "results").glob("*/predictions"):
        shutil.rmtree(folder)
    refused(bench("plan", "toy.yaml"), 3, "nothing to plan toy from", "status toy")
    Path("toy.yaml").write_text("name: [")
    refused(bench("plan", "toy.yaml"), 3, "toy.yaml")


def test_rows_that_never_met_are_nothing_to_plan_from(bench, made):
    made(algorithms=["fedavg_s"])
    refused(bench("plan", "toy.yaml"), 3, "nothing to plan toy from", "no two finished runs")


def test_it_needs_no_cohorts_and_no_torch(bench, made):
    made(seeds=[0], tasks=TASKS[:1])
    assert not Path("data").exists()
    code = "import sys; from fedmeki_bench.cli.main import main; main(['plan', 'toy.yaml']); "
    code += "print('torch' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "found now" in ended.stdout
    assert ended.stdout.splitlines()[-1] == "False"
