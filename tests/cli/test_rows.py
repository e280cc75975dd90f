"""A board whose rows have options of their own, the whole way on the command line."""

from __future__ import annotations

import csv
import json

import pytest

from fedmeki_bench.workflow.boards import planned

BOARD = """
name: own
profile: demo
seeds: [0]
clients: 2
tasks: [ecg_abnormal]
algorithms:
  - majority
  - fedavg_s
  - fedavg_s: {name: slow, label: "FedAvg, slow", options: {lr: 0.0001}}
  - fedprox_s: {name: same, options: {rule.mu: 0.1, local_epochs: 1}}
reference: slow
options: {rounds: 1, local_epochs: 1, mu: 0.1}
"""


@pytest.fixture(scope="module")
def swept(cohorts, tmp_path_factory):
    from fedmeki_bench.cli.main import main

    folder = tmp_path_factory.mktemp("own")
    (folder / "own.yaml").write_text(BOARD)
    args = [str(folder / "own.yaml"), "--data", str(cohorts), "--results", str(folder / "r"), "--plain", "-j", "1"]
    main(["sweep", *args])
    return folder


def test_status_leaderboard_check_compare_and_reproduce_know_the_rows(bench, cohorts, swept):
    path, results, out = swept / "own.yaml", swept / "r", swept / "o"
    told = json.loads(bench("status", path, "--data", cohorts, "--results", results, "--json").out)
    assert [(row["algorithms"], row["status"]) for row in told] == [
        (["majority"], "ok"), (["fedavg_s"], "ok"), (["slow"], "ok"), (["same"], "ok"),
    ]  # fmt: skip
    built = bench("leaderboard", path, "--results", results, "--out", out)
    assert built.code == 0, built.err
    assert "FedAvg, slow: lr 0.0001; FedProx_s: mu 0.1, local_epochs 1." in built.out
    with (out / "leaderboard.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {(r["algorithm"], r["options"]) for r in rows} >= {("slow", "lr 0.0001"), ("fedavg_s", "")}
    assert "Differences to FedAvg, slow" in (out / "leaderboard.md").read_text()
    assert bench("leaderboard", path, "--results", results, "--out", out, "--check").code == 0
    compared = bench("compare", "slow", "fedavg_s", "--board", path, "--results", results, "--json")
    assert json.loads(compared.out)["comparisons"][0]["difference"] is not None
    (key,) = [row["key"] for row in told if row["algorithms"] == ["slow"]]
    again = bench("reproduce", results / key, "--data", cohorts)
    assert again.code == 0, again.err
    chosen = planned(path, cohorts, swept / "none", only="slow").chosen
    assert [entry.key for entry in chosen] == [key]
    refused = bench("sweep", path, "--data", cohorts, "--results", results, "--only", "slew")
    assert refused.code == 2
    assert "did you mean 'slow'" in refused.err


def test_a_failed_row_is_named_as_the_board_names_it(bench, cohorts, tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(BOARD.replace("lr: 0.0001", "encoders: 3"))
    ended = bench("sweep", path, "--data", cohorts, "--results", tmp_path / "r", "--plain")
    assert ended.code == 3
    assert f"{path}:10: row 'slow': option 'encoders'" in ended.err
