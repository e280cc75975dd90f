from __future__ import annotations

import shutil

import pandas as pd
import pytest
from PIL import Image

from fedmeki_bench.builtin.data_prep.covqu import Covqu, CovquOptions
from fedmeki_bench.builtin.data_prep.covqu.synthetic import write
from fedmeki_bench.builtin.tasks.covid19 import Covid19
from fedmeki_bench.data.prepare.prepare import prepare
from fedmeki_bench.errors import InputError


def run(raw, out, **options):
    return prepare(Covqu(), raw, out, [Covid19()], CovquOptions(image_size=16, **options), workers=1)[0]


def samples(cohort) -> pd.DataFrame:
    return pd.read_parquet(cohort.path / "samples.parquet").set_index("sample_id")


@pytest.fixture
def covqu(tmp_path):
    write(tmp_path / "covqu", size=110, seed=0, side=40)
    return tmp_path / "covqu"


def test_label_table():
    assert Covid19().label({"class": "COVID"}) == 1
    assert Covid19().label({"class": "Normal"}) == 0
    assert "takes no part" in Covid19().label({"class": "Viral Pneumonia"}).reason


def test_stand_in(covqu, tmp_path):
    cohort = run(covqu, tmp_path / "out")
    card, table = cohort.card, samples(cohort)
    assert card["rows"] == {"read": 110, "merged": 0, "kept": 110, "dropped": 0, "excluded": 0}
    assert card["grouping"] == "image (pixel-identical images joined)"
    assert set(card["sites"]) == {"COVID", "Normal"}
    assert "source gives the class away" in card["shortcuts"][0]
    assert table["label"].sum() == sum(table.index.str.startswith("COVID/"))
    assert table.index[:10].tolist() == [f"COVID/COVID-{k}" for k in range(1, 11)]  # natural order
    assert card["audit"]["sets_of_identical_arrays"] == 3
    assert card["audit"]["identical_arrays_shared_between_splits"] == 0
    assert table["group_id"]["COVID/COVID-25"] == table["group_id"]["COVID/COVID-24"]
    assert card["groups"] == 107
    assert run(covqu, tmp_path / "out").unchanged


def test_masks_do_not_count_and_the_level_images_may_be_absent(covqu, tmp_path):
    before = samples(run(covqu, tmp_path / "one"))
    for name in ("COVID", "Normal"):
        shutil.rmtree(covqu / name / "masks")
        for path in (covqu / name / "images").iterdir():
            path.rename(covqu / name / path.name)
        (covqu / name / "images").rmdir()
    (covqu / "COVID" / "Thumbs.db").write_bytes(b"x")
    (covqu / "COVID" / "._COVID-1.png").write_bytes(b"x")
    (covqu / "COVID.metadata.xlsx").write_bytes(b"x")
    (covqu / "Normal").rename(covqu / "NORMAL")
    after = samples(run(covqu, tmp_path / "two"))
    assert after.drop(columns="source").equals(before.drop(columns="source"))


def test_bad_pictures_are_counted(covqu, tmp_path):
    images = covqu / "Normal" / "images"
    (images / "Normal-3.png").write_bytes((images / "Normal-3.png").read_bytes()[:300])
    (images / "Normal-4.png").write_bytes(b"no picture")
    Image.open(images / "Normal-5.png").save(images / "Normal-5.jpg")
    card = run(covqu, tmp_path / "out").card
    assert {reason: facts["n"] for reason, facts in card["dropped"].items()} == {
        "the picture is truncated or damaged": 1,
        "the file is no PNG or JPEG picture": 1,
        "a second file has the same name but for its ending": 1,
    }
    assert card["rows"]["read"] == card["rows"]["kept"] + 3


def test_wrong_folders(covqu, tmp_path):
    with pytest.raises(InputError, match="is not a folder"):
        run(tmp_path / "nowhere", tmp_path / "out")
    shutil.rmtree(covqu / "Normal" / "images")
    with pytest.raises(InputError, match="holds no picture"):
        run(covqu, tmp_path / "out")
    shutil.rmtree(covqu / "Normal")
    with pytest.raises(InputError, match="lacks the folder 'Normal'"):
        run(covqu, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_synthetic_is_deterministic(covqu, tmp_path):
    write(tmp_path / "again", size=110, seed=0, side=40)
    for file in sorted(p for p in covqu.rglob("*") if p.is_file()):
        assert file.read_bytes() == (tmp_path / "again" / file.relative_to(covqu)).read_bytes()
