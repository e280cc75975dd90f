"""A table says which rows were run otherwise than their papers assume."""

from __future__ import annotations

import pytest

from fedmeki_bench.algorithms import resolve
from fedmeki_bench.leaderboard import words
from fedmeki_bench.records.store import RecordStore
from fedmeki_bench.runs.execute import execute
from fedmeki_bench.runs.spec import specify


class Grid:
    def __init__(self, records):
        self.algorithms = {name: resolve(name) for name in records}
        self.outcomes = {(name, "t"): [Outcome(assumed)] for name, assumed in records.items()}


class Outcome:
    def __init__(self, assumed):
        self.record = type("Record", (), {"assumed": assumed})()


def test_each_assumption_is_one_sentence_with_its_rows():
    grid = Grid({"fedavg_m": {}, "scaffold_m": {"optimizer": "sgd"}, "feddyn_m": {"optimizer": "sgd"}})
    assert words._assumed(grid, ["t"]) == [
        "The papers of SCAFFOLD_m, FedDyn_m assume optimizer=sgd, which these runs do not have."
    ]
    assert words._assumed(Grid({"fedavg_m": {}}), ["t"]) == []


@pytest.mark.parametrize(("optimizer", "wanted"), [("adam", {"optimizer": "sgd"}), ("sgd", {})])
def test_a_record_holds_what_is_assumed_and_not_kept(cohorts, tmp_path, optimizer, wanted):
    options = {"rounds": 1, "local_epochs": 1, "optimizer": optimizer}
    (spec,) = specify(resolve("scaffold_s"), ["ecg_abnormal"], clients=2, seed=0, options=options)
    assert execute(spec, cohorts, RecordStore(tmp_path)).assumed == wanted
