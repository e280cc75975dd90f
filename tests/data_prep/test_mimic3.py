from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fedmeki_bench.builtin.data_prep.mimic3 import Mimic3
from fedmeki_bench.builtin.data_prep.mimic3.preparer import MortalityOptions
from fedmeki_bench.builtin.data_prep.mimic3.stays import activity
from fedmeki_bench.builtin.data_prep.mimic3.variables import SOURCES, VARIABLES
from fedmeki_bench.builtin.tasks.mortality import Mortality
from fedmeki_bench.data.contract import Drops
from fedmeki_bench.data.prepare.prepare import PreparedCohort, prepare
from fedmeki_bench.errors import InputError
from fedmeki_bench.options import parse_options

REAL = Path(__file__).parents[2].parent / "shared" / "real" / "mimic3_demo"


def run(raw: Path, out: Path, **options) -> PreparedCohort:
    return prepare(Mimic3(), raw, out, [Mortality()], MortalityOptions(**options), workers=1)[0]


def read(cohort: PreparedCohort) -> tuple[pd.DataFrame, np.ndarray]:
    samples = pd.read_parquet(cohort.path / "samples.parquet")
    return samples, np.load(cohort.path / "clinical.npy")[samples["array_row"]]


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("mimic3")
    Mimic3().synthesize(folder, size=60, seed=0)
    return folder


@pytest.fixture
def raw(synthetic: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(synthetic, tmp_path / "mimic3"))


def unpack(raw: Path, name: str) -> Path:
    """NAME.csv in the place of NAME.csv.gz."""
    packed = raw / f"{name}.csv.gz"
    plain = raw / f"{name}.csv"
    plain.write_bytes(gzip.decompress(packed.read_bytes()))
    packed.unlink()
    return plain


def edit(raw: Path, name: str, change) -> Path:
    path = unpack(raw, name)
    path.write_text(change(path.read_text()))
    return path


# --- rules on small numbers ---------------------------------------------------------------------------------


def test_activity_counts_rows_and_finds_the_longest_gap():
    stay = np.array([0, 0, 0, 0, 2, 2])
    hour = np.array([5, 0, 30, -3, 0, 1])
    rows, gap = activity(stay, hour, [20, 3, 1])
    assert rows.tolist() == [4, 0, 2]
    assert gap.tolist() == [15, 4, 0]  # hours 6 to 20; hours 0 to 3; none


def test_the_table_of_variables():
    assert len(VARIABLES) == 48
    assert {v.kind: sum(w.kind == v.kind for w in VARIABLES) for v in VARIABLES} == {
        "lab": 39, "vital": 7, "input": 1, "output": 1,
    }  # fmt: skip
    ids = [(s.table, i) for s in SOURCES for i in s.itemids]
    assert len(ids) == len(set(ids))


# --- the synthetic release, whole and damaged ---------------------------------------------------------------


def test_synthetic_cohort_is_whole_and_reproducible(synthetic, tmp_path):
    cohort = run(synthetic, tmp_path / "a")
    samples, values = read(cohort)
    assert cohort.card["synthetic"]
    assert 0 < samples["label"].sum() < len(samples)
    assert samples["site"].nunique() == 5
    assert samples["group_id"].duplicated().any()
    assert 0.1 < np.isfinite(values).mean() < 0.6
    again = run(synthetic, tmp_path / "b", threads=1, memory_gb=1, scratch=tmp_path)
    assert again.card_hash == cohort.card_hash
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]  # no temporary folder is left
    assert run(synthetic, tmp_path / "b", memory_gb=2).unchanged


def test_synthesis_is_reproducible(synthetic, tmp_path):
    Mimic3().synthesize(tmp_path, size=60, seed=0)
    for path in synthetic.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name
    other = tmp_path / "other"
    Mimic3().synthesize(other, size=60, seed=1)
    assert (other / "LABEVENTS.csv.gz").read_bytes() != (synthetic / "LABEVENTS.csv.gz").read_bytes()


def test_file_names_and_headers_in_any_case(raw, tmp_path):
    expected = run(raw, tmp_path / "a")
    for name in ("ICUSTAYS", "CHARTEVENTS", "LABEVENTS"):
        path = unpack(raw, name)
        header, _, rest = path.read_text().partition("\n")
        path.write_text(header.lower().replace('"', "") + "\r\n" + rest.replace("\n", "\r\n"))
        path.rename(raw / f"{name.lower()}.CSV")
    cohort = run(raw, tmp_path / "b")
    assert cohort.card["content"] == expected.card["content"]


def test_duplicate_and_unusable_stays_are_counted(raw, tmp_path):
    def damage(text: str) -> str:
        lines = text.splitlines()
        fields = [line.split(",") for line in lines[:5]]
        at = lines[0].replace('"', "").split(",")
        fields[1][at.index("INTIME")] = '"yesterday"'
        fields[2][at.index("HADM_ID")] = "1"
        fields[3][at.index("OUTTIME")] = ""
        return "\n".join([*(",".join(f) for f in fields), *lines[5:], lines[10]]) + "\n"

    edit(raw, "ICUSTAYS", damage)
    cohort = run(raw, tmp_path / "out")
    dropped = cohort.card["dropped"]
    assert dropped["intime or outtime is blank or no time"]["n"] == 2
    assert dropped["the admission is not in ADMISSIONS"]["n"] == 1
    assert dropped["the icustay_id occurs a second time"]["n"] == 1
    assert cohort.card["rows"]["read"] == 61


def test_unreadable_numbers_and_times_are_counted(raw, tmp_path):
    def damage(text: str) -> str:
        lines = text.splitlines()
        names = lines[0].replace('"', "").split(",")
        for number, (column, value) in enumerate((("VALUENUM", "high"), ("VALUENUM", "nan"), ("CHARTTIME", "?")), 1):
            fields = lines[number].split(",")
            fields[names.index(column)] = value
            lines[number] = ",".join(fields)
        return "\n".join(lines) + "\n"

    edit(raw, "LABEVENTS", damage)
    notes = run(raw, tmp_path / "out").card["notes"]
    assert "2 events of the variables have a value that is not a number and are left out" in notes
    assert "1 events of the variables have no readable time and are left out" in notes


def test_wrong_folder_and_missing_tables(raw, tmp_path):
    with pytest.raises(InputError, match="is not a folder"):
        run(tmp_path / "nowhere", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"lacks 'ICUSTAYS\.csv'"):
        run(tmp_path / "empty", tmp_path / "out")
    (raw / "LABEVENTS.csv.gz").rename(raw / "LABEVENT.csv.gz")
    with pytest.raises(InputError, match=r"lacks 'LABEVENTS\.csv' .*did you mean 'LABEVENT'"):
        run(raw, tmp_path / "out")
    (raw / "LABEVENT.csv.gz").rename(raw / "LABEVENTS.csv.gz")
    shutil.copy(raw / "PATIENTS.csv.gz", raw / "patients.csv")
    with pytest.raises(InputError, match="PATIENTS more than once"):
        run(raw, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes().rstrip(b"\n").rpartition(b",")[0])


@pytest.mark.parametrize(
    ("name", "damage", "sentence"),
    [
        ("CHARTEVENTS", cut, r"CHARTEVENTS\.csv, line \d+ .*fields where the header has .*cut in mid-line"),
        ("ICUSTAYS", cut, r"ICUSTAYS\.csv, line 61 .*cut in mid-line"),
        (
            "LABEVENTS",
            lambda p: p.write_text(p.read_text().replace(",", ";")),
            "LABEVENTS.csv is separated by ';'",
        ),
        (
            "ADMISSIONS",
            lambda p: p.write_text(p.read_text().replace("DEATHTIME", "DEATH_TIME")),
            "ADMISSIONS.csv lacks the column 'DEATHTIME': did you mean 'death_time'",
        ),
        ("PATIENTS", lambda p: p.write_text(""), r"PATIENTS\.csv is empty"),
        ("PATIENTS", lambda p: p.write_text(p.read_text() + '1,2,"F'), "quote is never closed"),
        (
            "PATIENTS",
            lambda p: p.write_bytes(p.read_bytes().replace(b'"M"', b'"\xe9"', 1)),
            r"PATIENTS\.csv, line \d+ .*not UTF-8",
        ),
    ],
)
def test_damaged_tables_give_one_sentence(raw, tmp_path, name, damage, sentence):
    damage(unpack(raw, name))
    with pytest.raises(InputError, match=sentence) as caught:
        run(raw, tmp_path / "out", scratch=tmp_path)
    assert "\n" not in str(caught.value)
    left = (
        [path.name for path in (tmp_path / "out").iterdir() if not path.name.startswith(".")]
        if (tmp_path / "out").exists()
        else []
    )
    assert left == []
    assert not list(tmp_path.glob("fedmeki-mimic3-*"))


def test_damaged_archives_give_one_sentence(raw, tmp_path):
    path = raw / "CHARTEVENTS.csv.gz"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"CHARTEVENTS\.csv\.gz.* cut"):
        run(raw, tmp_path / "out")
    path.write_bytes(b'"ROW_ID","ICUSTAY_ID"\n')
    with pytest.raises(InputError, match="no gzip file"):
        run(raw, tmp_path / "out")


def test_nothing_left_names_the_reason(raw, tmp_path):
    for name in ("CHARTEVENTS", "LABEVENTS", "OUTPUTEVENTS"):
        edit(raw, name, lambda text: text.splitlines()[0] + "\n")
    with pytest.raises(InputError, match="fewer than 4 hours have a measurement"):
        run(raw, tmp_path / "out")


def test_a_standing_cohort_survives_a_failed_prepare(raw, tmp_path):
    cohort = run(raw, tmp_path / "out")
    cut(unpack(raw, "OUTPUTEVENTS"))
    with pytest.raises(InputError):
        run(raw, tmp_path / "out")
    assert (cohort.path / "card.json").is_file()


def test_options(tmp_path):
    assert parse_options(MortalityOptions, {"death": "yaib_icu_death", "memory_gb": "2"}).memory_gb == 2
    with pytest.raises(InputError, match="death"):
        parse_options(MortalityOptions, {"death": "any"})
    if REAL.is_dir():
        with pytest.raises(InputError, match="scratch"):
            Mimic3().table(REAL, MortalityOptions(scratch=tmp_path / "no"), Drops())


def test_task_texts():
    task = Mortality()
    assert task.label({"death": 1}) == 1
    assert task.answer({"death": 0}) == "no"
    prompt = task.prompt(task.question({}))
    assert prompt.endswith(f"Yes or no, {task.meta.asks}")
    assert task.parse("Yes.") == 1
