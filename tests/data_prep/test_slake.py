from __future__ import annotations

import json

import pandas as pd
import pytest

import fedmeki_bench as fb
from fedmeki_bench.builtin.data_prep.slake import Slake, SlakeOptions
from fedmeki_bench.builtin.data_prep.slake.synthetic import write
from fedmeki_bench.builtin.tasks.medvqa_slake import MedVqaSlake
from fedmeki_bench.builtin.tasks.modality_slake import ModalitySlake
from fedmeki_bench.data.prepare.prepare import prepare
from fedmeki_bench.errors import InputError, TasksFailed


def run(raw, out, **options):
    return prepare(Slake(), raw, out, [MedVqaSlake()], SlakeOptions(image_size=16, **options), workers=1)[0]


@pytest.fixture
def slake(tmp_path):
    write(tmp_path / "slake", size=240, seed=0, side=32)
    return tmp_path / "slake"


def items(raw, name="test.json"):
    return json.loads((raw / name).read_text())


def test_english_test_rows_by_default(slake, tmp_path):
    cohort = run(slake, tmp_path / "out")
    card = cohort.card
    table = pd.read_parquet(cohort.path / "samples.parquet")
    english = [row for row in items(slake) if row["q_lang"] == "en"]
    assert table["answer"].tolist() == [row["answer"] for row in english]
    assert set(table["language"]) == {"en"}
    assert set(table["official_split"]) == {"test"}
    assert card["rows"]["read"] == 240 == card["rows"]["kept"] + card["rows"]["excluded"]
    parts = {
        f"the question is of the official {part} part (rows=test)": sum(
            row["q_lang"] == "en" for row in items(slake, name)
        )
        for part, name in (("train", "train.json"), ("valid", "validate.json"))
    }
    assert card["excluded"] == {"the question is in another language (zh)": 96} | parts
    assert card["official_split"]["published"]["groups_shared_between_splits"] == 0
    assert set(card["sites"]) <= {"CT", "MRI", "X-Ray"}
    assert run(slake, tmp_path / "out").unchanged


def test_both_languages_share_images(slake, tmp_path):
    card = run(slake, tmp_path / "out", language="all", rows="all", split="published").card
    assert card["rows"]["kept"] == 240
    assert card["official_split"]["published"]["test_groups_in_train"] > 0
    assert card["official_split"]["patient"]["groups_shared_between_splits"] == 0
    assert any("test images (" in note for note in card["notes"])
    assert run(slake, tmp_path / "out", language="zh", rows="all").card["rows"]["kept"] == 96


def test_the_other_name_of_the_validation_file(slake, tmp_path):
    before = run(slake, tmp_path / "out", rows="all").card["rows"]
    (slake / "validate.json").rename(slake / "validation.json")
    assert run(slake, tmp_path / "out", rows="all").card["rows"] == before
    (slake / "validate.json").write_text("[]")
    with pytest.raises(InputError, match=r"both validate\.json and validation\.json"):
        run(slake, tmp_path / "out")


def test_bad_items_are_counted(slake, tmp_path):
    rows = items(slake)
    kept = run(slake, tmp_path / "out").card["rows"]["kept"]
    good = next(row for row in rows if row["q_lang"] == "en")
    rows += [good | {"qid": 9000 + k} | change for k, change in enumerate((
        {"answer": ""}, {"answer": 5}, {"q_lang": "fr"}, {"img_name": "/etc/passwd"},
        {"img_name": "xmlab999/source.jpg"},
    ))]  # fmt: skip
    (slake / "test.json").write_text(json.dumps(rows))
    card = run(slake, tmp_path / "out").card
    assert {reason: facts["n"] for reason, facts in card["dropped"].items()} == {
        "the field 'answer' is blank or missing": 1,
        "q_lang is neither en nor zh": 1,
        "the file name points outside the dataset's folder": 1,
        "the image file is missing": 1,
    }
    assert card["rows"]["kept"] == kept + 1


def modality(raw, out, **options):
    return prepare(Slake(), raw, out, [ModalitySlake()], SlakeOptions(image_size=16, **options), workers=1)[0]


def test_modality_has_one_sample_per_picture_that_the_zero_shot_task_does_not_ask_about(slake, tmp_path):
    cohort = modality(slake, tmp_path / "out")
    table = pd.read_parquet(cohort.path / "samples.parquet")
    rows = [row for name in ("train.json", "validate.json", "test.json") for row in items(slake, name)]
    english = pd.DataFrame([row for row in rows if row["q_lang"] == "en"])
    tested = {row["img_name"] for row in items(slake) if row["q_lang"] == "en"}
    wanted = english[~english["img_name"].isin(tested)].drop_duplicates("img_name")
    assert table["source"].tolist() == wanted["img_name"].tolist()
    names = {"X-Ray": "x-ray", "CT": "CT", "MRI": "MRI"}
    assert table["answer"].tolist() == [names[m] for m in wanted["modality"]]
    counted = {name: sum(s["classes"][name] for s in cohort.card["splits"].values()) for name in names.values()}
    assert counted == wanted["modality"].map(names).value_counts().to_dict()
    assert cohort.card["kind"] == "multiclass"
    assert not set(table["source"]) & set(
        pd.read_parquet(run(slake, tmp_path / "out").path / "samples.parquet")["source"]
    )
    # in both languages together fewer pictures are left, as each language is divided by itself
    both = pd.read_parquet(modality(slake, tmp_path / "both", language="all").path / "samples.parquet")
    tested = {row["img_name"] for row in items(slake)}
    assert set(both["source"]) == {row["img_name"] for row in rows} - tested
    assert modality(slake, tmp_path / "all", rows="all").card["rows"]["kept"] == len(table)


def test_an_unknown_modality_is_left_out_with_a_reason(slake, tmp_path):
    rows = items(slake, "train.json")
    before = modality(slake, tmp_path / "out").card["rows"]["kept"]
    picture = next(row["img_name"] for row in rows if row["q_lang"] == "en")
    (slake / "train.json").write_text(
        json.dumps([row | {"modality": "PET" if row["img_name"] == picture else row["modality"]} for row in rows])
    )
    card = modality(slake, tmp_path / "out").card
    assert card["rows"]["kept"] == before - 1
    assert card["excluded"]["the modality is 'PET', none of x-ray, CT, MRI"] == 1


def test_without_the_training_part_the_zero_shot_task_stands_alone(slake, tmp_path):
    for name in ("train.json", "validate.json"):
        (slake / name).unlink()
    with pytest.raises(TasksFailed, match=r"modality_slake: .* leaves no sample .*official test part") as error:
        prepare(Slake(), slake, tmp_path / "out", [MedVqaSlake(), ModalitySlake()], SlakeOptions(image_size=16))
    assert [cohort.name for cohort in error.value.prepared] == ["medvqa_slake"]


@pytest.mark.slow
def test_modality_is_learnt_and_a_constant_knows_nothing(tmp_path):
    write(tmp_path / "slake", size=4000, seed=0, side=64)
    prepare(Slake(), tmp_path / "slake", tmp_path / "data", [ModalitySlake()], SlakeOptions(image_size=64), workers=1)
    top1 = {}
    for name in ("fedavg_s", "majority"):
        (record,) = fb.run(name, tmp_path / "data", results=tmp_path / "results")
        top1[name] = record.evaluations[0].metrics["top1"].value
    assert top1["fedavg_s"] >= 0.9
    assert top1["majority"] <= 0.5


def test_wrong_folder(slake, tmp_path):
    (slake / "test.json").write_text("[{}, ")
    with pytest.raises(InputError, match=r"test\.json, line 1: is no valid JSON"):
        run(slake, tmp_path / "out")
    (slake / "test.json").unlink()
    with pytest.raises(InputError, match=r"lacks 'test\.json'"):
        run(slake, tmp_path / "out")
