"""What the terminal says about a board: their partition, what is left by kind of run, and remarks."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from fedmeki_bench.runs.expected import cost

BOARD = """
name: split
profile: demo
seeds: [0]
clients: 2
partitions: [iid, {dirichlet: {alpha: 0.3}}]
tasks: [ecg_abnormal]
algorithms: [majority, central, fedavg_s]
options: {rounds: 1, local_epochs: 1, lr: 1000000.0}
"""


def entry(rule, seconds=None, *, stage="none", bound=False, pooled=False, tasks=("a",), status=None, options=()):
    spent = SimpleNamespace(seconds=seconds, bytes_up=10, bytes_down=20)
    return SimpleNamespace(
        status=status or ("missing" if seconds is None else "ok"),
        spec=SimpleNamespace(rule=rule, stage=stage, tasks=tasks),
        cells=[SimpleNamespace(algorithm=SimpleNamespace(bound=bound, pooled=pooled, options=options))],
        record=SimpleNamespace(cost=spent),
    )


def test_a_bound_that_takes_no_time_does_not_pull_the_estimate_down():
    done = [entry("majority", 0.01, bound=True), entry("majority", 0.01, bound=True), entry("fedavg", 60.0)]
    assert cost(entry("fedprox"), done)[0] == 60.0
    assert cost(entry("majority", bound=True), done)[0] == 0.01
    assert cost(entry("local", bound=True), done)[0] is None  # no bound is like another
    assert cost(entry("fedprox"), done[:2])[0] is None


def test_what_is_alike_comes_first():
    done = [
        entry("fedavg", 10.0), entry("fedavg", 90.0, stage="kim"), entry("scaffold", 30.0),
        entry("fedavg", 40.0, bound=True, pooled=True), entry("fedavg", 500.0, tasks=("b",)),
    ]  # fmt: skip
    assert cost(entry("fedavg"), done)[0] == 10.0
    assert cost(entry("fedprox", stage="kim"), done)[0] == 90.0  # the stage costs more than the rule
    assert cost(entry("fedprox"), done)[0] == 20.0
    assert cost(entry("fedavg", bound=True, pooled=True), done)[0] == 40.0
    assert cost(entry("fedavg", tasks=("c",)), done)[0] is None


def test_a_row_with_options_of_its_own_is_judged_by_its_own_runs():
    long = (("profile.local_epochs", 20),)
    done = [entry("fedavg", 10.0), entry("fedavg", 12.0), entry("fedavg", 200.0, options=long)]
    assert cost(entry("fedavg", options=long), done)[0] == 200.0
    assert cost(entry("fedavg"), done)[0] == 11.0


@pytest.fixture(scope="module")
def swept(cohorts, tmp_path_factory):
    from fedmeki_bench.cli.main import main

    folder = tmp_path_factory.mktemp("swept")
    (folder / "split.yaml").write_text(BOARD)
    main(["sweep", str(folder / "split.yaml"), "--data", str(cohorts), "--results", str(folder / "r"), "--plain"])
    return folder


@pytest.mark.slow
def test_status_shows_the_partition_and_remarks(bench, cohorts, swept):
    args = ("status", swept / "split.yaml", "--data", cohorts, "--results", swept / "r")
    rows = json.loads(bench(*args, "--json").out)
    assert {(tuple(r["algorithms"]), r["partition"]) for r in rows} == {
        (("majority",), "iid"), (("majority",), "dirichlet alpha 0.3"), (("central",), "pooled"),
        (("fedavg_s",), "iid"), (("fedavg_s",), "dirichlet alpha 0.3"),
    }  # fmt: skip
    assert all("no better than a constant" in r["remarks"][0] for r in rows if r["algorithms"] == ["fedavg_s"])
    assert all(r["remarks"] == [] for r in rows if r["algorithms"] == ["majority"])
    assert "dirichlet alpha 0.3" in bench(*args).out


def test_the_tables_of_the_terminal_show_the_partition(bench, cohorts, swept):
    shown = bench("leaderboard", swept / "split.yaml", "--results", swept / "r", "--out", swept / "o", "--format", "md")
    assert "iid" in shown.out
    assert "dirichlet alpha 0.3" in shown.out
    assert "¶" in shown.out
    assert "no better than a constant" in shown.out  # the mark's footnote, too


def test_run_says_how_the_data_were_dealt_and_what_is_doubtful(bench, cohorts, tmp_path):
    options = [part for o in ("rounds=1", "lr=1000000.0", "partition.alpha=0.7") for part in ("-o", o)]
    said = bench("run", "fedavg_s", "--data", cohorts, "--tasks", "ecg_abnormal", "--partition", "dirichlet", "--plain",
                 *options, "--results", tmp_path)  # fmt: skip
    assert "dirichlet alpha 0.7" in said.out
    assert "remark: ecg_abnormal: no better than a constant on valid" in said.out


def test_the_live_grid_keeps_dealings_apart(cohorts, swept, monkeypatch):
    from fedmeki_bench.boards.loading import find_board
    from fedmeki_bench.cli import boards

    seen = {}

    class Grid:
        def __init__(self, title, cells, **_):
            seen.update(cells)

        def __enter__(self):
            return lambda event: None

        def __exit__(self, *_):
            return None

    monkeypatch.setattr("fedmeki_bench.cli.view.SweepView", Grid)
    boards.run_board(find_board(swept / "split.yaml"), cohorts, swept / "r", plain=True)
    rows = {place[0] for places in seen.values() for place in places}
    assert {"fedavg_s, iid", "fedavg_s, dirichlet alpha 0.3"} <= rows


def test_comparing_records_dealt_otherwise_says_so(bench, cohorts, tmp_path):
    for partition, results in (("iid", tmp_path / "a"), ("dirichlet", tmp_path / "b")):
        ended = bench("run", "fedavg_s", "--data", cohorts, "--tasks", "ecg_abnormal", "--partition", partition,
                      "--plain", "-o", "rounds=1", "--results", results)  # fmt: skip
        assert ended.code == 0
    a, b = (next((tmp_path / x).glob("*/record.json")) for x in "ab")
    said = bench("compare", a, b)
    assert "partitions differ: iid, and dirichlet alpha" in said.out
