"""Near-identical samples go to one side, for every task of a dataset alike, and nothing else moves."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmeki_bench.audit.checks import run_all
from fedmeki_bench.audit.reading import read
from fedmeki_bench.builtin.data_prep.ptbxl import PtbXl
from fedmeki_bench.builtin.tasks.ecg_abnormal import EcgAbnormal
from fedmeki_bench.builtin.tasks.ectopic_beats import EctopicBeats
from fedmeki_bench.data.card import CARD, SAMPLES
from fedmeki_bench.data.prepare.joining import DUPLICATES, Joined
from fedmeki_bench.data.prepare.prepare import prepare
from fedmeki_bench.data.preparer_options import PreparerOptions
from fedmeki_bench.data.splits import SPLITS, TRAINING_SPLITS, assign
from fedmeki_bench.near import joined_groups
from fedmeki_bench.task import Exclude

REAL = Path(__file__).parents[2].parent / "shared" / "real" / "ptbxl"


class HalfOfThem(EcgAbnormal):
    """A second training task of the dataset that leaves many records out."""

    def label(self, row):
        return Exclude("not asked for") if int(row["sample_id"]) % 2 else super().label(row)


@pytest.fixture(scope="session")
def stand_in(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("joining") / "ptbxl"
    PtbXl().synthesize(folder, size=80, seed=0)
    return folder


def table_of(raw: Path) -> pd.DataFrame:
    return pd.read_csv(raw / "ptbxl_database.csv", dtype=str)


def copy_record(raw: Path, source: str, target: str) -> None:
    """Overwrite one record's signal with another's, a microvolt apart in one sample."""
    values = np.fromfile(raw / f"{source}.dat", dtype="<i2")
    values[5000] += 1
    values.tofile(raw / f"{target}.dat")
    text = (raw / f"{source}.hea").read_text().replace(Path(source).name, Path(target).name)
    (raw / f"{target}.hea").write_text(text)


@pytest.fixture
def doubled(stand_in, tmp_path):
    """A stand-in in which a test patient's recording is a client patient's; (folder, odd id, even id)."""
    raw = Path(shutil.copytree(stand_in, tmp_path / "raw"))
    table = table_of(raw)
    groups = table["patient_id"].astype(float).astype(int).astype(str).tolist()
    table["split"] = assign(groups, mode="patient", seed=42, dataset="ptbxl")
    odd = table["ecg_id"].astype(int) % 2 == 1
    test = table[(table["split"] == "test") & odd].iloc[0]
    client = table[(table["split"] == "client") & ~odd].iloc[0]
    copy_record(raw, client["filename_lr"], test["filename_lr"])
    return raw, test["ecg_id"], client["ecg_id"]


def run(raw, out, *tasks, **options):
    return prepare(PtbXl(), raw, out, list(tasks) or [EcgAbnormal()], PreparerOptions(**options), workers=1)


def samples(out: Path, task: str = "ecg_abnormal") -> pd.DataFrame:
    return pd.read_parquet(out / task / SAMPLES).set_index("sample_id")


def test_near_identical_records_go_to_the_test_side_as_one_group(doubled, tmp_path):
    raw, test, client = doubled
    card = run(raw, tmp_path / "on")[0].card
    table = samples(tmp_path / "on")
    assert table.loc[test, "split"] == table.loc[client, "split"] == "test"
    assert table.loc[test, "group_id"] == table.loc[client, "group_id"]
    assert card["near_duplicates"]["pairs"] == 1
    assert card["near_duplicates"]["groups_joined"] == 2
    assert any("kept together in 1 set;" in note for note in card["notes"])
    assert not [f for f in run_all(read(tmp_path / "on")) if f.level == "leak"]
    apart = run(raw, tmp_path / "off", join_duplicates=False)[0].card
    assert apart["options"]["join_duplicates"] is False
    assert "near_duplicates" not in apart
    (leak,) = [f for f in run_all(read(tmp_path / "off")) if f.level == "leak"]
    assert leak.check == "near"
    # but for that set, nothing moved
    off = samples(tmp_path / "off")
    moved = table.index[table["split"] != off["split"]]
    assert set(off.loc[moved, "group_id"]) == {off.loc[client, "group_id"]}


def test_without_duplicates_nothing_changes(stand_in, tmp_path):
    on, off = run(stand_in, tmp_path / "on")[0], run(stand_in, tmp_path / "off", join_duplicates=False)[0]
    assert (on.path / SAMPLES).read_bytes() == (off.path / SAMPLES).read_bytes()
    differing = {key for key in on.card | off.card if on.card.get(key) != off.card.get(key)}
    assert differing == {"options", "input_digest"}
    assert "join_duplicates" not in on.card["options"]
    assert "near_duplicates" not in on.card


def test_tasks_of_a_dataset_agree_in_whatever_call_they_are_prepared(doubled, tmp_path):
    raw, test, client = doubled
    half = HalfOfThem()
    half.meta = _renamed(EcgAbnormal.meta, "half")
    run(raw, tmp_path, EcgAbnormal())
    run(raw, tmp_path, half, EctopicBeats())
    whole, part = samples(tmp_path), samples(tmp_path, "half")
    assert test not in part.index  # the task never sees the record that moved the other one
    assert client in part.index
    shared = part.index
    assert (whole.loc[shared, "split"] == part.loc[shared, "split"]).all()
    assert (whole.loc[shared, "group_id"] == part.loc[shared, "group_id"]).all()
    unseen = samples(tmp_path, "ectopic_beats")
    for table in (whole, part):
        learnt = table[table["split"].isin(TRAINING_SPLITS)]
        assert not set(learnt["group_id"]) & set(unseen["group_id"])
        assert not set(learnt.index) & set(unseen.index)
    assert not [f for f in run_all(read(tmp_path)) if f.level == "leak"]


def _renamed(meta, name):
    from dataclasses import is_dataclass, replace

    return replace(meta, name=name) if is_dataclass(meta) else meta.model_copy(update={"name": name})


def test_a_cohort_prepared_before_the_search_is_looked_at_again(stand_in, tmp_path):
    first = run(stand_in, tmp_path)[0]
    assert run(stand_in, tmp_path)[0].unchanged
    (first.path / DUPLICATES).unlink()  # as an earlier version left it
    again = run(stand_in, tmp_path)[0]
    assert not again.unchanged
    assert again.card_hash == first.card_hash
    assert (again.path / CARD).is_file()
    assert run(stand_in, tmp_path)[0].unchanged


@given(
    st.lists(st.tuples(st.integers(0, 11), st.sampled_from(SPLITS)), min_size=1, max_size=40),
    st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=8),
)
def test_whoever_training_learns_from_was_dealt_to_training(rows, edges):
    """What lets zero-shot tasks go by the draw alone, and what keeps every set on one side."""
    dealt_to = dict(rows)  # one split per group
    names = [f"g{group}" for group, _ in rows]
    first = {name: k for k, name in enumerate(names)}
    pairs = [(first[f"g{a}"], first[f"g{b}"]) for a, b in edges if f"g{a}" in first and f"g{b}" in first]
    left, right = np.array(pairs, dtype=int).reshape(-1, 2).T
    joined = Joined(group=joined_groups(names, left, right))
    drawn = np.array([dealt_to[group] for group, _ in rows], dtype=object)
    sides = joined.splits(np.array(names), drawn)
    for name, before, after in zip(names, drawn, sides, strict=True):
        if after in TRAINING_SPLITS:
            members = {n for n in names if joined.group.get(n, n) == joined.group.get(name, name)}
            assert all(dealt_to[int(n[1:])] in TRAINING_SPLITS for n in members)
        if name not in joined.group:
            assert after == before
    for a, b in pairs:
        assert sides[a] == sides[b]


def test_the_real_recording_under_two_patients(tmp_path):
    """ecg 145 of patient 16690 and ecg 463 of patient 16723 are one recording."""
    if not REAL.is_dir():
        pytest.skip("the real PTB-XL records are not beside this checkout")
    run(REAL, tmp_path / "off", join_duplicates=False)
    (leak,) = [f for f in run_all(read(tmp_path / "off")) if f.level == "leak"]
    assert {leak.examples[0].left[1], leak.examples[0].right[1]} == {"145", "463"}
    run(REAL, tmp_path / "on")
    table = samples(tmp_path / "on")
    assert table.loc["145", "split"] == table.loc["463", "split"]
    assert table.loc["145", "group_id"] == table.loc["463", "group_id"]
    assert not [f for f in run_all(read(tmp_path / "on")) if f.level == "leak"]
