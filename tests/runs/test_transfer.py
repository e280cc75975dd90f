"""The board ``transfer`` from nothing: what the committed page says of working and broken injections comes out."""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest

from fedmeki_bench.boards.loading import find_board
from fedmeki_bench.records.store import RecordStore
from fedmeki_bench.workflow.boards import sweep
from fedmeki_bench.workflow.data import prepare, releases, synth

WORKING, BROKEN = ("fedavg_m_fm", "fedavg_m_kim"), ("fm_shuffled", "fm_untrained")


@pytest.fixture(scope="module")
def records(tmp_path_factory) -> list:
    root: Path = tmp_path_factory.mktemp("transfer")
    board = find_board("transfer").model_copy(update={"algorithms": [*BROKEN, *WORKING]})
    for release, wanted in board.synth.items():
        synth(release, root / "raw" / release, size=wanted.size, seed=wanted.seed)
    for dataset, release in releases().items():
        if release in board.synth:
            prepare(dataset, root / "raw" / release, root / "data", options=board.prepare.get(dataset, {}))
    sweep(board, root / "data", results=root / "results")
    found = list(RecordStore(root / "results").all())
    assert {record.status for record in found} == {"ok"}
    return found


def mean(records, algorithm: str, tasks: list[str], view: str = "foundation") -> float:
    """Mean AUROC over seeds and tasks."""
    return statistics.fmean(
        e.metrics["auroc"].value
        for record in records
        if record.algorithm == algorithm
        for e in record.evaluations
        if e.view == view and e.task in tasks
    )


@pytest.mark.slow
def test_a_working_injection_is_told_from_a_broken_one(records):
    groups = find_board("transfer").groups
    for algorithm in WORKING:
        assert mean(records, algorithm, groups["Strongly related"]) >= 0.85, algorithm
        assert 0.45 <= mean(records, algorithm, groups["Not related"]) <= 0.55, algorithm
    strong = mean(records, "fedavg_m_fm", groups["Strongly related"])
    for algorithm in BROKEN:
        assert strong - mean(records, algorithm, groups["Strongly related"]) >= 0.2, algorithm
    assert 0.45 <= mean(records, "fm_shuffled", groups["Zero-shot"]) <= 0.55


@pytest.mark.slow
def test_the_injected_model_knows_what_the_aggregate_knows(records):
    trained = find_board("transfer").groups["Trained"]
    answered, aggregated = (mean(records, "fedavg_m_kim", trained, view) for view in ("foundation", "aggregated"))
    assert abs(answered - aggregated) <= 0.03
