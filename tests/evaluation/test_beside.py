"""Scores beside the board's: a held-out site, other wordings, arrays of other patients and none."""

import json

import numpy as np
import pytest

import fedmeki_bench as fb
from fedmeki_bench.builtin.tasks.ecg_abnormal import EcgAbnormal
from fedmeki_bench.data.cohort import Cohort
from fedmeki_bench.errors import InputError
from fedmeki_bench.evaluation.beside import variants_of
from fedmeki_bench.evaluation.rearranged import Swapped
from fedmeki_bench.evaluation.rescoring import rescore, stored
from fedmeki_bench.records.record import Record
from fedmeki_bench.runs.folders import look

BOARD = {
    "name": "sites", "profile": "demo", "seeds": [0], "tasks": ["ecg_abnormal"], "analysis": ["stability"],
    "algorithms": ["majority", "central", "fedavg_m"], "options": {"rounds": 1},
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A board over a cohort with a held-out site, its records and its study."""
    root = tmp_path_factory.mktemp("beside")
    fb.synth("ptbxl", root / "raw" / "ptbxl", size=240)
    fb.prepare("ptbxl", root / "raw" / "ptbxl", root / "data", options={"hold_out": "1"})
    fb.sweep(BOARD, root / "data", results=root / "results", jobs=1)
    return root, fb.stability(BOARD, root / "results")


def part_of(root, split="valid"):
    return Cohort.open(root / "data" / "ecg_abnormal").part(split)


def test_every_view_is_scored_on_the_site_beside_the_test_split(made):
    """With predictions and digests of their own; main metrics, and what they depend on, are those of the test split."""
    root, _ = made
    for folder in (root / "results").glob("*/record.json"):
        record = Record.from_json(folder.read_text())
        (there,) = record.beside
        assert there.split == "external"
        assert there.predictions == f"predictions/{there.view}.ecg_abnormal.external.parquet"
        said = stored(there, folder.parent)
        assert set(said.site) >= {"1"}
        assert not set(said.group_id) & set(stored(record.evaluations[0], folder.parent).group_id)
        assert record.evaluations[0].split == "test"
        assert look(folder.parent).strange == ()
        assert "variant" not in json.loads(folder.read_text())["beside"][0]
        again, problems = rescore(record, folder.parent)
        assert not problems
        assert again.beside[0].metrics == there.metrics


def test_the_study_sets_the_site_against_the_test_split(made):
    """Difference with an interval, whether the order survives, and what the rows take."""
    _, study = made
    tables = {table.key: table for table in study.tables}
    found = {row.name: row.entries for row in tables["predictability"].rows}
    inside, outside, apart = found["FedAvg_m"]
    assert apart.value == pytest.approx(outside.value - inside.value)
    assert bool(apart.interval) == bool(inside.interval and outside.interval)
    assert found["Majority"][2].value == 0
    assert "no two competitors" in tables["predictability"].notes[0]
    assert {row.name for row in tables["computability"].rows} == {"Central", "FedAvg_m"}


def test_swapped_samples_have_somebody_elses_arrays(made):
    """Every one of them, with its own question and label; unswapped, they would be their own (the control)."""
    part = part_of(made[0], "client")
    swapped = Swapped(part, np.random.default_rng(0))
    index = np.arange(len(part))
    mine, theirs = part.batch(index)["signal"], swapped.batch(index)["signal"]
    for i in index:
        owners = part.group_ids[[np.array_equal(theirs[i], other) for other in mine]]
        assert len(owners)
        assert part.group_ids[i] not in owners
    assert (swapped.labels == part.labels).all()
    assert (swapped.questions == part.questions).all()


def test_variants_put_the_same_question_otherwise(made):
    """Every other wording, the bare question, others' arrays and none."""
    part, task = part_of(made[0]), EcgAbnormal()
    found = dict(variants_of(task.worded(1), part, seed=0))
    assert list(found) == ["wording-0", "wording-2", "bare", "swapped", "blank"]
    question = task.meta.asks or task.meta.clinical.what
    assert found["bare"][0].ask(question) == question
    assert found["wording-0"][0].ask(question) == task.prompt(question)
    assert found["wording-2"][0].ask(question) not in (task.prompt(question), found["swapped"][0].ask(question))
    assert task.wording == 0
    with pytest.raises(InputError, match="has wordings 0 to 2, not 3"):
        task.worded(3)


@pytest.mark.slow
def test_an_injected_model_is_asked_in_every_variant(made, tmp_path):
    """Blank arrays leave all answers alike; a model trained in another wording is another run, asked in that one."""
    root, _ = made
    keys = set()
    for wording in (0, 1):
        options = {"rounds": 2, "stage.variants": True, "stage.wording": wording}
        (record,) = fb.run(
            "fedavg_m_kim", tasks=["ecg_abnormal"], data=root / "data", results=tmp_path, options=options
        )
        keys.add(record.key)
        variants = {e.variant: e for e in record.beside if e.variant}
        others = {f"wording-{k}" for k in (0, 1, 2) if k != wording}
        assert set(variants) == {*others, "bare", "swapped", "blank"}
        assert {e.view for e in variants.values()} == {"foundation"}
        blank = stored(variants["blank"], tmp_path / record.key)
        assert len(set(blank.answer)) == 1
        assert np.ptp(blank.score) < 1e-6
        seen = stored(next(e for e in record.evaluations if e.view == "foundation"), tmp_path / record.key)
        assert np.ptp(seen.score) > 1e-4
    assert len(keys) == 2
