"""The paired task: a model that reads all modalities learns what none of them shows alone."""

from __future__ import annotations

import pytest

from fedmeki_bench.algorithms import resolve
from fedmeki_bench.builtin.data_prep.mimic_cxr import MimicCxr, MimicCxrOptions
from fedmeki_bench.builtin.tasks.study_findings import StudyFindings
from fedmeki_bench.data.cohort import find
from fedmeki_bench.data.prepare.prepare import prepare
from fedmeki_bench.evaluation.class_metrics import AUROC_MACRO
from fedmeki_bench.models.client_model import ClientModel
from fedmeki_bench.models.inputs import inputs_of
from fedmeki_bench.models.scoring import scores
from fedmeki_bench.models.training import schedule, train
from fedmeki_bench.profiles import profile
from fedmeki_bench.records.store import RecordStore
from fedmeki_bench.runs.execute import execute
from fedmeki_bench.runs.kept import open_kept
from fedmeki_bench.runs.spec import specify

TASK = StudyFindings.meta.name
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    folder = tmp_path_factory.mktemp("paired")
    MimicCxr().synthesize(folder / "raw", size=800, seed=0)
    prepare(MimicCxr(), folder / "raw", folder / "data", [StudyFindings()], MimicCxrOptions(image_size=64), workers=1)
    return find(folder / "data", TASK)


def first_picture_only(part):
    plain = part.batch

    def batch(index):
        found = plain(index)
        found["image_there"][:, 1] = False
        return found

    part.batch = batch
    return part


def learnt(cohort, change):
    """Macro AUROC on ``valid`` of a model that trains and answers on what ``change`` leaves."""
    settings = profile("demo")
    model = ClientModel(
        {TASK: StudyFindings.meta.modalities}, inputs_of([cohort], settings),
        {m: (choice.name, choice.params) for m, choice in settings.encoders.items()}, hidden={}, seed=0,
        labels={TASK: cohort.labels}, optional={TASK: cohort.optional},
    )  # fmt: skip
    private, valid = change(cohort.part("client")), change(cohort.part("valid"))
    steps = schedule({TASK: private}, epochs=24, batch_size=16, seed=0, stream=("x",))
    train(model, {TASK: private}, steps, settings, seed=0, stream=("x",), where="here")
    return float(AUROC_MACRO(valid.gold, scores(model, TASK, valid)))


def test_every_modality_adds_something(cohort):
    everything = learnt(cohort, lambda part: part)
    assert everything > 0.85
    assert learnt(cohort, lambda part: part.hiding(["labs"])) < everything - 0.03
    assert learnt(cohort, lambda part: part.hiding(["image"])) < everything - 0.2
    assert learnt(cohort, first_picture_only) < everything - 0.03


def test_a_kept_model_answers_as_the_run_did_and_needs_no_cohort(tmp_path):
    """From the raw layout to a record with a hospital that has no pictures, and the kept model opened again."""
    MimicCxr().synthesize(tmp_path / "raw", size=160, seed=1)
    options = MimicCxrOptions(image_size=64)
    prepare(MimicCxr(), tmp_path / "raw", tmp_path / "data", [StudyFindings()], options, workers=1)
    given = {"rounds": 1, "availability.holds": {"image": [0, 1]}}
    (spec,) = specify(resolve("fedavg_m"), [TASK], clients=3, options=given)
    store = RecordStore(tmp_path / "results")
    record = execute(spec, tmp_path / "data", store, keep_model=True)
    assert record.status == "ok", record.error
    cohort = find(tmp_path / "data", TASK)
    valid = cohort.part("valid")
    kept = open_kept(tmp_path / "results" / record.key)
    found = kept.scores(TASK, valid)
    assert found.shape == (len(valid), 5)
    assert float(AUROC_MACRO(valid.gold, found)) == pytest.approx(record.history[-1].valid[TASK], abs=1e-6)
    held = [row["n"] for row in record.assignment.counts[TASK]]
    assert held[2] < held[0] * 1.2  # studies of which it has nothing left are not its
