"""What a results folder tells when it is shown: no ids, no ages, no folders of the machine; and runs still pair."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from fedmeki_bench.statistics import age_band_names

from .conftest import RULE, Distribution

AGE_BANDS = set(age_band_names())


@pytest.fixture(scope="module")
def results(tmp_path_factory, cohorts) -> Path:
    """Two runs of one task: a rule in a file far away, given by its absolute path, and FedAvg."""
    root = tmp_path_factory.mktemp("published")
    for name in ("far", "fade", "out"):
        (root / name).mkdir()
    (root / "far" / "fade.py").write_text(RULE.format(imports="", factor="1.0"))
    distribution = Distribution(root / "fade", root / "out")
    distribution.run(f"{root / 'far'}/fade.py:Fade_s", cohorts)
    distribution.run("fedavg_s", cohorts)
    return distribution.out / "results"


def test_no_id_and_no_age_of_a_patient_is_in_the_predictions(results, cohorts):
    samples = pd.read_parquet(cohorts / "ecg_abnormal" / "samples.parquet")
    known = {str(v) for column in ("sample_id", "group_id", "source") for v in samples[column]}
    for path in results.rglob("*.parquet"):
        table = pd.read_parquet(path)
        assert len(table)
        texts = {str(v) for column in ("sample_id", "group_id", "sex", "age") for v in table[column]}
        assert not texts & known
        assert not known & set(path.read_bytes().decode("latin-1").split("\0"))
        assert set(table["age"]) <= AGE_BANDS
        assert "sex" in table
        assert table["group_id"].nunique() == samples[samples["split"] == "test"]["group_id"].nunique()


def test_runs_on_the_same_data_pair(results):
    one, two = (pd.read_parquet(path) for path in sorted(results.rglob("*.parquet")))
    assert list(one["sample_id"]) == list(two["sample_id"])
    assert list(one["group_id"]) == list(two["group_id"])
    assert list(one["label"]) == list(two["label"])


def test_no_folder_of_the_machine_is_in_a_record(results, cohorts):
    for path in results.glob("*/record.json"):
        text = path.read_text()
        for place in (str(results.parents[1]), str(Path.home()), str(cohorts), str(Path(__file__).parents[2])):
            assert place not in text
    names = {json.loads(path.read_text())["algorithm"] for path in results.glob("*/record.json")}
    assert names == {"fade.py:Fade_s", "fedavg_s"}


@pytest.mark.slow
def test_an_error_tells_no_folder_either(distribution, cohorts, tmp_path):
    distribution.write(
        "../out/ill.py",
        "from pathlib import Path\nfrom fedmeki_bench.api import Rule\nclass Ill(Rule):\n    '''Fails.'''\n"
        "    def client_update(self, ctx, received):\n        raise ValueError(f'no {Path.cwd()}/secret')\n",
    )
    ended = distribution.bench("run", "ill.py:Ill_s", "--tasks", "ecg_abnormal", "--data", cohorts, "-o", "rounds=1")
    assert ended.returncode == 4
    (path,) = (distribution.out / "results").glob("*/record.json")
    assert str(tmp_path) not in path.read_text()
    said = json.loads(path.read_text())["error"]["message"]
    assert said == "rule 'ill.py:Ill' failed in ill.py, line 6, in client_update: ValueError: no secret"
    assert str(tmp_path) not in (path.parent / "traceback.txt").read_text()
