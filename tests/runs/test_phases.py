"""What a run leaves whose tasks follow one another: every task scored after every phase, whatever happens meanwhile."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedmeki_bench.algorithms import resolve
from fedmeki_bench.evaluation import phases, scoring
from fedmeki_bench.evaluation.metrics import AUROC
from fedmeki_bench.evaluation.rescoring import rescore, stored
from fedmeki_bench.events import RoundEnded, silent
from fedmeki_bench.records.record import Record
from fedmeki_bench.records.store import RecordStore
from fedmeki_bench.runs.agreement import differences
from fedmeki_bench.runs.execute import execute
from fedmeki_bench.runs.folders import look
from fedmeki_bench.runs.merging import merge
from fedmeki_bench.runs.reproduce import compared, spec_of
from fedmeki_bench.runs.spec import RunSpec, specify

from .test_kills import plain

ECG, LUNG = "ecg_abnormal", "lung_opacity"
HOW = {"regime": "sequential", "order": f"{LUNG},{ECG}", "rehearsal": 0.3, "rounds": 4, "local_epochs": 1}


def specified(algorithm: str = "fedavg_m", **options: Any) -> RunSpec:
    (spec,) = specify(resolve(algorithm), [ECG, LUNG], clients=2, options=HOW | options)
    return spec


def run(cohorts: Path, results: Path, spec: RunSpec | None = None, **how: Any) -> tuple[Record, Path]:
    store = RecordStore(results)
    record = execute(spec or specified(), cohorts, store, **how)
    return record, store.folder(record.key)


def contents(folder: Path) -> dict[str, Any]:
    """Every file of a run, without times."""
    return {
        path.relative_to(folder).as_posix(): plain(json.loads(path.read_text()))
        if path.name == "record.json"
        else path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


@pytest.fixture(scope="module")
def whole(cohorts: Path, tmp_path_factory) -> tuple[Record, Path]:
    return run(cohorts, tmp_path_factory.mktemp("whole"))


def test_every_task_is_scored_before_the_first_round_and_after_every_phase(whole):
    record, folder = whole
    found = {(e.phase, e.task, e.split) for e in record.phases}
    every = {(phase, task, split) for phase in (0, 1, 2) for task in (ECG, LUNG) for split in ("valid", "test")}
    assert found == every - {(2, ECG, "test"), (2, LUNG, "test")}, "the end on test is the run's own"
    assert {(e.task, e.phase) for e in record.evaluations} == {(ECG, None), (LUNG, None)}
    for e in record.phases:
        said = stored(e, folder)
        assert e.metrics["auroc"].value == pytest.approx(AUROC(np.asarray(said.label), np.asarray(said.score)))
    at = {(e.phase, e.task, e.split): e.metrics["auroc"].value for e in record.phases}
    for phase, rounds in ((1, 2), (2, 4)):
        assert record.history[rounds - 1].valid == {
            task: pytest.approx(at[phase, task, "valid"]) for task in (ECG, LUNG)
        }
    assert at[1, ECG, "test"] == at[0, ECG, "test"], "the other modality's task was not touched"
    assert at[1, LUNG, "test"] != at[0, LUNG, "test"]
    assert look(folder).strange == ()


def test_the_files_are_those_of_joint_training_but_for_the_phases(cohorts, tmp_path, whole):
    _, folder = run(cohorts, tmp_path, specified(regime="joint", rehearsal=0.0))
    text = json.loads((folder / "record.json").read_text())
    assert "phases" not in text
    assert "curriculum" not in text["params"]
    assert not any("phase" in e for e in text["evaluations"])
    assert not list((folder / "predictions").glob("*phase*"))
    assert Record.from_json((folder / "record.json").read_text()).phases == []


@pytest.mark.parametrize(
    "stop", [*(pytest.param(n, marks=pytest.mark.slow) for n in (0, 2, 3)), 1], ids=lambda n: f"after round {n + 1}"
)
def test_killed_in_any_phase_and_resumed_it_leaves_the_same_files(cohorts, tmp_path, whole, stop):
    def kill(event: Any) -> None:
        if isinstance(event, RoundEnded) and event.round == stop:
            raise SystemError("killed")  # right after the checkpoint, before the phase is scored

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fedmeki_bench.runs.execute.failure", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(cohorts, tmp_path, listener=kill)
    record, folder = run(cohorts, tmp_path)
    assert record.status == "ok"
    assert contents(folder) == contents(whole[1])


def _interrupted(error: BaseException, *_: Any) -> Any:
    raise KeyboardInterrupt from error


@pytest.mark.slow
def test_killed_while_a_phase_is_scored_it_is_scored_again(cohorts, tmp_path, whole, monkeypatch):
    inner, calls = phases.write_predictions, []

    def dying(path: Path, said: Any) -> str:
        calls.append(path)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return inner(path, said)

    monkeypatch.setattr(phases, "write_predictions", dying)
    with pytest.raises(KeyboardInterrupt):
        run(cohorts, tmp_path)
    assert ".phase-1." in calls[-1].name
    _, folder = run(cohorts, tmp_path)
    assert contents(folder) == contents(whole[1])


@pytest.mark.slow
def test_with_the_test_split_closed_no_phase_opens_it_and_a_later_run_trains_anew(
    cohorts, tmp_path, whole, monkeypatch
):
    with pytest.MonkeyPatch.context() as patch:
        for module in (phases, scoring):
            patch.setattr(module, "open_test", lambda cohort: pytest.fail("the test split was opened"))
        record, folder = run(cohorts, tmp_path, test=False)
    assert record.phases == []
    assert not list(folder.rglob("*.test.parquet"))
    rounds: list[int] = []
    record, folder = run(
        cohorts, tmp_path, listener=lambda e: rounds.append(e.round) if isinstance(e, RoundEnded) else silent(e)
    )
    assert rounds == [0, 1, 2, 3], "what the phases were is not in the checkpoint of the end"
    assert contents(folder) == contents(whole[1])


@pytest.mark.slow
def test_a_run_goes_on_in_another_folder_with_the_phases_that_are_over(cohorts, tmp_path, whole):
    def stop(event: Any) -> None:
        if isinstance(event, RoundEnded) and event.round == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(cohorts, tmp_path / "here", listener=stop)
    list(merge([RecordStore(tmp_path / "here")], RecordStore(tmp_path / "there"), checkpoints=True))
    _, folder = run(cohorts, tmp_path / "there")
    assert contents(folder) == contents(whole[1])


def test_nothing_is_chosen_by_phases_and_they_take_no_training_time(whole):
    record, _ = whole
    assert record.cost.seconds == pytest.approx(sum(one.seconds for one in record.history))


def test_phases_are_rescored_merged_and_compared_as_the_end_is(cohorts, tmp_path, whole):
    record, folder = whole
    again, problems = rescore(record, folder)
    assert (again.phases, problems) == (record.phases, [])
    list(merge([RecordStore(folder.parent)], RecordStore(tmp_path / "merged")))
    copied = tmp_path / "merged" / record.key
    assert contents(copied) == contents(folder)
    assert compared(record, folder, record, copied).state == "identical"
    assert differences(record, folder, record, copied) == ()
    assert spec_of(record).setting == record.setting, "the record says all that is needed to repeat it"
    lost = record.model_copy(update={"phases": record.phases[1:]})
    said = compared(record, folder, lost, folder).text
    assert "different for aggregated of ecg_abnormal on valid after phase 0" in said
    broken = record.model_copy(deep=True)
    broken.phases[0].metrics["auroc"].value = 0.123
    (one,) = differences(record, folder, broken, copied)
    assert one.field == f"phases.aggregated.{broken.phases[0].task}.valid.0.metrics.auroc.value"
    (copied / record.phases[0].predictions).unlink()
    assert compared(record, copied, record, folder).state == "identical", "digests agree"
    _, problems = rescore(record, copied)
    assert "the predictions are missing" in problems[0]


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["ditto_m", "fedper_m", pytest.param("perfedavg_m", marks=pytest.mark.slow)])
def test_clients_own_models_are_scored_on_tasks_that_are_over_or_to_come(cohorts, tmp_path, algorithm):
    record, folder = run(cohorts, tmp_path, specified(algorithm, rehearsal=0.0))
    assert record.status == "ok", record.error
    own = {(e.phase, e.task): stored(e, folder) for e in record.phases if (e.view, e.split) == ("personal", "valid")}
    assert own.keys() == {(phase, task) for phase in (0, 1, 2) for task in (ECG, LUNG)}
    assert all(said.per_client and said.models.shape[0] == 2 for said in own.values())
    assert np.ptp(own[0, LUNG].models, axis=0).max() < 1e-6 < np.ptp(own[1, LUNG].models, axis=0).max()
    assert np.array_equal(own[1, LUNG].models, own[2, LUNG].models), "kept through the phase of the other modality"
