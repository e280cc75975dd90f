from __future__ import annotations

import json

import pandas as pd
import pytest

from fedmeki_bench.builtin.data_prep.slake import Slake, SlakeOptions
from fedmeki_bench.builtin.data_prep.slake.synthetic import write
from fedmeki_bench.builtin.tasks.medvqa_slake import MedVqaSlake
from fedmeki_bench.data.prepare.prepare import prepare
from fedmeki_bench.errors import InputError


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
    assert card["excluded"]["the question is in another language (zh)"] == 96
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


def test_wrong_folder(slake, tmp_path):
    (slake / "test.json").write_text("[{}, ")
    with pytest.raises(InputError, match=r"test\.json, line 1: is no valid JSON"):
        run(slake, tmp_path / "out")
    (slake / "test.json").unlink()
    with pytest.raises(InputError, match=r"lacks 'test\.json'"):
        run(slake, tmp_path / "out")
