from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fedmeki_bench.builtin.data_prep.mimic3 import Mimic3, Mimic3Sepsis
from fedmeki_bench.builtin.data_prep.mimic3.infection import continuous, suspicion
from fedmeki_bench.builtin.data_prep.mimic3.infusions import _merged, _rates
from fedmeki_bench.builtin.data_prep.mimic3.preparer import MortalityOptions, SepsisOptions
from fedmeki_bench.builtin.data_prep.mimic3.sepsis import onset
from fedmeki_bench.builtin.data_prep.mimic3.sofa import VASOPRESSORS, carried, coma_scale, horowitz, sofa, urine_per_day
from fedmeki_bench.builtin.tasks.mortality import Mortality
from fedmeki_bench.builtin.tasks.sepsis import Sepsis
from fedmeki_bench.data.prepare.prepare import PreparedCohort, prepare
from fedmeki_bench.errors import InputError

REAL = Path(__file__).parents[2].parent / "shared" / "real" / "mimic3_demo"
NAN = float("nan")


def run(raw: Path, out: Path, **options) -> PreparedCohort:
    return prepare(Mimic3Sepsis(), raw, out, [Sepsis()], SepsisOptions(**options), workers=1)[0]


def read(cohort: PreparedCohort) -> tuple[pd.DataFrame, np.ndarray]:
    samples = pd.read_parquet(cohort.path / "samples.parquet").set_index("sample_id")
    return samples, np.load(cohort.path / "clinical.npy")[samples["array_row"]]


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("mimic3")
    Mimic3().synthesize(folder, size=120, seed=0)
    return folder


def hourly(*values: float) -> np.ndarray:
    return np.array(values, dtype=float)


def blank(hours: int, **known: np.ndarray) -> dict[str, np.ndarray]:
    names = (
        "po2",
        "fio2",
        "ventilated",
        "plt",
        "bili",
        "map",
        "crea",
        "urine",
        "gcs_eye",
        "gcs_verbal",
        "gcs_motor",
    )
    empty = {name: np.full(hours, NAN) for name in (*names, "gcs_total", "sedated", *VASOPRESSORS)}
    return empty | known


# --- the score ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("known", "points"),
    [
        ({"plt": 149.0}, 1), ({"plt": 150.0}, 0), ({"plt": 19.0}, 4), ({"plt": 20.0}, 3),
        ({"bili": 1.1}, 0), ({"bili": 1.2}, 1), ({"bili": 12.0}, 4),
        ({"crea": 1.2}, 1), ({"crea": 3.5}, 3), ({"crea": 5.0}, 4),
        ({"map": 69.0}, 1), ({"map": 70.0}, 0), ({"map": 60.0, "dobutamine": 1.0}, 2), ({"dopamine": 5.0}, 2),
        ({"dopamine": 5.1}, 3), ({"norepinephrine": 0.1}, 3), ({"epinephrine": 0.2}, 4),
        ({"norepinephrine": 0.0, "map": 80.0}, 0),
        ({"po2": 90.0, "fio2": 100.0}, 2), ({"po2": 90.0, "fio2": 100.0, "ventilated": 1.0}, 4),
        ({"po2": 150.0, "fio2": 100.0, "ventilated": 1.0}, 3), ({"po2": 250.0, "fio2": 100.0, "ventilated": 1.0}, 2),
        ({"po2": 60.0}, 2), ({"po2": 84.0}, 0),
        ({"gcs_eye": 3.0, "gcs_verbal": 4.0, "gcs_motor": 6.0}, 1), ({"gcs_motor": 1.0}, 2),
        ({"gcs_total": 5.0}, 4), ({"gcs_total": 5.0, "sedated": 1.0}, 0),
    ],
)  # fmt: skip
def test_points_of_each_organ(known, points):
    assert sofa(blank(1, **{name: hourly(value) for name, value in known.items()}), 0)[0] == points


def test_the_worst_of_the_last_day_counts_and_organs_add_up():
    platelets = np.full(30, NAN)
    platelets[2], platelets[4] = 90, 300
    liver = np.full(30, NAN)
    liver[3], liver[29] = 2.5, 0.5
    score = sofa(blank(30, plt=platelets, bili=liver), 0)
    assert np.isnan(score[:2]).all()
    assert score[2] == 2
    assert (score[3:27] == 4).all()
    assert score[27:].tolist() == [2, 0, 0]  # 25 hours, the present one included, then neither


def test_oxygen_is_matched_over_two_hours():
    ratio = horowitz(hourly(100, NAN, NAN, NAN, 84), hourly(NAN, NAN, 50, 50, NAN))
    np.testing.assert_allclose(ratio, [100 / 0.21, NAN, 200, NAN, 168])


def test_coma_scale_carries_parts_for_six_hours():
    eye = hourly(2, *[NAN] * 6, NAN, 4)
    motor = hourly(NAN, 5, NAN, NAN, NAN, NAN, 5, 5, NAN)
    scale = coma_scale(blank(9, gcs_eye=eye, gcs_motor=motor))
    np.testing.assert_allclose(scale, [13, 12, NAN, NAN, NAN, NAN, 12, 14, 14])


def test_urine_needs_half_a_day():
    daily = urine_per_day(np.full(30, 10.0), 0)
    assert np.isnan(daily[:11]).all()
    np.testing.assert_allclose(daily[11:], 240)
    assert sofa(blank(30, urine=np.full(30, 10.0)), 0)[-1] == 3
    assert not np.isnan(urine_per_day(np.full(3, 10.0), -12)).any()


def test_urine_before_half_a_day_tells_nothing_of_the_day():
    """A sum over the hours so far, not scaled to a day, would give 4 points to every stay that has just begun."""
    series = blank(30, urine=np.full(30, 60.0), crea=np.full(30, 1.0))
    assert (sofa(series, 0) == 0).all()


def test_carried():
    np.testing.assert_allclose(carried(hourly(NAN, 1, NAN, NAN, 2), 1), [NAN, 1, 1, NAN, 2])


def test_onset_is_a_rise_of_two_over_the_lowest_so_far():
    assert onset(hourly(NAN, 4, 3, 4, 5, 9)) == 4
    assert onset(hourly(5, 4, 3, 4)) is None
    assert onset(hourly(NAN, NAN)) is None


def test_infusions_count_from_one_hour_on():
    pump, point = "INPUTEVENTS_MV", "INPUTEVENTS_CV"
    assert _rates({(pump, "a"): [(0, 3599, 0.1)]}) == {}
    assert _rates({(pump, "a"): [(0, 1800, 0.1)], (pump, "b"): [(2000, 7000, 0.3)]}) == {0: 0.3, 1: 0.3}
    charted = [(0, 0, 0.1), (3600, 3600, NAN), (7200, 7200, 0.2)]
    assert _rates({(point, "a"): charted}) == {0: 0.1, 1: 0.1, 2: 0.2}
    assert _merged([(0, 10), (5000, 9000), (9300, 9400)]) == [(5000, 9400)]


# --- infection ------------------------------------------------------------------------------------------------


def doses(*start: int, hours: int = 1) -> tuple[np.ndarray, np.ndarray]:
    return np.array(start), np.full(len(start), hours)


def test_antibiotics_must_go_on_for_three_days():
    assert continuous(*doses(0, 24, 48)) == [0]
    assert continuous(*doses(0, 24, 48, 72)) == [0, 24]  # from 24 on: 73 to 96 is 23 hours
    assert continuous(*doses(0, 26, 48)) == []
    assert continuous(*doses(0, 20, 40), death=50) == [0, 20, 40]
    assert continuous(np.array([0, 0]), np.array([1, 60])) == [0]
    assert continuous(*doses(60), death=50) == []


def test_a_culture_must_be_near():
    course = doses(10, 30, 50, 70)
    assert suspicion(*course, np.array([34])) == 10
    assert suspicion(*course, np.array([35 + 100])) is None
    assert suspicion(*course, np.array([-60])) == -60
    assert suspicion(*course, np.array([-70])) is None
    assert suspicion(*course, np.array([], dtype=int)) is None
    assert suspicion(*doses(10, 50), np.array([10])) is None


# --- cohorts --------------------------------------------------------------------------------------------------


def test_the_demo(tmp_path):
    if not REAL.is_dir():
        pytest.skip("the MIMIC-III demo is not beside this checkout")
    cohort = run(REAL, tmp_path, zero_shot="all")
    samples, values = read(cohort)
    assert values.shape == (115, 169, 48)
    positive = samples[samples["label"] == 1]
    assert positive.index.tolist() == ["298685"]
    assert positive["onset"].tolist() == [18]
    assert positive["hours"].tolist() == [25]
    assert cohort.card["excluded"]["sepsis began before hour 6"] == 17
    assert set(samples["split"]) == {"test"}


def test_series_end_six_hours_after_the_onset(synthetic, tmp_path):
    cohort = run(synthetic, tmp_path, zero_shot="all")
    samples, values = read(cohort)
    sick = samples["label"] == 1
    assert 5 < sick.sum() < len(samples) / 2
    assert (samples["onset"].notna() == sick).all()
    assert samples["onset"].min() >= 6
    assert (samples["hours"] <= 169).all()
    assert (samples.loc[sick, "hours"] <= samples.loc[sick, "onset"] + 7).all()
    for length, array in zip(samples["hours"], values, strict=True):
        assert np.isnan(array[length:]).all()
        assert np.isfinite(array[:length]).any()


def test_no_patient_of_the_mortality_training_is_left(synthetic, tmp_path):
    cohort = run(synthetic, tmp_path)
    unseen, _ = read(cohort)
    assert (cohort.card["registry"], cohort.card["zero_shot_leak"]) == ("mimic3", False)
    assert "statistics" not in cohort.card
    options = MortalityOptions()
    mortality = prepare(Mimic3(), synthetic, tmp_path, [Mortality()], options, workers=1)[0]
    trained = pd.read_parquet(mortality.path / "samples.parquet")
    seen = set(trained.loc[trained["split"] != "test", "group_id"])
    assert not seen & set(unseen["group_id"])
    assert set(trained.loc[trained["split"] == "test", "group_id"]) & set(unseen["group_id"])


def test_prescriptions_are_read_on_request_only(synthetic, tmp_path):
    few, _ = read(run(synthetic, tmp_path / "a", zero_shot="all"))
    more, _ = read(run(synthetic, tmp_path / "b", zero_shot="all", antibiotics="prescribed"))
    assert len(more) <= len(few)
    hidden = synthetic / "PRESCRIPTIONS.csv.gz"
    aside = hidden.rename(tmp_path / "aside")
    try:
        assert run(synthetic, tmp_path / "a", zero_shot="all").unchanged
        with pytest.raises(InputError, match="PRESCRIPTIONS"):
            run(synthetic, tmp_path / "b", zero_shot="all", antibiotics="prescribed")
    finally:
        aside.rename(hidden)


def test_a_damaged_input_table_is_named(synthetic, tmp_path):
    copy = tmp_path / "raw"
    copy.mkdir()
    for path in synthetic.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    packed = copy / "INPUTEVENTS_CV.csv.gz"
    packed.write_bytes(gzip.compress(gzip.decompress(packed.read_bytes()) + b"1,2,3\n"))
    with pytest.raises(InputError, match=r"INPUTEVENTS_CV\.csv\.gz, line \d+ .*cut in mid-line"):
        run(copy, tmp_path / "out", zero_shot="all")
    assert not (tmp_path / "out" / "sepsis").exists()


def test_task_texts():
    task = Sepsis()
    assert task.label({"onset": 18.0}) == 1
    assert task.label({"onset": NAN}) == 0
    assert task.prompt(task.question({})).endswith(f"Yes or no, {task.meta.asks}")
    assert task.meta.role == "zero_shot"
