from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fedmeki_bench.builtin.data_prep.ecg_qa import EcgQa, EcgQaOptions
from fedmeki_bench.builtin.data_prep.ecg_qa.layout import STAND_IN
from fedmeki_bench.builtin.data_prep.ptbxl import PtbXl
from fedmeki_bench.builtin.tasks.ecg_abnormal import EcgAbnormal
from fedmeki_bench.builtin.tasks.ecg_noise import EcgNoise
from fedmeki_bench.data.cohort import Cohort
from fedmeki_bench.data.prepare.prepare import prepare
from fedmeki_bench.errors import InputError

REAL = Path(__file__).parents[2].parent / "shared" / "real"

SHARD = Path("ptbxl") / "template" / "train" / "0.json"


def run(raw, out, **options):
    return prepare(EcgQa(), raw, out, [EcgNoise()], EcgQaOptions(**options), workers=1)[0]


def samples(cohort) -> pd.DataFrame:
    return pd.read_parquet(cohort.path / "samples.parquet").set_index("sample_id")


@pytest.fixture(scope="session")
def _ecg_qa(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ecg-qa") / "ecg_qa"
    EcgQa().synthesize(folder, size=300, seed=0)
    return folder


@pytest.fixture
def ecg_qa(_ecg_qa, tmp_path):
    return Path(shutil.copytree(_ecg_qa, tmp_path / "ecg_qa"))


def test_the_real_questions(tmp_path):
    raw = REAL / "ecg_qa"
    if not raw.is_dir() or not (REAL / "ptbxl").is_dir():
        pytest.skip("the real ECG-QA and PTB-XL are not beside this checkout")
    card = run(raw, tmp_path, zero_shot="all").card
    assert card["rows"] == {"read": 16_809, "merged": 0, "kept": 413, "dropped": 0, "excluded": 16_396}
    assert "413 questions on noise of the official train part ask about one ECG of the release" in card["notes"]
    assert card["zero_shot_leak"]
    cohort = run(raw, tmp_path)
    seen = cohort.card["excluded"]["zero-shot: training on 'ptbxl' has seen this patient"]
    assert seen + cohort.card["rows"]["kept"] == 413
    trained = prepare(PtbXl(), REAL / "ptbxl", tmp_path, [EcgAbnormal()], PtbXl.Options(), workers=1)[0]
    table = samples(trained)
    assert set(samples(cohort)["group_id"]) <= set(table["group_id"][table["split"] == "test"])


def test_zero_shot_against_the_stand_in_of_the_same_seed(ecg_qa, tmp_path):
    alone = run(ecg_qa, tmp_path / "out")
    shutil.copytree(ecg_qa / STAND_IN, tmp_path / "ptbxl")
    trained = prepare(PtbXl(), tmp_path / "ptbxl", tmp_path / "out", [EcgAbnormal()], PtbXl.Options(), workers=1)[0]
    cohort = run(ecg_qa, tmp_path / "out")
    assert cohort.card["registry"] == "ptbxl"
    assert samples(cohort).equals(samples(alone))
    table = samples(trained)
    unseen = set(table["group_id"][table["split"] == "test"])
    assert set(samples(cohort)["group_id"]) <= unseen
    rows = cohort.card["rows"]
    assert rows["read"] == 300 == rows["kept"] + rows["excluded"]
    assert run(ecg_qa, tmp_path / "out").unchanged


def test_one_array_per_ecg_and_it_is_ptbxls(ecg_qa, tmp_path):
    cohort = run(ecg_qa, tmp_path / "out", zero_shot="all")
    table = samples(cohort)
    assert cohort.card["synthetic"]
    assert len(np.load(cohort.path / "signal.npy")) == table["source"].nunique() < len(table)
    source = table["source"].iloc[0]
    record = PtbXl().decode(ecg_qa / STAND_IN, f"records100/00000/{int(source):05d}_lr", PtbXl.Options())
    part = Cohort.open(cohort.path)._part("test")
    np.testing.assert_array_equal(part.batch([0])["signal"][0], record.arrays["signal"])


def test_a_stand_in_of_another_seed_is_passed_by(ecg_qa, tmp_path):
    PtbXl().synthesize(tmp_path / "ptbxl", size=20, seed=9)
    before = run(ecg_qa, tmp_path / "out").card["rows"]
    shutil.rmtree(tmp_path / "ptbxl")
    assert run(ecg_qa, tmp_path / "two").card["rows"] == before


def test_real_questions_over_synthetic_ecgs_are_synthetic(ecg_qa, tmp_path):
    (ecg_qa / "SYNTHETIC.json").unlink()
    assert run(ecg_qa, tmp_path / "out").card["synthetic"]


def test_layouts_and_phrasing(ecg_qa, tmp_path):
    one = samples(run(ecg_qa, tmp_path / "one"))
    (ecg_qa / "ecgqa").mkdir()
    (ecg_qa / "ptbxl").rename(ecg_qa / "ecgqa" / "ptbxl")
    assert samples(run(ecg_qa, tmp_path / "two")).equals(one)
    reworded = samples(run(ecg_qa, tmp_path / "three", phrasing="paraphrased"))
    assert reworded["answer"].equals(one["answer"])
    assert not reworded["question"].equals(one["question"])


def test_bad_items_are_counted(ecg_qa, tmp_path):
    rows = json.loads((ecg_qa / SHARD).read_text())
    good = next(row for row in rows if row["attribute_type"] == "noise" and len(row["ecg_id"]) == 1)
    before = run(ecg_qa, tmp_path / "out", zero_shot="all").card["rows"]
    changes = [
        {"answer": ["static noise", "baseline drift"]}, {"answer": "no", "ecg_id": good["ecg_id"][0]}, {"answer": []},
        {"ecg_id": ["x"]}, {"ecg_id": []}, {"ecg_id": [1, 2]}, {"ecg_id": [99999]}, {"question": None},
        {"attribute_type": "sex"},
    ]  # fmt: skip
    rows += [good | {"sample_id": 5000 + k} | change for k, change in enumerate(changes)]
    (ecg_qa / SHARD).write_text(json.dumps(rows))
    cohort = run(ecg_qa, tmp_path / "out", zero_shot="all")
    card = cohort.card
    assert {reason: facts["n"] for reason, facts in card["dropped"].items()} == {
        "the field 'answer' is blank or missing": 1,
        "the field 'ecg_id' is not a whole number": 1,
        "the field 'ecg_id' is blank or missing": 1,
        "the field 'question' is blank or missing": 1,
    }
    assert card["rows"]["kept"] == before["kept"] + 2
    assert card["rows"]["excluded"] == before["excluded"] + 3
    assert card["excluded"]["the PTB-XL release does not hold the ECG"] == 1
    assert samples(cohort)["answer"]["train-5000"] == "static noise, baseline drift"


def test_a_missing_record_is_counted(ecg_qa, tmp_path):
    source = samples(run(ecg_qa, tmp_path / "out", zero_shot="all"))["source"].iloc[0]
    (ecg_qa / STAND_IN / "records100" / "00000" / f"{int(source):05d}_lr.dat").unlink()
    card = run(ecg_qa, tmp_path / "out", zero_shot="all").card
    assert list(card["dropped"]) == ["the signal file (.dat) is missing"]


def test_wrong_folders(ecg_qa, tmp_path):
    with pytest.raises(InputError, match="option 'ptbxl': there is no folder"):
        run(ecg_qa, tmp_path / "out", ptbxl=tmp_path / "nowhere")
    shutil.rmtree(ecg_qa / STAND_IN)
    with pytest.raises(InputError, match="name its folder with the option 'ptbxl'"):
        run(ecg_qa, tmp_path / "out")
    with pytest.raises(InputError, match="lacks 'ptbxl/template'"):
        run(tmp_path, tmp_path / "out")
