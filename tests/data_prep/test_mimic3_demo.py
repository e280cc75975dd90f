from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fedmeki_bench.builtin.data_prep.mimic3 import Mimic3
from fedmeki_bench.builtin.data_prep.mimic3.preparer import MortalityOptions
from fedmeki_bench.builtin.data_prep.mimic3.variables import NAMES, SOURCES, VARIABLES
from fedmeki_bench.builtin.tasks.mortality import Mortality
from fedmeki_bench.data.prepare.prepare import PreparedCohort, prepare

REAL = Path(__file__).parents[2].parent / "shared" / "real" / "mimic3_demo"


def run(raw: Path, out: Path, **options) -> PreparedCohort:
    return prepare(Mimic3(), raw, out, [Mortality()], MortalityOptions(**options), workers=1)[0]


def read(cohort: PreparedCohort) -> tuple[pd.DataFrame, np.ndarray]:
    samples = pd.read_parquet(cohort.path / "samples.parquet")
    return samples, np.load(cohort.path / "clinical.npy")[samples["array_row"]]


@pytest.fixture(scope="module")
def demo() -> Path:
    if not REAL.is_dir():
        pytest.skip("the MIMIC-III demo is not beside this checkout")
    return REAL


# --- the demo, against an independent computation -----------------------------------------------------------


def load(name: str) -> pd.DataFrame:
    return pd.read_csv(REAL / f"{name}.csv.gz", low_memory=False)


def seconds(column: pd.Series) -> pd.Series:
    return (pd.to_datetime(column) - pd.Timestamp("1970-01-01")).dt.total_seconds()


def lab_stay(hadm: float, at: float, stays: dict[float, list]) -> tuple[float, float]:
    """(icustay, intime to the minute): of the first stay that ends later, else of the last one."""
    mine = stays.get(hadm, [])
    later = [stay for stay in mine if stay.departure >= at]
    if not mine:
        return np.nan, np.nan
    stay = later[0] if later else mine[-1]
    return stay.icustay_id, np.floor(stay.entry / 60 + 0.5) * 60


def reference_rows(stays: pd.DataFrame) -> pd.DataFrame:
    """(icustay, hour) x 48, written from the rules alone, value by value where it matters."""
    tables = {name: load(name) for name in ("CHARTEVENTS", "LABEVENTS", "OUTPUTEVENTS")}
    ranges = {v.name: (v.low, v.high) for v in VARIABLES}
    entry = stays.set_index("icustay_id").entry
    ordered = stays.sort_values("entry").itertuples()
    of_admission: dict[float, list] = {}
    for stay in ordered:
        of_admission.setdefault(stay.hadm_id, []).append(stay)
    parts = []
    for source in SOURCES:
        table = tables[source.table]
        rows = table[table.itemid.isin(source.itemids)].copy()
        rows["v"] = rows["value" if source.table == "OUTPUTEVENTS" else "valuenum"].astype(float)
        if source.offset:
            rows["v"] = (rows.v - 32) * 5 / 9
        if source.factor == 10:
            rows["v"] *= 10
        low, high = ranges[source.name]
        rows = rows[rows.v.notna() & ~(rows.v < (low or -np.inf if low != 0 else 0)) & ~(rows.v > (high or np.inf))]
        at = seconds(rows.charttime)
        if source.table == "LABEVENTS":
            found = [lab_stay(h, t, of_admission) for h, t in zip(rows.hadm_id, at, strict=True)]
            rows["stay"], since = np.array(found).reshape(-1, 2).T
        else:
            rows["stay"], since = rows.icustay_id, rows.icustay_id.map(entry)
        rows["hour"] = np.trunc((at - np.asarray(since, dtype=float)) / 3600)
        parts.append(rows[["stay", "hour", "v"]].dropna().assign(name=source.name))
    events = pd.concat(parts)
    how = events.groupby(["stay", "hour", "name"]).v
    values = how.median().where(how.median().index.get_level_values("name") != "urine", how.sum())
    return values.unstack("name").reindex(columns=list(NAMES))


@pytest.fixture(scope="module")
def reference(demo) -> tuple[pd.DataFrame, pd.DataFrame, list[int]]:
    stays, admissions, patients = load("ICUSTAYS"), load("ADMISSIONS"), load("PATIENTS")
    stays["entry"], stays["departure"] = seconds(stays.intime), seconds(stays.outtime)
    rows = reference_rows(stays)
    stays = stays.merge(admissions[["hadm_id", "hospital_expire_flag", "deathtime"]]).merge(
        patients[["subject_id", "dob"]]
    )
    stays["hours"] = (stays.departure - stays.entry) / 3600
    stays["age"] = (stays.entry - seconds(stays.dob)) / 86400 / 365.25
    present = {stay: set(part.index.get_level_values("hour")) for stay, part in rows.groupby("stay")}

    def longest_gap(stay) -> int:
        marks = "".join(
            "x" if hour in present.get(stay.icustay_id, ()) else "." for hour in range(min(168, int(stay.hours)) + 1)
        )
        return max(len(run) for run in marks.split("x"))

    moves = load("TRANSFERS")
    ward = (
        moves[moves.eventtype != "discharge"]
        .sort_values("intime")
        .groupby("hadm_id")
        .curr_careunit.agg(lambda s: s.iloc[-1])
    )
    final = stays.sort_values("entry").groupby("hadm_id").icustay_id.last()
    stays["icu_death"] = (
        (stays.hospital_expire_flag == 1)
        & stays.hadm_id.map(ward).notna()
        & (stays.hadm_id.map(final) == stays.icustay_id)
    )
    left = [len(stays)]
    for keep in (
        lambda s: s.hours >= 6,
        lambda s: s.icustay_id.map(lambda i: len(present.get(i, ()))) >= 4,
        lambda s: s.apply(longest_gap, axis=1) <= 12,
        lambda s: s.age >= 18,
        lambda s: ~(s.icu_death & ((seconds(s.deathtime) - s.entry) / 3600 < 30)),
        lambda s: s.hours >= 30,
    ):
        stays = stays[keep(stays)]
        left.append(len(stays))
    return stays.set_index(stays.icustay_id.astype(str)), rows, left


@pytest.fixture(scope="module")
def prepared(demo, tmp_path_factory) -> PreparedCohort:
    return run(demo, tmp_path_factory.mktemp("prepared"))


def test_the_demo_has_the_published_attrition_and_labels(prepared, reference):
    samples, _ = read(prepared)
    stays, _, left = reference
    assert left == [136, 133, 133, 133, 132, 125, 99]
    assert set(samples["sample_id"]) == set(stays.index)
    rows = prepared.card["rows"]
    assert (rows["read"], rows["kept"], rows["excluded"], rows["dropped"]) == (136, 99, 37, 0)
    assert {reason: n for reason, n in prepared.card["excluded"].items() if n} == {
        "the stay is shorter than 6 h": 3,
        "the patient is under 18": 1,
        "died in the ICU within 30 h": 7,
        "the stay is shorter than 30 h": 26,
    }
    assert any(
        "136 stays; 133 after" in note and note.endswith("shorter than 30 h'") for note in prepared.card["notes"]
    )
    indexed = samples.set_index("sample_id")
    assert (indexed["hospital_death"].sum(), indexed["yaib_icu_death"].sum()) == (31, 21)
    assert indexed["label"].sum() == 31
    assert (indexed["yaib_icu_death"] == stays["icu_death"].reindex(indexed.index)).all()
    assert samples["group_id"].duplicated(keep=False).sum() == 44
    assert prepared.card["release"].endswith("Demo v1.4")
    assert prepared.card["audit"]["groups_shared_between_splits"] == 0
    assert samples["age"].max() == 90
    np.testing.assert_allclose(indexed["age"], stays["age"].clip(upper=90).reindex(indexed.index), atol=0.01)


def test_the_demo_equals_an_independent_computation(prepared, reference):
    samples, values = read(prepared)
    assert values.shape == (99, 25, 48)
    assert values.dtype == np.float32
    _, rows, _ = reference
    for sample, array in zip(samples["sample_id"], values, strict=True):
        expected = rows.loc[float(sample)].reindex(np.arange(25.0)).to_numpy()
        np.testing.assert_allclose(array, expected, rtol=1e-6, err_msg=sample)


def test_statistics_rest_on_the_client_split(prepared):
    samples, values = read(prepared)
    facts = prepared.card["statistics"]["clinical"]
    assert facts["variables"] == list(NAMES)
    client = values[(samples["split"] == "client").to_numpy()]
    heart = client[..., NAMES.index("hr")].astype(float)
    assert facts["median"][NAMES.index("hr")] == np.nanmedian(heart)
    assert facts["mean"][NAMES.index("hr")] == pytest.approx(np.nanmean(heart))
    assert facts["sd"][NAMES.index("hr")] == pytest.approx(np.nanstd(heart))


def test_yaibs_label_is_an_option(demo, tmp_path):
    samples, _ = read(run(demo, tmp_path, death="yaib_icu_death"))
    assert samples["label"].sum() == 21
