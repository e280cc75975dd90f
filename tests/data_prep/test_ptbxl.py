from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from fedmeki_bench.builtin.data_prep.ptbxl import PtbXl
from fedmeki_bench.builtin.data_prep.ptbxl.layout import LEADS
from fedmeki_bench.builtin.data_prep.ptbxl.synthetic import COLUMNS
from fedmeki_bench.builtin.tasks.ecg_abnormal import EcgAbnormal
from fedmeki_bench.data.cohort import Cohort
from fedmeki_bench.data.contract import Dropped
from fedmeki_bench.data.prepare.prepare import prepare
from fedmeki_bench.errors import InputError

OPTIONS = PtbXl.Options()


def run(raw: Path, out: Path, **kwargs):
    return prepare(PtbXl(), raw, out, [EcgAbnormal()], OPTIONS, workers=1, **kwargs)[0]


def edit(raw: Path, row: int, column: str, value: str) -> None:
    """Put ``value`` into a row (from 1) of the table."""
    import pandas as pd

    path = raw / "ptbxl_database.csv"
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table.loc[row - 1, column] = value
    table.to_csv(path, index=False)


def dropped(raw: Path, out: Path) -> dict:
    card = run(raw, out).card
    rows = card["rows"]
    assert rows["read"] == 60 == rows["kept"] + rows["dropped"]
    return {reason: facts["n"] for reason, facts in card["dropped"].items()}


def test_real_records_are_counted_and_prepared_once(real_ptbxl, tmp_path):
    cohort = run(real_ptbxl, tmp_path)
    card = cohort.card
    assert card["rows"] == {"read": 500, "merged": 0, "kept": 500, "dropped": 0, "excluded": 0}
    assert card["groups"] == 465  # 466 patients, of whom 16690 and 16723 hold one recording
    assert sum(s["negative"] for s in card["splits"].values()) == 293
    assert sum(s["positive"] for s in card["splits"].values()) == 207
    assert card["audit"]["groups_shared_between_splits"] == 0
    assert not card["synthetic"]
    before = {p.name: p.stat().st_mtime_ns for p in cohort.path.iterdir()}
    again = run(real_ptbxl, tmp_path)
    assert again.unchanged
    assert again.card_hash == cohort.card_hash
    assert {p.name: p.stat().st_mtime_ns for p in cohort.path.iterdir()} == before


def test_real_signal_equals_wfdb(real_ptbxl):
    import wfdb

    for name in ("00001_lr", "00017_lr", "00500_lr"):
        source = f"records100/00000/{name}"
        mine = PtbXl().decode(real_ptbxl, source, OPTIONS).arrays["signal"]
        theirs = wfdb.rdrecord(str(real_ptbxl / source)).p_signal.T
        assert mine.dtype == np.int16
        np.testing.assert_allclose(mine * 0.001, theirs, atol=1e-9)


def test_golden_record(tmp_path):
    """Gain 200 per mV, baseline 100, leads in another order: microvolts by hand."""
    (tmp_path / "records100").mkdir()
    path = tmp_path / "records100" / "x"
    order = LEADS[::-1]
    data = np.tile(np.arange(12, dtype="<i2") * 10 + 100, (1000, 1))
    path.with_name("x.dat").write_bytes(data.tobytes())
    lines = ["x 12 100 1000"] + [f"x.dat 16 200.0(100)/mV 16 0 0 0 0 {lead}" for lead in order]
    path.with_name("x.hea").write_text("\n".join(lines) + "\n")
    signal = PtbXl().decode(tmp_path, "records100/x", OPTIONS).arrays["signal"]
    assert signal[:, 0].tolist() == [50 * k for k in range(11, -1, -1)]
    # the same through wfdb: a comment of another kind makes no difference, an explicit block size does
    text = path.with_name("x.hea").read_text().replace(" 16 0 0 0 0 ", " 16 0 0 0 1 ")
    path.with_name("x.hea").write_text(text)
    np.testing.assert_array_equal(PtbXl().decode(tmp_path, "records100/x", OPTIONS).arrays["signal"], signal)


def test_synthetic_is_marked_deterministic_and_has_the_real_columns(ptbxl, tmp_path):
    header = (ptbxl / "ptbxl_database.csv").read_text().splitlines()[0]
    assert header.split(",") == list(COLUMNS)
    assert len(COLUMNS) == 28
    PtbXl().synthesize(tmp_path / "again", size=60, seed=0)
    for file in sorted(p for p in ptbxl.rglob("*") if p.is_file()):
        assert file.read_bytes() == (tmp_path / "again" / file.relative_to(ptbxl)).read_bytes()
    card = run(ptbxl, tmp_path / "out").card
    assert card["synthetic"]
    assert card["synthetic_source"]["seed"] == 0
    assert card["groups"] < card["rows"]["kept"]


def test_wrong_folder(tmp_path):
    with pytest.raises(InputError, match=r"lacks 'ptbxl_database\.csv'"):
        run(tmp_path, tmp_path / "out")
    with pytest.raises(InputError, match="is not a folder"):
        run(tmp_path / "nowhere", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_all_records_missing(ptbxl, tmp_path):
    shutil.rmtree(ptbxl / "records100")
    with pytest.raises(InputError, match="lacks 'records100'"):
        run(ptbxl, tmp_path / "out")
    (ptbxl / "records100").mkdir()
    with pytest.raises(InputError, match=r"60 x the header \(\.hea\) is missing, .*records100/NNNNN"):
        run(ptbxl, tmp_path / "out")
    assert not (tmp_path / "out" / "ecg_abnormal").exists()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda p: p.with_suffix(".dat").unlink(), "the signal file (.dat) is missing"),
        (lambda p: p.with_suffix(".hea").unlink(), "the header (.hea) is missing"),
        (
            lambda p: p.with_suffix(".dat").write_bytes(p.with_suffix(".dat").read_bytes()[:999]),
            "the signal file is truncated",
        ),
        (
            lambda p: p.with_suffix(".hea").write_text("not a header\n\n\0"),
            "the header is no WFDB header",
        ),
        (
            lambda p: p.with_suffix(".hea").write_text(p.with_suffix(".hea").read_text().replace("mV", "mmHg")),
            "the signal is not given in volts, millivolts or microvolts",
        ),
        (
            lambda p: p.with_suffix(".dat").write_bytes(b"\x00\x80" * 12000),
            "the signal has samples marked as missing",
        ),
    ],
)
def test_a_bad_record_is_counted(ptbxl, tmp_path, damage, reason):
    damage(ptbxl / "records100" / "00000" / "00003_lr.x")
    assert dropped(ptbxl, tmp_path / "out") == {reason: 1}


def test_fifteen_leads_at_1000_hz(ptbxl, tmp_path):
    import wfdb

    folder = ptbxl / "records100" / "00000"
    wfdb.wrsamp(
        "00003_lr", fs=1000, units=["mV"] * 15, sig_name=[f"l{k}" for k in range(15)],
        p_signal=np.random.default_rng(0).normal(size=(2000, 15)), fmt=["16"] * 15, write_dir=str(folder),
    )  # fmt: skip
    assert dropped(ptbxl, tmp_path / "out") == {"15 leads at 1000 Hz, expected 12 at 100 Hz": 1}


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("scp_codes", "__import__('os').system('true')", "scp_codes is not the text of a dict"),
        ("scp_codes", "['NORM']", "scp_codes is not a dict of statements to likelihoods"),
        ("filename_lr", "../../etc/passwd", "the file name points outside the dataset's folder"),
        ("filename_lr", "/etc/passwd", "the file name points outside the dataset's folder"),
        ("filename_lr", "", "the table names no file"),
        ("patient_id", "", "patient_id is not a whole number"),
        ("patient_id", "12.5", "patient_id is not a whole number"),
        ("ecg_id", "1", "the ecg_id occurs a second time"),
        ("site", "ward", "site is not a number"),
    ],
)
def test_a_bad_row_is_counted(ptbxl, tmp_path, column, value, reason):
    edit(ptbxl, 7, column, value)
    card = run(ptbxl, tmp_path / "out").card
    assert {r: f["n"] for r, f in card["dropped"].items()} == {reason: 1}
    assert "row 7" in card["dropped"][reason]["examples"][0]


def test_ages(ptbxl, tmp_path):
    import pandas as pd

    for row, age in ((1, "300.0"), (2, "-4"), (3, "old"), (4, "")):
        edit(ptbxl, row, "age", age)
    cohort = run(ptbxl, tmp_path)
    ages = pd.read_parquet(cohort.path / "samples.parquet").set_index("sample_id")["age"]
    assert ages["1"] == 90
    assert ages[["2", "3", "4"]].isna().all()
    assert any("2 ages are no possible age" in note for note in cohort.card["notes"])


def test_label_needs_norm_above_fifty():
    task = EcgAbnormal()
    assert task.label({"scp_codes": {"NORM": 50.0}}) == 1
    assert task.label({"scp_codes": {"NORM": 50.1}}) == 0
    assert task.label({"scp_codes": {}}) == 1
    assert task.parse("Yes.") == 1


def test_a_pool_gives_the_same_cohort(ptbxl, tmp_path, monkeypatch):
    one = run(ptbxl, tmp_path / "one")
    monkeypatch.setattr(PtbXl, "pool_from", 1)
    (ptbxl / "records100" / "00000" / "00003_lr.hea").unlink()
    two = prepare(PtbXl(), ptbxl, tmp_path / "two", [EcgAbnormal()], OPTIONS, workers=2)[0]
    assert two.card["rows"]["dropped"] == 1
    a, b = Cohort.open(one.path).part("client"), Cohort.open(two.path).part("client")
    ids = list(a.sample_ids)
    shared = [ids.index(i) for i in b.sample_ids]
    np.testing.assert_array_equal(a.batch(shared)["signal"], b.batch(range(len(b)))["signal"])


def test_decode_refuses_to_leave_the_folder(ptbxl):
    with pytest.raises(Dropped, match="outside"):
        PtbXl().decode(ptbxl, "../x", OPTIONS)
