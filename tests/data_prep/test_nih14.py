from __future__ import annotations

import random
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

import fedmeki_bench as fb
from fedmeki_bench.builtin.data_prep.nih14 import Nih14, Nih14Options
from fedmeki_bench.builtin.data_prep.nih14.layout import FINDINGS, TABLES
from fedmeki_bench.builtin.data_prep.nih14.synthetic import DRAWN, MENTIONED, cases, write
from fedmeki_bench.builtin.tasks.chest_findings import ChestFindings
from fedmeki_bench.data.contract import Dropped
from fedmeki_bench.data.prepare.prepare import prepare
from fedmeki_bench.errors import InputError
from fedmeki_bench.evaluation.predictions import read_predictions
from tests.data_prep.test_damaged_files import damaged

NEW, OLD = TABLES


def run(raw, out, **options):
    return prepare(Nih14(), raw, out, [ChestFindings()], Nih14Options(image_size=16, **options), workers=1)[0]


@pytest.fixture(scope="module")
def _release(tmp_path_factory):
    folder = tmp_path_factory.mktemp("raw") / "nih14"
    write(folder, size=60, seed=0, side=32)
    return folder


@pytest.fixture
def nih(_release, tmp_path) -> Path:
    return Path(shutil.copytree(_release, tmp_path / "nih14"))


def edit(raw: Path, change, name: str = NEW) -> None:
    """Rewrite the table: ``change`` gets and returns its lines."""
    lines = (raw / name).read_text().splitlines()
    (raw / name).write_text("\n".join(change(lines)) + "\n")


def test_findings_are_counted_as_pandas_counts_them(nih, tmp_path):
    cohort = run(nih, tmp_path / "out")
    labels = pd.read_csv(nih / NEW)["Finding Labels"].str.get_dummies("|")
    names = [name.lower().replace("_", " ") for name in FINDINGS]
    told = {name: sum(part["classes"][name] for part in cohort.card["splits"].values()) for name in names}
    wanted = {n: int(labels[c].sum()) if c in labels else 0 for n, c in zip(names, FINDINGS, strict=True)}
    assert told == wanted
    assert sum(told.values()) > 60
    table = pd.read_parquet(cohort.path / "samples.parquet")
    assert (table["answer"] == "none").sum() == labels["No Finding"].sum() > 0
    assert cohort.card["groups"] == pd.read_csv(nih / NEW)["Patient ID"].nunique() < 60
    assert cohort.card["audit"]["groups_shared_between_splits"] == 0
    assert cohort.card["kind"] == "multilabel"
    assert set(cohort.card["sites"]) == {"AP", "PA"}
    assert run(nih, tmp_path / "out").unchanged


def test_the_official_division_is_told_and_audited(nih, tmp_path):
    cohort = run(nih, tmp_path / "out")
    official = cohort.card["official_split"]
    assert official["published"]["groups_shared_between_splits"] == 0
    assert set(official["published"]["samples"]) == {"train", "test"}
    lists = {
        part: (nih / f"{name}_list.txt").read_text().split()
        for part, name in (("train", "train_val"), ("test", "test"))
    }
    table = pd.read_parquet(cohort.path / "samples.parquet")
    for part, images in lists.items():
        assert set(table.loc[table["official_split"] == part, "sample_id"] + ".png") == set(images)
    (nih / "test_list.txt").unlink()
    card = run(nih, tmp_path / "out").card
    assert f"{len(lists['test'])} images are in none of the lists train_val_list.txt and test_list.txt" in card["notes"]
    (nih / "train_val_list.txt").unlink()
    assert "official_split" not in run(nih, tmp_path / "out").card
    (nih / "train_val_list.txt").write_text(lists["train"][0])
    (nih / "test_list.txt").write_text(lists["train"][0])
    with pytest.raises(InputError, match=r"test_list\.txt: '.*\.png' is in the list of the other part, too"):
        run(nih, tmp_path / "out")


def test_the_older_table_and_one_folder_of_pictures(nih, tmp_path):
    """Ages like 058Y, another name of the sex, a comma at the end of each line; the same cohort but for ages."""
    before = pd.read_parquet(run(nih, tmp_path / "new").path / "samples.parquet")
    lines = [line.split(",") for line in (nih / NEW).read_text().splitlines()]
    header, *rows = lines
    header[5] = "Patient Gender"
    for row in rows:
        row[4] = f"{int(row[4]):03d}Y"
    rows[0][4], rows[1][4], rows[2][4], rows[3][4] = "412Y", "006M", "", "old"
    (nih / OLD).write_text("".join(",".join([*row, ""]) + "\n" for row in (header, *rows)))
    (nih / NEW).unlink()
    folder = nih / "images"
    folder.mkdir()
    for path in sorted(nih.glob("images_*/images/*.png")):
        path.rename(folder / path.name)
    for path in nih.glob("images_*"):
        shutil.rmtree(path)
    cohort = run(nih, tmp_path / "old")
    after = pd.read_parquet(cohort.path / "samples.parquet")
    assert after["age"].tolist()[:4] == pytest.approx([np.nan, 0.5, np.nan, np.nan], nan_ok=True)
    assert "1 ages above 110 years are left blank" in cohort.card["notes"]
    same = [name for name in before.columns if name not in ("age", "source")]
    pd.testing.assert_frame_equal(before[same], after[same])
    assert after["age"].tolist()[4:] == before["age"].tolist()[4:]
    assert set(after["sex"]) == {"male", "female"}


def test_bad_rows_are_counted_by_reason(nih, tmp_path):
    def change(lines):
        header, *rows = lines
        cells = [row.split(",") for row in rows[:9]]
        cells[0][1] = "Mass|Scoliosis"
        cells[1][1] = "No Finding|Mass"
        cells[2][1] = ""
        cells[3][0] = "../00000001_000.png"
        cells[4][0] = "99999999_000.png"
        cells[5][3] = ""
        cells[6][0] = "other/00000001_000.png"
        cells[7][0] = cells[8][0]
        return [header, *(",".join(row) for row in cells), *rows[9:]]

    edit(nih, change)
    card = run(nih, tmp_path / "out").card
    assert {reason: facts["n"] for reason, facts in card["dropped"].items()} == {
        "a finding is none of the fourteen": 1,
        "a finding beside 'No Finding'": 1,
        "the findings are not told": 1,
        "the file name points outside the dataset's folder": 1,
        "the image file is missing": 1,
        "the patient is not told": 1,
        "the file name names a folder, too": 1,
        "the image occurs a second time": 1,
    }
    assert card["rows"] == {"read": 60, "merged": 0, "kept": 52, "dropped": 8, "excluded": 0}


def test_pictures_with_transparency_are_grey(nih, tmp_path):
    from PIL import Image

    path = sorted(nih.glob("images_*/images/*.png"))[0]
    source = path.relative_to(nih).as_posix()
    plain = Nih14().decode(nih, source, Nih14Options(image_size=32)).arrays["image"]
    Image.open(path).convert("RGBA").save(path)
    found = Nih14().decode(nih, source, Nih14Options(image_size=32)).arrays["image"]
    assert np.array_equal(found, plain)
    rng = random.Random(0)
    whole = path.read_bytes()
    for _ in range(40):
        path.write_bytes(damaged(whole, rng))
        try:
            found = Nih14().decode(nih, source, Nih14Options(image_size=16))
        except Dropped:
            continue
        assert found.arrays["image"].shape == (1, 16, 16)


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (lambda raw: (raw / NEW).unlink(), r"lacks 'Data_Entry_2017_v2020\.csv'; dataset 'nih14' expects"),
        (lambda raw: [shutil.rmtree(path) for path in raw.glob("images_*")], "lacks 'images'; dataset 'nih14' expects"),
        (lambda raw: edit(raw, lambda lines: [lines[0].replace("Patient ID", "Patient"), *lines[1:]]),
         "lacks the column 'Patient ID'"),
        (lambda raw: (raw / "test_list.txt").write_bytes(b"\xff\xfe\x00"), r"test_list\.txt cannot be read"),
    ],
)  # fmt: skip
def test_wrong_folders(nih, tmp_path, break_it, says):
    break_it(nih)
    with pytest.raises(InputError, match=says):
        run(nih, tmp_path / "out")


def test_labels_of_the_stand_in_follow_from_its_signs_as_told():
    found = list(cases(6000, 1))
    for name, signs in DRAWN.items():
        there = np.array([bool(case.signs & set(signs)) for case in found])
        named = np.array([name in case.findings for case in found])
        assert not named[~there].any()
        assert named[there].mean() == pytest.approx(MENTIONED, abs=0.02)
    for name in set(FINDINGS) - set(DRAWN):
        named = np.array([name in case.findings for case in found])
        for sign in ("patch", "haze", "level", "wide"):
            seen = np.array([sign in case.signs for case in found])
            assert named[seen].mean() == pytest.approx(named[~seen].mean(), abs=0.02)


@pytest.mark.slow
def test_the_drawn_findings_are_learnt_and_a_constant_knows_nothing(tmp_path):
    Nih14().synthesize(tmp_path / "nih14", size=800, seed=0)
    prepare(Nih14(), tmp_path / "nih14", tmp_path / "data", [ChestFindings()], Nih14Options(image_size=64))
    found = {}
    for name in ("fedavg_s", "majority"):
        (record,) = fb.run(name, tmp_path / "data", results=tmp_path / "results")
        (evaluation,) = record.evaluations
        (file,) = (tmp_path / "results").glob(f"*/{evaluation.predictions}")
        predictions = read_predictions(file, evaluation.digest)
        columns = [FINDINGS.index(finding) for finding in DRAWN]
        labels, scores = np.asarray(predictions.label), np.asarray(predictions.models)[0]
        found[name] = np.mean([roc_auc_score(labels[:, k], scores[:, k]) for k in columns])
        shutil.rmtree(tmp_path / "results")
    assert found["fedavg_s"] >= 0.8
    assert found["majority"] == 0.5
