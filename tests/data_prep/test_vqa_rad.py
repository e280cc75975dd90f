from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from fedmeki_bench.builtin.data_prep.vqa_rad import VqaRad, VqaRadOptions
from fedmeki_bench.builtin.data_prep.vqa_rad.synthetic import write
from fedmeki_bench.builtin.tasks.medvqa import MedVqa
from fedmeki_bench.data.prepare.prepare import prepare
from fedmeki_bench.errors import InputError

REAL = Path(__file__).parents[2].parent / "shared" / "real"


def run(raw, out, **options):
    return prepare(VqaRad(), raw, out, [MedVqa()], VqaRadOptions(image_size=16, **options), workers=1)[0]


def samples(cohort) -> pd.DataFrame:
    return pd.read_parquet(cohort.path / "samples.parquet").set_index("sample_id")


@pytest.fixture
def vqa_rad(tmp_path):
    write(tmp_path / "vqa_rad", size=60, seed=0, side=32)
    return tmp_path / "vqa_rad"


def test_the_real_questions(tmp_path):
    raw = REAL / "vqa_rad"
    if not raw.is_dir():
        pytest.skip("the real VQA-RAD is not beside this checkout")
    cohort = run(raw, tmp_path)
    card, table = cohort.card, samples(cohort)
    assert card["rows"] == {"read": 3515, "merged": 0, "kept": 3515, "dropped": 0, "excluded": 0}
    assert card["groups"] == 314
    assert "10 answers are numbers and are read as text" in card["notes"]
    assert "476 pairs of image and question occur more than once" in card["notes"]
    assert table["answer_type"].value_counts().to_dict() == {"closed": 2095, "open": 1420}
    assert card["official_split"]["patient"]["groups_shared_between_splits"] == 0
    assert "dealt by image, 0 images would be shared between splits" in card["notes"]
    official = card["official_split"]["published"]
    assert official["samples"] == {"test": 451, "train": 3064}
    assert official["share_of_test_groups_in_train"] == 1.0
    notes = run(raw, tmp_path, split="published").card["notes"]
    assert any("203 of 203 test images (100%) are in the training part" in note for note in notes)


def test_answers_are_text(vqa_rad, tmp_path):
    rows = json.loads((vqa_rad / "trainset.json").read_text())
    rows[0] |= {"answer": 12, "answer_type": "CLOSED "}
    rows[1] |= {"answer": "  Yes ", "answer_type": None}
    rows[2] |= {"answer": 2.5, "question": 7}
    del rows[3]["question_type"], rows[3]["phrase_type"], rows[3]["image_organ"], rows[3]["qid"]
    (vqa_rad / "trainset.json").write_text(json.dumps(rows))
    cohort = run(vqa_rad, tmp_path / "out")
    table = samples(cohort)
    answers = [table["answer"][str(rows[k]["qid"])] for k in range(3)]
    assert answers == ["12", "Yes", "2.5"]
    assert [table["answer_type"][str(rows[k]["qid"])] for k in range(2)] == ["closed", ""]
    assert table["site"]["train-4"] == ""
    assert cohort.card["rows"]["kept"] == 60
    assert run(vqa_rad, tmp_path / "out").unchanged


def test_the_original_shape_gives_the_same_questions(vqa_rad, tmp_path):
    before = samples(run(vqa_rad, tmp_path / "one"))
    items = []
    for part in ("train", "test"):
        path = vqa_rad / f"{part}set.json"
        for row in json.loads(path.read_text()):
            mark = "test_" if part == "test" else ""
            row |= {"qid": str(row["qid"]), "phrase_type": mark + row["phrase_type"], "image_case_url": "x"}
            row |= {"QID_linked_id": "1", "question_rephrase": "NULL", "evaluation": "evaluated"}
            items.append(row)
        path.unlink()
    (vqa_rad / "VQA_RAD Dataset Public.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(items).encode())
    (vqa_rad / "images").rename(vqa_rad / "VQA_RAD Image Folder")
    cohort = run(vqa_rad, tmp_path / "two")
    columns = ["answer", "question", "official_split", "group_id"]
    assert samples(cohort)[columns].sort_index().equals(before[columns].sort_index())
    assert cohort.card["release"] == "synthetic stand-in"


def test_bad_items_are_counted(vqa_rad, tmp_path):
    rows = json.loads((vqa_rad / "trainset.json").read_text())
    image = rows[0]["image_name"]
    bad = [
        "text", None, {"qid": 900}, {"qid": 901, "image_name": "../x.jpg", "question": "?", "answer": "a"},
        {"qid": 902, "image_name": image, "question": "?", "answer": " "},
        {"qid": 903, "image_name": image, "question": "?", "answer": ["a"]},
        {"qid": 904, "image_name": "absent.jpg", "question": "?", "answer": "a"},
        {"qid": rows[0]["qid"], "image_name": image, "question": "?", "answer": "a"},
    ]  # fmt: skip
    (vqa_rad / "trainset.json").write_text(json.dumps(rows + bad))
    card = run(vqa_rad, tmp_path / "out").card
    assert {reason: facts["n"] for reason, facts in card["dropped"].items()} == {
        "the item is not an object with named fields": 2,
        "the field 'image_name' is blank or missing": 1,
        "the file name points outside the dataset's folder": 1,
        "the field 'answer' is blank or missing": 1,
        "the field 'answer' is neither text nor a number": 1,
        "the image file is missing": 1,
        "the id of the question occurs a second time": 1,
    }
    assert card["rows"]["kept"] == 60


def test_wrong_folders(vqa_rad, tmp_path):
    (vqa_rad / "trainset.json").write_text('{"a": 1}')
    with pytest.raises(InputError, match="holds no list"):
        run(vqa_rad, tmp_path / "out")
    shutil.rmtree(vqa_rad / "images")
    with pytest.raises(InputError, match="lacks the folder 'images'"):
        run(vqa_rad, tmp_path / "out")
    with pytest.raises(InputError, match="lacks the folder 'images'"):
        run(tmp_path, tmp_path / "out")
