"""Tasks whose answers are texts, trained on: clients learn which concepts an answer names, the server the answers."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from fedmeki_bench.algorithms import resolve
from fedmeki_bench.builtin.data_prep.slake import Slake
from fedmeki_bench.builtin.data_prep.vqa_rad import VqaRad
from fedmeki_bench.builtin.tasks.medvqa import MedVqa
from fedmeki_bench.builtin.tasks.medvqa_trained import MedVqaSlakeTrained, MedVqaTrained
from fedmeki_bench.conformance import tasks as conformance
from fedmeki_bench.conformance.clause import Violation
from fedmeki_bench.conformance.subject import Subject
from fedmeki_bench.data.clients.assignment import Assignment
from fedmeki_bench.data.cohort import find
from fedmeki_bench.data.prepare.prepare import prepare
from fedmeki_bench.errors import InputError, TasksFailed
from fedmeki_bench.records.store import RecordStore
from fedmeki_bench.runs.assemble import assemble
from fedmeki_bench.runs.execute import execute
from fedmeki_bench.runs.resolved import resolve as resolve_plugins
from fedmeki_bench.runs.spec import specify
from fedmeki_bench.workflow import data as workflow

NAME = MedVqaSlakeTrained.meta.name


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    Slake().synthesize(folder / "raw", size=800, seed=0)
    options = Slake.Options(image_size=64)
    prepare(Slake(), folder / "raw", folder / "data", [MedVqaSlakeTrained()], options, workers=1)
    return folder / "data"


def test_concepts_are_stored_and_counted(data):
    cohort = find(data, NAME)
    samples = cohort.samples()
    names = MedVqaSlakeTrained.meta.concepts
    for split, facts in cohort.card["splits"].items():
        mine = samples[samples["split"] == split]
        expected = dict.fromkeys(names, 0)
        for site, place in zip(mine["site"], mine["location"], strict=True):
            shown = {"X-Ray": "x-ray"}.get(site, site)
            expected[shown] += 1
            for organ, words in (("abdomen", ["abdomen"]), ("chest", ["lung", "chest"])):
                expected[organ] += any(word in place.lower() for word in words)
        assert facts["concepts"] == expected
    part = cohort.part("client")
    assert part.labels is None
    assert part.targets.shape == (len(part), len(names))
    assert dict(zip(names, part.learnt.sum(axis=0), strict=True)) == cohort.card["splits"]["client"]["concepts"]
    with pytest.raises(InputError, match="holds answers in words, not labels"):
        part.gold  # noqa: B018


@pytest.fixture(scope="module")
def record(data, tmp_path_factory):
    (spec,) = specify(resolve("fedavg_m"), [NAME], options={"rounds": 4})
    return execute(spec, data, RecordStore(tmp_path_factory.mktemp("results")))


def test_clients_learn_the_concepts_and_the_record_says_so(record):
    assert record.status == "ok"
    assert record.cohorts[0].concepts == list(MedVqaSlakeTrained.meta.concepts)
    curve = [row.valid[NAME] for row in record.history]
    assert curve[-1] > 0.9 > 0.5  # AUROC (macro) over concepts; 0.5 is chance
    (evaluation,) = record.evaluations
    assert (evaluation.n, evaluation.metrics) == (0, {})
    assert "answers are the foundation model's" in evaluation.note


def test_a_task_with_neither_labels_nor_concepts_is_refused(data):
    class Bare(MedVqaSlakeTrained):
        meta = replace(MedVqaSlakeTrained.meta, concepts=())

    with pytest.raises(Violation, match="without either they would contribute nothing"):
        conformance._meta(Subject("tasks", "bare", Bare))
    (spec,) = specify(resolve("fedavg_m"), [NAME])
    cohort = find(data, NAME)
    cohort.learnt = None
    with pytest.raises(InputError, match="can't train on task 'medvqa_slake_trained': its answers are texts"):
        assemble(spec, resolve_plugins(spec), {NAME: cohort}, Assignment([], ""))


def test_a_concept_that_the_meta_does_not_name_is_an_error(tmp_path):
    class Stray(MedVqaSlakeTrained):
        def concepts(self, row):
            return {"ultrasound"}

    Slake().synthesize(tmp_path / "raw", size=60, seed=0)
    with pytest.raises(TasksFailed) as caught:
        prepare(Slake(), tmp_path / "raw", tmp_path / "data", [Stray()], Slake.Options(image_size=32), workers=1)
    assert "names 'ultrasound', which is none of its meta.concepts" in str(caught.value)
    assert not (tmp_path / "data" / NAME).exists()


def test_a_real_release_is_not_called_synthetic(tmp_path):
    Slake().synthesize(tmp_path / "raw", size=60, seed=0)
    (tmp_path / "raw" / "SYNTHETIC.json").unlink()
    options = Slake.Options(image_size=32)
    (done,) = prepare(Slake(), tmp_path / "raw", tmp_path / "data", [MedVqaSlakeTrained()], options, workers=1)
    assert not done.card["synthetic"]
    assert done.card["synthetic_source"] is None


def test_concepts_belong_to_texts():
    with pytest.raises(ValueError, match="names concepts, and its clients train on labels"):
        replace(MedVqaSlakeTrained.meta, kind="binary", metrics=("auroc",))


def test_no_zero_shot_question_is_about_a_picture_that_training_sees(tmp_path):
    VqaRad().synthesize(tmp_path / "raw", size=200, seed=0)
    alone = workflow.prepare("vqa_rad", tmp_path / "raw", tmp_path / "alone", options={"image_size": 32}, workers=1)
    assert [cohort.name for cohort in alone] == ["medvqa"]  # as it always was, all pictures
    options = {"image_size": 32, "trained": True}
    both = {
        c.name: c for c in workflow.prepare("vqa_rad", tmp_path / "raw", tmp_path / "both", options=options, workers=1)
    }
    assert set(both) == {"medvqa", "medvqa_trained"}
    trained, asked = (pd.read_parquet(both[n].path / "samples.parquet") for n in ("medvqa_trained", "medvqa"))
    seen = set(trained.loc[trained["split"] != "test", "group_id"])
    assert seen
    assert not seen & set(asked["group_id"])
    assert both["medvqa"].card["registry"] == "vqa_rad"
    assert len(asked) < alone[0].card["rows"]["kept"]
    assert MedVqaTrained.meta.needs == "trained"
    assert MedVqa.meta.needs == ""
