"""A run that ends ok and learned nothing says so; one that learned, or never meant to, does not."""

from __future__ import annotations

import pytest

from fedmeki_bench.algorithms import resolve
from fedmeki_bench.records.store import RecordStore
from fedmeki_bench.runs.execute import execute
from fedmeki_bench.runs.spec import specify

TASK = "ecg_abnormal"
LEARNS = {"rounds": 4, "local_epochs": 2, "batch_size": 8, "lr": 3e-3}

NEVER = """
from fedmeki_bench.api import Rule

class Never(Rule):
    def aggregate(self, server, updates):
        for _ in updates:
            pass
"""


def run(cohorts, results, algorithm, variant=None, **options):
    (spec,) = specify(resolve(algorithm, variant), [TASK], clients=2, options=LEARNS | options)
    record = execute(spec, cohorts, RecordStore(results))
    assert record.status == "ok", record.error
    return record


def test_a_rule_that_never_aggregates_leaves_a_remark(cohorts, tmp_path):
    (tmp_path / "never.py").write_text(NEVER)
    record = run(cohorts, tmp_path / "r", f"{tmp_path / 'never.py'}:Never", "s", rounds=1)
    (note,) = record.notes
    assert "never moved" in note
    assert record.evaluations[0].note == note


def test_a_step_size_that_ruins_the_model_leaves_a_remark(cohorts, tmp_path):
    record = run(cohorts, tmp_path, "fedavg_s", lr=1e6, rounds=1)
    (note,) = record.notes
    assert "no better than a constant on valid" in note
    assert "a constant has 0.500" in note
    assert record.evaluations[0].note == note


@pytest.mark.parametrize(
    "algorithm", ["fedavg_s", "majority", *(pytest.param(a, marks=pytest.mark.slow) for a in ("fedbn_s", "central"))]
)
def test_a_run_that_learns_or_never_meant_to_leaves_none(cohorts, tmp_path, algorithm):
    assert run(cohorts, tmp_path, algorithm).notes == []


def test_clients_that_learn_alone_have_moved(cohorts, tmp_path):
    assert not any("never moved" in note for note in run(cohorts, tmp_path, "local", rounds=1).notes)


def test_an_injection_without_clients_says_nothing_about_decoders(cohorts, tmp_path, barely):
    record = run(cohorts, tmp_path, "kim_public", rounds=1, foundation=barely)
    assert record.notes == []
    assert [e.note for e in record.evaluations if e.view == "aggregated"] == [""]


def test_an_interrupted_run_compares_with_its_own_beginning(cohorts, tmp_path):
    """After a resume the first weights are the seed's, not those of the checkpoint."""
    from fedmeki_bench.events import RoundEnded

    (spec,) = specify(resolve("fedavg_s"), [TASK], clients=2, options=LEARNS | {"rounds": 2})

    def stop(event):
        if isinstance(event, RoundEnded) and event.round == 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        execute(spec, cohorts, RecordStore(tmp_path), listener=stop)
    assert not any("never moved" in note for note in execute(spec, cohorts, RecordStore(tmp_path)).notes)
